#include "ReferenceNeuralKernels.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/reference/ReferencePlatform.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;

class ReferenceNeuralKernelFactory : public KernelFactory {
public:
    KernelImpl* createKernelImpl(string name, const Platform& platform, ContextImpl& context) const override {
        if (name == CalcNeuralForceKernel::Name())
            return new ReferenceCalcNeuralForceKernel(name, platform);
        throw OpenMMException("Tried to create kernel with illegal kernel name '"+name+"'");
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    for (int i = 0; i < Platform::getNumPlatforms(); i++) {
        Platform& platform = Platform::getPlatform(i);
        if (dynamic_cast<ReferencePlatform*>(&platform) != NULL)
            platform.registerKernelFactory(CalcNeuralForceKernel::Name(), new ReferenceNeuralKernelFactory());
    }
}
