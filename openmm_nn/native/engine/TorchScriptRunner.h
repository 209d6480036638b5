#ifndef OPENMM_NN_TORCHSCRIPTRUNNER_H_
#define OPENMM_NN_TORCHSCRIPTRUNNER_H_

#include "openmm_nn/ModelRunner.h"
#include "openmm_nn/ModelSignature.h"
#include <map>
#include <memory>

namespace OpenMMNN {

/** Runs a TorchScript module by libtorch. */
class TorchScriptRunner : public ModelRunner {
public:
    /**
     * @param model           the bytes of a file that torch.jit.save() wrote
     * @param atomicNumbers   of the atoms that it will be run for
     * @param properties      see NeuralForce::setProperty()
     * @param platformDouble  whether a dtype of "platform" means double precision
     */
    TorchScriptRunner(const std::string& model, const ModelSignature& signature, const std::vector<int64_t>& atomicNumbers,
            const std::map<std::string, std::string>& properties, bool platformDouble);
    ~TorchScriptRunner();
    void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) override;
    int getNumWarmupRuns() const override;
private:
    class Implementation;
    std::unique_ptr<Implementation> implementation;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_TORCHSCRIPTRUNNER_H_
