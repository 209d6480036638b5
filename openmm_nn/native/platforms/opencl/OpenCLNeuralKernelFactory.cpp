#include "CommonNeuralKernels.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/opencl/OpenCLContext.h"
#include "openmm/opencl/OpenCLPlatform.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;

class OpenCLNeuralKernelFactory : public KernelFactory {
public:
    KernelImpl* createKernelImpl(string name, const Platform& platform, ContextImpl& context) const override {
        OpenCLContext& cl = *static_cast<OpenCLPlatform::PlatformData*>(context.getPlatformData())->contexts[0];
        if (name == CalcNeuralForceKernel::Name())
            return new CommonCalcNeuralForceKernel(name, platform, cl);
        throw OpenMMException("Tried to create kernel with illegal kernel name '"+name+"'");
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    Platform::getPlatformByName("OpenCL").registerKernelFactory(CalcNeuralForceKernel::Name(), new OpenCLNeuralKernelFactory());
}
