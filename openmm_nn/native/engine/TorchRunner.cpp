#include "TorchRunner.h"

using namespace OpenMMNN;

void TorchRunner::run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) {
    ThreadGuard threadGuard(options.threads);
    Results results = evaluate(tensors.inputs(inputs), request);
    outputs.energies = TorchTensors::values(results.energies);
    outputs.forces.clear();
    if (results.forces.defined())
        outputs.forces = TorchTensors::values(results.forces);
    outputs.derivatives.clear();
    for (const at::Tensor& derivative : results.derivatives)
        outputs.derivatives.push_back(TorchTensors::values(derivative)[0]);
}
