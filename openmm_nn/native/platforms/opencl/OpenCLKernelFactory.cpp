#include "CommonParticleAccess.h"
#include "HostModelPipeline.h"
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
        OpenMMNN::PlatformAccess access = {cl.getUseDoublePrecision(), false, [&cl](const vector<int>& particles, const vector<string>& derivatives) {
            return std::unique_ptr<OpenMMNN::ParticleAccess>(new OpenMMNN::CommonParticleAccess(cl, particles, derivatives));
        }};
        access.openPipeline = [&cl](OpenMMNN::Engine& engine, const OpenMMNN::NeuralForce& force) {
            return OpenMMNN::HostModelPipeline::open(cl, engine, force);
        };
        return access;
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    OpenMMNN::KernelFactory::registerWith(Platform::getPlatformByName("OpenCL"), [] { return new OpenCLFactory(); });
}
