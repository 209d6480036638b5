#ifndef OPENMM_NN_TORCHRUNNER_H_
#define OPENMM_NN_TORCHRUNNER_H_

#include "TorchTensors.h"

namespace OpenMMNN {

/**
 * A model of torch: tensors in, tensors out, on one device.  run() converts to and from arrays on the host; whoever has
 * the inputs on the model's device calls evaluate().
 */
class OPENMM_EXPORT_NN_ENGINE TorchRunner : public ModelRunner {
public:
    /** What one evaluation gives back, on the model's device and in its units. */
    struct Results {
        at::Tensor energies;                // (K,), float64
        at::Tensor forces;                  // (N,3), or (K,N,3) when memberForces was asked for
        std::vector<at::Tensor> derivatives;
    };
    TorchRunner(const ModelSignature& signature, const TorchOptions& options) : signature(signature), options(options), tensors(signature, options) {
    }
    void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) override;
    /** @param inputs  a tensor for every input of the card, in its order; they may be told to require gradients */
    virtual Results evaluate(const std::vector<at::Tensor>& inputs, const ModelRequest& request) = 0;
    const TorchOptions& getOptions() const {
        return options;
    }
    const TorchTensors& getTensors() const {
        return tensors;
    }
protected:
    const ModelSignature signature;
    const TorchOptions options;
    const TorchTensors tensors;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_TORCHRUNNER_H_
