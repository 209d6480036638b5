#include "CommonParticleAccess.h"
#include "KernelFactory.h"
#include "openmm/opencl/OpenCLContext.h"
#include "openmm/opencl/OpenCLPlatform.h"

using namespace OpenMM;
using std::string;
using std::vector;

class OpenCLFactory : public OpenMMNN::KernelFactory {
protected:
    OpenMMNN::PlatformAccess getAccess(ContextImpl& context) const override {
        OpenCLContext& cl = *static_cast<OpenCLPlatform::PlatformData*>(context.getPlatformData())->contexts[0];
        return {cl.getUseDoublePrecision(), false, [&cl](const vector<int>& particles, const vector<string>& derivatives) {
            return std::unique_ptr<OpenMMNN::ParticleAccess>(new OpenMMNN::CommonParticleAccess(cl, particles, derivatives));
        }};
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    OpenMMNN::KernelFactory::registerWith(Platform::getPlatformByName("OpenCL"), [] { return new OpenCLFactory(); });
}
