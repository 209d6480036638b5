#include "CommonAccess.h"
#include "HostModelPipeline.h"
#include "KernelFactory.h"
#include "openmm/cuda/CudaContext.h"
#include "openmm/cuda/CudaPlatform.h"
#include "openmm/OpenMMException.h"
#ifdef OPENMM_NN_TORCH_CUDA
    #include "CudaModelPipeline.h"
    #include "SharedContext.h"
    #include <ATen/Context.h>
#endif

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;

/** Called where a model cannot be recorded. */
static void checkGraphs(const NeuralForce& force, const string& reason) {
    const auto properties = force.getProperties();
    const auto found = properties.find("cuda_graphs");
    if (found != properties.end() && found->second == "true")
        throw OpenMMException("NeuralForce: the property cuda_graphs is 'true', but "+reason+". Leave the property out");
}

static std::unique_ptr<DevicePipeline> openPipeline(CudaContext& cu, Engine& engine, const NeuralForce& force) {
#ifdef OPENMM_NN_TORCH_CUDA
    if (auto runner = std::dynamic_pointer_cast<TorchRunner>(engine.getRunner())) {
        string reason;
        if (!HostModelPipeline::isAsked(force, true))
            reason = "the property geometry is 'host'";
        else if (CudaModelPipeline::isPossible(engine, *runner, reason))
            return std::unique_ptr<DevicePipeline>(new CudaModelPipeline(cu, engine, runner));
        checkGraphs(force, reason);
    }
#else
    checkGraphs(force, "this torch was built without CUDA");
#endif
    return HostModelPipeline::open(cu, engine, force);
}

class CudaFactory : public OpenMMNN::KernelFactory {
protected:
    PlatformAccess getAccess(ContextImpl& context) const override {
        CudaContext& cu = *static_cast<CudaPlatform::PlatformData*>(context.getPlatformData())->contexts[0];
        PlatformAccess access = commonAccess(cu);
#ifdef OPENMM_NN_TORCH_CUDA
        if (at::hasCUDA()) {
            access.device = "cuda:"+std::to_string(cu.getDeviceIndex());
            access.enter = [&cu] {
                return std::make_shared<TorchScope>(cu.getDevice());
            };
        }
#endif
        access.openPipeline = [&cu](Engine& engine, const NeuralForce& force) {
            return openPipeline(cu, engine, force);
        };
        return access;
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
#ifdef OPENMM_NN_TORCH_CUDA
    if (at::hasCUDA())
        shareContextWithTorch();
#endif
    OpenMMNN::KernelFactory::registerWith(Platform::getPlatformByName("CUDA"), [] { return new CudaFactory(); });
}
