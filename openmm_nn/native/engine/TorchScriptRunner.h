#ifndef OPENMM_NN_TORCHSCRIPTRUNNER_H_
#define OPENMM_NN_TORCHSCRIPTRUNNER_H_

#include "TorchRunner.h"
#include <torch/script.h>

namespace OpenMMNN {

/** Runs a TorchScript module by libtorch. */
class TorchScriptRunner : public TorchRunner {
public:
    /**
     * @param model           the bytes of a file that torch.jit.save() wrote
     * @param atomicNumbers   of the atoms that it will be run for
     * @param properties      see NeuralForce::setProperty()
     * @param platformDouble  whether a dtype of "platform" means double precision
     */
    TorchScriptRunner(const std::string& model, const ModelSignature& signature, const std::vector<int64_t>& atomicNumbers,
            const std::map<std::string, std::string>& properties, bool platformDouble);
    Results evaluate(const std::vector<at::Tensor>& inputs, const ModelRequest& request) override;
    int getNumWarmupRuns() const override {
        return 3;
    }
private:
    std::vector<at::Tensor> gradient(const at::Tensor& energy, const at::Tensor& weights, const std::vector<at::Tensor>& variables, bool keepGraph) const;
    /** Of the module as it was read: a frozen one's graph points to its methods. */
    std::shared_ptr<torch::jit::CompilationUnit> methods;
    torch::jit::Module module;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_TORCHSCRIPTRUNNER_H_
