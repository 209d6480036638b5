#include "CommonAccess.h"
#include "KernelFactory.h"
#include "openmm/opencl/OpenCLContext.h"
#include "openmm/opencl/OpenCLPlatform.h"

using namespace OpenMM;

class OpenCLFactory : public OpenMMNN::KernelFactory {
protected:
    OpenMMNN::PlatformAccess getAccess(ContextImpl& context) const override {
        return OpenMMNN::commonAccess(*static_cast<OpenCLPlatform::PlatformData*>(context.getPlatformData())->contexts[0]);
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    OpenMMNN::KernelFactory::registerWith(Platform::getPlatformByName("OpenCL"), [] { return new OpenCLFactory(); });
}
