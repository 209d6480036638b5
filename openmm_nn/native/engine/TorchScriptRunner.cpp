#include "TorchScriptRunner.h"
#include "ScriptCheck.h"
#include "openmm/OpenMMException.h"
#include <ATen/Parallel.h>
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

/** Sets the number of threads that torch uses, and puts it back. */
class ThreadGuard {
public:
    explicit ThreadGuard(int threads) : before(at::get_num_threads()), changed(threads > 0 && threads != before) {
        if (changed)
            at::set_num_threads(threads);
    }
    ~ThreadGuard() {
        if (changed)
            at::set_num_threads(before);
    }
private:
    int before;
    bool changed;
};

class TorchScriptRunner::Implementation {
public:
    Implementation(const string& model, const ModelSignature& signature, const vector<int64_t>& atomicNumbers, const map<string, string>& properties, bool platformDouble);
    void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs);
private:
    torch::Tensor toModel(const double* data, at::IntArrayRef shape) const;
    torch::Tensor toModel(const int64_t* data, at::IntArrayRef shape) const;
    void checkFloating(const torch::Tensor& tensor, const string& name) const;
    torch::Tensor checkedEnergy(const c10::IValue& value, int numAtoms) const;
    torch::Tensor checkedForces(const c10::IValue& value, int numAtoms) const;
    vector<torch::Tensor> gradient(const torch::Tensor& energy, const torch::Tensor& weights, const vector<torch::Tensor>& variables, bool keepGraph) const;
    ModelSignature signature;
    torch::jit::Module module;
    torch::Device device;
    torch::ScalarType dtype;
    int threads;
};

static string describe(const torch::Tensor& tensor) {
    std::stringstream stream;
    stream << "a tensor of shape " << tensor.sizes() << ", dtype " << tensor.dtype() << " on " << tensor.device();
    return stream.str();
}

static string firstLines(const c10::Error& e) {
    // What a model's own code raised comes with a long C++ backtrace; the reason is before that.
    return printable(e.what_without_backtrace());
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

static string getProperty(const map<string, string>& properties, const string& name, const string& fallback) {
    auto found = properties.find(name);
    return found == properties.end() ? fallback : found->second;
}

TorchScriptRunner::Implementation::Implementation(const string& model, const ModelSignature& signature, const vector<int64_t>& atomicNumbers,
        const map<string, string>& properties, bool platformDouble) :
        signature(signature), device(torch::kCPU) {
    string deviceName = getProperty(properties, "device", "cpu");
    if (deviceName != "cpu")
        throw OpenMMException("NeuralForce: the property device is '"+deviceName+"'; this platform runs models on 'cpu'");
    if (getProperty(properties, "cuda_graphs", "false") != "false")
        throw OpenMMException("NeuralForce: the property cuda_graphs is '"+getProperty(properties, "cuda_graphs", "")+"'; the device is a CPU, so only 'false' is allowed");
    string precision = getProperty(properties, "precision", "model");
    if (precision == "single")
        dtype = torch::kFloat32;
    else if (precision == "double")
        dtype = torch::kFloat64;
    else if (precision != "model")
        throw OpenMMException("NeuralForce: the property precision is '"+precision+"'; allowed are model, single and double");
    else if (signature.dtype == "platform")
        dtype = (platformDouble ? torch::kFloat64 : torch::kFloat32);
    else
        dtype = (signature.dtype == "float64" ? torch::kFloat64 : torch::kFloat32);
    string threadCount = getProperty(properties, "threads", "0");
    char* end;
    threads = (int) strtol(threadCount.c_str(), &end, 10);
    if (threadCount.empty() || *end != 0 || threads < 0)
        throw OpenMMException("NeuralForce: the property threads is '"+threadCount+"'; it must be an integer, 1 or more, or 0 to use torch's own setting");
    checkScript(model);
    try {
        std::istringstream stream(model);
        module = torch::jit::load(stream, device);
        module.eval();
        convert(module, dtype);
        // A model may leave out what these atoms do not need, or compute once what depends on nothing else.
        auto specialize = module.find_method("specialize");
        if (specialize && signature.hasInput("atomic_numbers"))
            (*specialize)({toModel(atomicNumbers.data(), {(int64_t) atomicNumbers.size()})});
        if (!stopsGradients(module))
            module = torch::jit::freeze(module);
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model could not be loaded as a TorchScript module: "+firstLines(e));
    }
    catch (const std::exception& e) {
        throw OpenMMException("NeuralForce: the model could not be loaded as a TorchScript module: "+printable(e.what()));
    }
    size_t expected = signature.inputs.size();
    size_t found = module.get_method("forward").function().getSchema().arguments().size()-1;
    if (found < expected)
        throw OpenMMException("NeuralForce: the model's forward() takes "+to_string(found)+" inputs, but its card lists "+to_string(expected)+"; export it again with a card that fits");
}

torch::Tensor TorchScriptRunner::Implementation::toModel(const double* data, at::IntArrayRef shape) const {
    return torch::from_blob(const_cast<double*>(data), shape, torch::kFloat64).to(device, dtype, false, true);
}

torch::Tensor TorchScriptRunner::Implementation::toModel(const int64_t* data, at::IntArrayRef shape) const {
    return torch::from_blob(const_cast<int64_t*>(data), shape, torch::kInt64).to(device, torch::kInt64, false, true);
}

void TorchScriptRunner::Implementation::checkFloating(const torch::Tensor& tensor, const string& name) const {
    // A model may sum in double what it computed in single precision.
    if (tensor.scalar_type() != torch::kFloat32 && tensor.scalar_type() != torch::kFloat64)
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is "+describe(tensor)+"; it must be float32 or float64. Return it with the dtype of the positions");
    if (tensor.device() != device)
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is "+describe(tensor)+"; it must be on "+device.str()+", where the positions are. Make it there");
}

torch::Tensor TorchScriptRunner::Implementation::checkedEnergy(const c10::IValue& value, int numAtoms) const {
    const string& name = signature.outputs[0];
    if (!value.isTensor())
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is a "+value.tagKind()+"; it must be a tensor. Correct the model, or its card");
    torch::Tensor energy = value.toTensor();
    checkFloating(energy, name);
    int64_t members = signature.committeeSize;
    bool fits;
    string allowed;
    if (name == "energy") {
        fits = (energy.numel() == 1);
        allowed = "one number";
    }
    else if (name == "energies") {
        fits = (energy.dim() == 1 && energy.size(0) == members) || (energy.dim() == 0 && members == 1);
        allowed = "of shape ("+to_string(members)+",), one energy a committee member";
    }
    else {
        fits = (energy.dim() == 1 && members == 1 && energy.size(0) == numAtoms) ||
               (energy.dim() == 2 && energy.size(0) == members && energy.size(1) == numAtoms);
        allowed = (members == 1 ? "of shape ("+to_string(numAtoms)+",)" : "of shape ("+to_string(members)+", "+to_string(numAtoms)+")")+", one energy an atom";
    }
    if (!fits)
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is "+describe(energy)+"; it must be "+allowed+". Correct the model, or its card");
    // (K, terms of a member)
    return name == "atomic_energies" ? energy.reshape({members, numAtoms}) : energy.reshape({name == "energy" ? 1 : members, 1});
}

torch::Tensor TorchScriptRunner::Implementation::checkedForces(const c10::IValue& value, int numAtoms) const {
    if (!value.isTensor())
        throw OpenMMException("NeuralForce: the model's output 'forces' is a "+value.tagKind()+"; it must be a tensor. Correct the model, or its card");
    torch::Tensor forces = value.toTensor();
    checkFloating(forces, "forces");
    if (forces.dim() != 2 || forces.size(0) != numAtoms || forces.size(1) != 3)
        throw OpenMMException("NeuralForce: the model's output 'forces' is "+describe(forces)+"; it must be of shape ("+to_string(numAtoms)+", 3). Return one force vector for every atom");
    return forces;
}

static void copyTo(const torch::Tensor& tensor, vector<double>& values) {
    torch::Tensor contiguous = tensor.detach().to(torch::kCPU, torch::kFloat64).contiguous();
    const double* data = contiguous.data_ptr<double>();
    values.insert(values.end(), data, data+contiguous.numel());
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
    ThreadGuard threadGuard(threads);
    outputs.energies.clear();
    outputs.forces.clear();
    outputs.derivatives.clear();
    const int64_t n = inputs.numAtoms();
    const int64_t numEdges = inputs.edgeIndex.size()/2;

    // The graph is recorded even if only an energy is asked for, so that it is the same number to the last bit.

    torch::AutoGradMode gradMode(true);
    torch::Tensor positions = toModel(inputs.positions.data(), {n, 3});
    if (!signature.returnsForces())
        positions.set_requires_grad(true);
    vector<torch::Tensor> parameters;
    for (double value : inputs.parameters)
        parameters.push_back(torch::full({}, value, torch::TensorOptions().dtype(dtype).device(device)));
    for (int index : request.derivatives)
        parameters[index].set_requires_grad(true);
    vector<c10::IValue> arguments;
    arguments.reserve(signature.inputs.size());
    size_t nextParameter = 0;
    for (const string& name : signature.inputs) {
        if (name == "positions")
            arguments.push_back(positions);
        else if (name == "box")
            arguments.push_back(toModel(inputs.box, {3, 3}));
        else if (name == "atomic_numbers")
            arguments.push_back(toModel(inputs.atomicNumbers.data(), {n}));
        else if (name == "charge")
            arguments.push_back(torch::full({}, (double) inputs.charge, torch::TensorOptions().dtype(dtype).device(device)));
        else if (name == "multiplicity")
            arguments.push_back(torch::full({}, (double) inputs.multiplicity, torch::TensorOptions().dtype(dtype).device(device)));
        else if (name == "edge_index")
            arguments.push_back(toModel(inputs.edgeIndex.data(), {2, numEdges}));
        else if (name == "edge_shifts")
            arguments.push_back(toModel(inputs.edgeShifts.data(), {numEdges, 3}));
        else
            arguments.push_back(parameters[nextParameter++]);
    }
    try {
        c10::IValue returned = module.forward(arguments);
        vector<c10::IValue> values;
        if (returned.isTuple())
            values = returned.toTupleRef().elements().vec();
        else
            values.push_back(returned);
        if (values.size() != signature.outputs.size())
            throw OpenMMException("NeuralForce: the model returned "+to_string(values.size())+" outputs, but its card lists "+to_string(signature.outputs.size())+"; correct the model, or its card");
        torch::Tensor energy = checkedEnergy(values[0], n);
        const int64_t members = energy.size(0);
        copyTo(energy.detach().to(torch::kFloat64).sum(1), outputs.energies);
        if (signature.returnsForces() && (request.forces || request.memberForces)) {
            if (request.memberForces)
                throw OpenMMException("getForceStd: the model returns the mean force itself, so the forces of its members are not known");
            copyTo(checkedForces(values[1], n), outputs.forces);
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
                copyTo(gradients[0].neg(), outputs.forces);
            for (size_t i = (differentiateForces ? 1 : 0); i < gradients.size(); i++)
                copyTo(gradients[i], outputs.derivatives);
        }
        if (request.memberForces)
            for (int64_t k = 0; k < members; k++) {
                torch::Tensor weights = torch::zeros({members, 1}, energy.options());
                weights[k] = 1.0;
                copyTo(gradient(energy, weights, {positions}, k+1 < members)[0].neg(), outputs.forces);
            }
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model failed: "+firstLines(e));
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
