#include "CommonParticleAccess.h"
#include "HostModelPipeline.h"
#include "KernelFactory.h"
#include "openmm/hip/HipContext.h"
#include "openmm/hip/HipPlatform.h"
#include <ATen/Context.h>

using namespace OpenMM;
using std::string;
using std::vector;

/** Positions and forces of the region pass through the host; the model runs on the GPU if torch has one. */
class HipFactory : public OpenMMNN::KernelFactory {
protected:
    OpenMMNN::PlatformAccess getAccess(ContextImpl& context) const override {
        HipContext& hip = *static_cast<HipPlatform::PlatformData*>(context.getPlatformData())->contexts[0];
        OpenMMNN::PlatformAccess access = {hip.getUseDoublePrecision(), false, [&hip](const vector<int>& particles, const vector<string>& derivatives) {
            return std::unique_ptr<OpenMMNN::ParticleAccess>(new OpenMMNN::CommonParticleAccess(hip, particles, derivatives));
        }};
        if (at::hasCUDA()) // torch calls its ROCm devices so
            access.device = "cuda:"+std::to_string(hip.getDeviceIndex());
        access.openPipeline = [&hip](OpenMMNN::Engine& engine, const OpenMMNN::NeuralForce& force) {
            return OpenMMNN::HostModelPipeline::open(hip, engine, force);
        };
        return access;
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    OpenMMNN::KernelFactory::registerWith(Platform::getPlatformByName("HIP"), [] { return new HipFactory(); });
}
