#include "TorchScriptRunner.h"
#include "ScriptCheck.h"
#include "openmm/OpenMMException.h"
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/frontend/error_report.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/jit_exception.h>
#include <torch/csrc/jit/serialization/import.h>
#include <sstream>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

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

/** Whether an inlined graph detaches tensors.  Freezing drops that, and would silently change the forces. */
static bool stopsGradients(const torch::jit::Graph& graph) {
    string text = graph.toString(false);
    return text.find("aten::detach") != string::npos || text.find("prim::data") != string::npos;
}

TorchScriptRunner::TorchScriptRunner(const string& model, const ModelSignature& signature, const vector<int64_t>& atomicNumbers,
        const map<string, string>& properties, bool platformDouble) :
        TorchRunner(signature, TorchOptions(signature, properties, platformDouble)) {
    checkScript(model);
    try {
        std::istringstream stream(model);
        module = torch::jit::load(stream, options.device);
        module.eval();
        convert(module, options.dtype);
        // A model may leave out what these atoms do not need, compute once what depends on nothing else, or, where it is
        // recorded, do without shapes that depend on positions.
        vector<string> hooks = {"specialize"};
        if (options.cudaGraphs)
            hooks.push_back("make_static");
        for (const string& name : hooks) {
            auto hook = module.find_method(name);
            if (hook && signature.hasInput("atomic_numbers")) {
                auto inlined = hook->graph()->copy();
                torch::jit::Inline(*inlined);
                checkKinds(*inlined, module);
                (*hook)({tensors.array(atomicNumbers.data(), {(int64_t) atomicNumbers.size()})});
            }
        }
        // The message of an error names the methods that were inlined.  freeze() destroys those that it inlines itself, and
        // the first error would look for their names in freed memory: they are inlined before it, and kept.
        methods = module._ivalue()->compilation_unit();
        auto graph = module.get_method("forward").graph();
        torch::jit::Inline(*graph);
        checkKinds(*graph, module);
        if (!stopsGradients(*graph))
            module = torch::jit::freeze(module);
    }
    catch (const OpenMMException&) {
        throw;
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

vector<torch::Tensor> TorchScriptRunner::gradient(const torch::Tensor& energy, const torch::Tensor& weights, const vector<torch::Tensor>& variables, bool keepGraph) const {
    if (!energy.requires_grad())
        throw OpenMMException("NeuralForce: the model's output '"+signature.outputs[0]+"' does not depend on its inputs in a way that torch can differentiate (it does not require grad), "
                "so there are no forces. Remove detach() or no_grad() from the model, or let it return forces and list them in the card");
    vector<torch::Tensor> gradients = torch::autograd::grad({energy}, variables, {weights.expand_as(energy)}, keepGraph, false, true);
    for (size_t i = 0; i < gradients.size(); i++)
        if (!gradients[i].defined())
            gradients[i] = torch::zeros_like(variables[i]);
    return gradients;
}

TorchRunner::Results TorchScriptRunner::evaluate(const vector<torch::Tensor>& inputs, const ModelRequest& request) {
    // The graph is recorded even if only an energy is asked for, so that it is the same number to the last bit.

    torch::AutoGradMode gradMode(true);
    torch::Tensor positions = inputs[tensors.indexOf("positions")];
    const int64_t numAtoms = positions.size(0);
    positions.set_requires_grad(!signature.returnsForces());
    vector<torch::Tensor> variables;
    bool differentiateForces = (request.forces && !signature.returnsForces());
    if (differentiateForces)
        variables.push_back(positions);
    const vector<string> parameters = signature.getParameters();
    for (int index : request.derivatives) {
        variables.push_back(inputs[tensors.indexOf(parameters[index])]);
        variables.back().set_requires_grad(true);
    }
    Results results;
    try {
        c10::IValue returned = module.forward(vector<c10::IValue>(inputs.begin(), inputs.end()));
        vector<c10::IValue> values;
        if (returned.isTuple())
            values = returned.toTupleRef().elements().vec();
        else
            values.push_back(returned);
        if (values.size() != signature.outputs.size())
            throw OpenMMException("NeuralForce: the model returned "+to_string(values.size())+" outputs, but its card lists "+to_string(signature.outputs.size())+"; correct the model, or its card");
        torch::Tensor energy = tensors.energy(asTensor(values[0], signature.outputs[0]), numAtoms);
        const int64_t members = energy.size(0);
        results.energies = energy.detach().to(torch::kFloat64).sum(1);
        if (signature.returnsForces() && (request.forces || request.memberForces)) {
            if (request.memberForces)
                throw OpenMMException("getForceStd: the model returns the mean force itself, so the forces of its members are not known");
            results.forces = tensors.forces(asTensor(values[1], "forces"), numAtoms).detach();
        }

        // One backward pass gives the mean force and all derivatives by parameters.

        if (!variables.empty()) {
            torch::Tensor weights = torch::full({}, 1.0/members, energy.options());
            vector<torch::Tensor> gradients = gradient(energy, weights, variables, request.memberForces);
            if (differentiateForces)
                results.forces = gradients[0].neg();
            results.derivatives.assign(gradients.begin()+(differentiateForces ? 1 : 0), gradients.end());
        }
        if (request.memberForces) {
            vector<torch::Tensor> forces;
            for (int64_t k = 0; k < members; k++) {
                torch::Tensor weights = torch::zeros({members, 1}, energy.options());
                weights[k] = 1.0;
                forces.push_back(gradient(energy, weights, {positions}, k+1 < members)[0].neg());
            }
            results.forces = torch::stack(forces);
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
    return results;
}
