#include "CommonAccess.h"
#include "KernelFactory.h"
#include "openmm/cuda/CudaContext.h"
#include "openmm/cuda/CudaPlatform.h"
#include "openmm/OpenMMException.h"
#ifdef OPENMM_NN_TORCH_CUDA
    #include "CudaModelPipeline.h"
    #include "HostModelPipeline.h"
    #include "SharedContext.h"
    #include <ATen/Context.h>
#endif

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;

#ifdef OPENMM_NN_TORCH_CUDA
static std::unique_ptr<DevicePipeline> openPipeline(CudaContext& cu, Engine& engine, const NeuralForce& force) {
    if (auto runner = std::dynamic_pointer_cast<TorchRunner>(engine.getRunner())) {
        string reason;
        if (!HostModelPipeline::isAsked(force, true))
            reason = "the property geometry is 'host'";
        else if (CudaModelPipeline::isPossible(engine, *runner, reason))
            return std::unique_ptr<DevicePipeline>(new CudaModelPipeline(cu, engine, runner));
        if (runner->getOptions().cudaGraphs)
            throw OpenMMException("NeuralForce: the property cuda_graphs is 'true', but "+reason+". Leave the property out");
    }
    return HostModelPipeline::open(cu, engine, force);
}
#endif

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
        access.openPipeline = [&cu](Engine& engine, const NeuralForce& force) {
            return openPipeline(cu, engine, force);
        };
#endif
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
