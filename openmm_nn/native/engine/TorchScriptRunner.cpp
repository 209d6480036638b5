#include "TorchScriptRunner.h"
#include "ScriptCheck.h"
#include "TorchTensors.h"
#include "openmm/OpenMMException.h"
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/frontend/error_report.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/jit_exception.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/script.h>
#include <sstream>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

class TorchScriptRunner::Implementation {
public:
    Implementation(const string& model, const ModelSignature& signature, const vector<int64_t>& atomicNumbers, const map<string, string>& properties, bool platformDouble);
    void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs);
private:
    vector<torch::Tensor> gradient(const torch::Tensor& energy, const torch::Tensor& weights, const vector<torch::Tensor>& variables, bool keepGraph) const;
    ModelSignature signature;
    TorchOptions options;
    TorchTensors tensors;
    torch::jit::Module module;
};

static torch::Tensor asTensor(const c10::IValue& value, const string& name) {
    if (!value.isTensor())
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is a "+value.tagKind()+"; it must be a tensor. Correct the model, or its card");
    return value.toTensor();
}

/** Convert the numbers of a module to a dtype.  Module::to() would convert its integers and truth values as well. */
static void convert(torch::jit::Module& module, torch::ScalarType dtype) {
    for (torch::Tensor parameter : module.parameters()) {
        parameter.set_requires_grad(false);
        if (parameter.is_floating_point())
            parameter.set_data(parameter.to(dtype));
    }
    for (torch::Tensor buffer : module.buffers())
        if (buffer.is_floating_point())
            buffer.set_data(buffer.to(dtype));
}

/** Whether a module detaches tensors.  Freezing drops that, and would silently change the forces. */
static bool stopsGradients(const torch::jit::Module& module) {
    auto graph = module.get_method("forward").graph()->copy();
    torch::jit::Inline(*graph);
    string text = graph->toString(false);
    return text.find("aten::detach") != string::npos || text.find("prim::data") != string::npos;
}

TorchScriptRunner::Implementation::Implementation(const string& model, const ModelSignature& signature, const vector<int64_t>& atomicNumbers,
        const map<string, string>& properties, bool platformDouble) :
        signature(signature), options(signature, properties, platformDouble), tensors(signature, options) {
    checkScript(model);
    try {
        std::istringstream stream(model);
        module = torch::jit::load(stream, options.device);
        module.eval();
        convert(module, options.dtype);
        // A model may leave out what these atoms do not need, or compute once what depends on nothing else.
        auto specialize = module.find_method("specialize");
        if (specialize && signature.hasInput("atomic_numbers"))
            (*specialize)({tensors.array(atomicNumbers.data(), {(int64_t) atomicNumbers.size()})});
        if (!stopsGradients(module))
            module = torch::jit::freeze(module);
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model could not be loaded as a TorchScript module: "+TorchTensors::reason(e));
    }
    catch (const std::exception& e) {
        throw OpenMMException("NeuralForce: the model could not be loaded as a TorchScript module: "+printable(e.what()));
    }
    size_t expected = signature.inputs.size();
    size_t found = module.get_method("forward").function().getSchema().arguments().size()-1;
    if (found < expected)
        throw OpenMMException("NeuralForce: the model's forward() takes "+to_string(found)+" inputs, but its card lists "+to_string(expected)+"; export it again with a card that fits");
}

vector<torch::Tensor> TorchScriptRunner::Implementation::gradient(const torch::Tensor& energy, const torch::Tensor& weights, const vector<torch::Tensor>& variables, bool keepGraph) const {
    if (!energy.requires_grad())
        throw OpenMMException("NeuralForce: the model's output '"+signature.outputs[0]+"' does not depend on its inputs in a way that torch can differentiate (it does not require grad), "
                "so there are no forces. Remove detach() or no_grad() from the model, or let it return forces and list them in the card");
    vector<torch::Tensor> gradients = torch::autograd::grad({energy}, variables, {weights.expand_as(energy)}, keepGraph, false, true);
    for (size_t i = 0; i < gradients.size(); i++)
        if (!gradients[i].defined())
            gradients[i] = torch::zeros_like(variables[i]);
    return gradients;
}

void TorchScriptRunner::Implementation::run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) {
    ThreadGuard threadGuard(options.threads);
    outputs.energies.clear();
    outputs.forces.clear();
    outputs.derivatives.clear();

    // The graph is recorded even if only an energy is asked for, so that it is the same number to the last bit.

    torch::AutoGradMode gradMode(true);
    vector<torch::Tensor> given = tensors.inputs(inputs);
    torch::Tensor positions = given[tensors.indexOf("positions")];
    if (!signature.returnsForces())
        positions.set_requires_grad(true);
    vector<torch::Tensor> parameters;
    for (const string& name : signature.getParameters())
        parameters.push_back(given[tensors.indexOf(name)]);
    for (int index : request.derivatives)
        parameters[index].set_requires_grad(true);
    vector<c10::IValue> arguments(given.begin(), given.end());
    try {
        c10::IValue returned = module.forward(arguments);
        vector<c10::IValue> values;
        if (returned.isTuple())
            values = returned.toTupleRef().elements().vec();
        else
            values.push_back(returned);
        if (values.size() != signature.outputs.size())
            throw OpenMMException("NeuralForce: the model returned "+to_string(values.size())+" outputs, but its card lists "+to_string(signature.outputs.size())+"; correct the model, or its card");
        torch::Tensor energy = tensors.energy(asTensor(values[0], signature.outputs[0]), inputs.numAtoms());
        const int64_t members = energy.size(0);
        TorchTensors::copyTo(energy.detach().to(torch::kFloat64).sum(1), outputs.energies);
        if (signature.returnsForces() && (request.forces || request.memberForces)) {
            if (request.memberForces)
                throw OpenMMException("getForceStd: the model returns the mean force itself, so the forces of its members are not known");
            TorchTensors::copyTo(tensors.forces(asTensor(values[1], "forces"), inputs.numAtoms()), outputs.forces);
        }

        // One backward pass gives the mean force and all derivatives by parameters.

        vector<torch::Tensor> variables;
        bool differentiateForces = (request.forces && !signature.returnsForces());
        if (differentiateForces)
            variables.push_back(positions);
        for (int index : request.derivatives)
            variables.push_back(parameters[index]);
        if (!variables.empty()) {
            torch::Tensor weights = torch::full({}, 1.0/members, energy.options());
            vector<torch::Tensor> gradients = gradient(energy, weights, variables, request.memberForces);
            if (differentiateForces)
                TorchTensors::copyTo(gradients[0].neg(), outputs.forces);
            for (size_t i = (differentiateForces ? 1 : 0); i < gradients.size(); i++)
                TorchTensors::copyTo(gradients[i], outputs.derivatives);
        }
        if (request.memberForces)
            for (int64_t k = 0; k < members; k++) {
                torch::Tensor weights = torch::zeros({members, 1}, energy.options());
                weights[k] = 1.0;
                TorchTensors::copyTo(gradient(energy, weights, {positions}, k+1 < members)[0].neg(), outputs.forces);
            }
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model failed: "+TorchTensors::reason(e));
    }
    catch (const torch::jit::ErrorReport& e) {
        throw OpenMMException("NeuralForce: the model failed: "+string(e.what()));
    }
    catch (const torch::jit::JITException& e) {
        throw OpenMMException("NeuralForce: the model raised an error: "+string(e.what()));
    }
}

TorchScriptRunner::TorchScriptRunner(const string& model, const ModelSignature& signature, const vector<int64_t>& atomicNumbers,
        const map<string, string>& properties, bool platformDouble) :
        implementation(new Implementation(model, signature, atomicNumbers, properties, platformDouble)) {
}

TorchScriptRunner::~TorchScriptRunner() {
}

void TorchScriptRunner::run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) {
    implementation->run(inputs, request, outputs);
}

int TorchScriptRunner::getNumWarmupRuns() const {
    return 3;
}
