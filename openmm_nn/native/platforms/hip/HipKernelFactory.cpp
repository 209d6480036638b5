#include "CommonAccess.h"
#include "KernelFactory.h"
#include "openmm/hip/HipContext.h"
#include "openmm/hip/HipPlatform.h"
#include <ATen/Context.h>

using namespace OpenMM;

/** Positions and forces of the region pass through the host; the model runs on the GPU if torch has one. */
class HipFactory : public OpenMMNN::KernelFactory {
protected:
    OpenMMNN::PlatformAccess getAccess(ContextImpl& context) const override {
        HipContext& hip = *static_cast<HipPlatform::PlatformData*>(context.getPlatformData())->contexts[0];
        OpenMMNN::PlatformAccess access = OpenMMNN::commonAccess(hip);
        if (at::hasCUDA()) // torch calls its ROCm devices so
            access.device = "cuda:"+std::to_string(hip.getDeviceIndex());
        return access;
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    OpenMMNN::KernelFactory::registerWith(Platform::getPlatformByName("HIP"), [] { return new HipFactory(); });
}
