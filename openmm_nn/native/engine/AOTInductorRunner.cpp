#include "AOTInductorRunner.h"
#include "Package.h"
#include "openmm/OpenMMException.h"
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>
#include <algorithm>
#include <sys/utsname.h>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

static const string weightsInput = "member_weights", speciesInput = "species", identityInput = "identity", derivativePrefix = "derivative:";

static string join(const vector<string>& words, const string& separator = ", ") {
    string text;
    for (const string& word : words)
        text += (text.empty() ? "" : separator)+word;
    return text;
}

/** What an exception says, without the C++ backtrace of torch. */
static string reason(const std::exception& e) {
    auto error = dynamic_cast<const c10::Error*>(&e);
    return error == NULL ? e.what() : TorchTensors::reason(*error);
}

/** Call a maker of libraries, with its last argument where this version of torch has it. */
template <class Maker>
static std::unique_ptr<torch::inductor::AOTIModelContainerRunner> make(Maker maker, const string& path, const string& device, const string& directory) {
    if constexpr (std::is_invocable_v<Maker, string, size_t, string, string, bool>)
        return maker(path, 1, device, directory, true);
    else
        return maker(path, 1, device, directory);
}

/** Load a compiled library; for a GPU that is what torch's own library for that device has registered. */
static std::unique_ptr<torch::inductor::AOTIModelContainerRunner> load(const string& path, const string& directory, const at::Device& device) {
    if (device.is_cpu())
        return std::unique_ptr<torch::inductor::AOTIModelContainerRunner>(new torch::inductor::AOTIModelContainerRunnerCpu(path));
    auto& registry = torch::inductor::getAOTIModelRunnerRegistry();
    auto found = registry.find(at::DeviceTypeName(device.type(), true));
    if (found == registry.end())
        throw OpenMMException("this torch cannot run compiled models on '"+device.str()+"'");
    return make(found->second, path, device.str(), directory);
}

bool AOTInductorRunner::recognize(const string& model) {
    return Package::recognize(model);
}

AOTInductorRunner::AOTInductorRunner(const string& model, const ModelSignature& signature, const map<string, string>& properties, bool platformDouble) :
        TorchRunner(signature, TorchOptions(signature, properties, platformDouble)) {
    Package package(model);
    checkMachine(package);
    string compiled = package.has("openmm_nn_dtype") ? package.get("openmm_nn_dtype") : signature.dtype;
    string wanted = (options.dtype == at::kDouble ? "float64" : "float32");
    if (compiled != wanted)
        throw OpenMMException("NeuralForce: the model was compiled for "+compiled+", and "+wanted+" is asked for. A compiled model has only one precision. "
                "Leave the property precision at 'model', or export the potential again with dtype='"+wanted+"' in its card");
    graphInputs = package.has("openmm_nn_inputs") ? package.getList("openmm_nn_inputs") : signature.inputs;
    graphOutputs = package.has("openmm_nn_outputs") ? package.getList("openmm_nn_outputs") : signature.outputs;
    checkGraph();
    makeSpecies(package);
    std::unique_ptr<PrivateDirectory> directory(new PrivateDirectory());
    bool parallel = (options.threads == 0 ? at::get_num_threads() : options.threads) > 1;
    string path = package.unpack(parallel && package.hasModel("parallel") ? "parallel" : "model", *directory);
    try {
        library = load(path, directory->getPath(), options.device);
    }
    catch (const std::exception& e) {
        throw OpenMMException("NeuralForce: the compiled model could not be loaded: "+reason(e)+". It was compiled with torch "+
                (package.has("openmm_nn_torch") ? package.get("openmm_nn_torch") : "of an unknown version")+" for "+package.get(package.has("openmm_nn_gpu") ? "openmm_nn_gpu" : "AOTI_MACHINE")+
                "; export the potential again on this machine. If the directory "+directory->getPath()+" does not allow code to be run, set TMPDIR to one that does");
    }
    // What a library for the CPU needs is in memory now, and nothing is left behind even by a process that is killed.  One
    // for a GPU opens its kernels' files when it first runs.
    if (!options.device.is_cpu())
        kernels = std::move(directory);
}

void AOTInductorRunner::checkMachine(const Package& package) const {
    struct utsname system;
    if (uname(&system) != 0)
        system.machine[0] = 0;
    string machine = package.get("AOTI_MACHINE"), device = package.get("AOTI_DEVICE_KEY");
    if (!machine.empty() && machine != system.machine)
        throw OpenMMException("NeuralForce: the model was compiled for processors of the kind "+machine+", and there is only one of the kind "+system.machine+" here. Export the potential again on a machine of this kind");
    if (device != at::DeviceTypeName(options.device.type(), true))
        throw OpenMMException("NeuralForce: the model was compiled for the device '"+device+"', and this platform runs models on '"+options.device.str()+"' only. Export the potential again for that device");
    const vector<string>& features = processorFeatures();
    vector<string> missing;
    for (const string& feature : package.getList("openmm_nn_processor"))
        if (!features.empty() && std::find(features.begin(), features.end(), feature) == features.end())
            missing.push_back(feature);
    if (!missing.empty())
        throw OpenMMException("NeuralForce: the model was compiled for a processor with "+join(missing)+", which this one lacks; it must have all of them. "
                "Export the potential again on this machine, or anywhere with export_potential(..., portable=True)");
}

void AOTInductorRunner::checkGraph() const {
    vector<string> taken;
    for (const string& name : graphInputs)
        if (name != identityInput && !(name == weightsInput && &name == &graphInputs.back()))
            taken.push_back(name == speciesInput ? "atomic_numbers" : name);
    if (taken != signature.inputs)
        throw OpenMMException("NeuralForce: the compiled model takes "+join(graphInputs)+", but its card lists "+join(signature.inputs)+"; export it again with a card that fits");
    if (graphOutputs.empty() || graphOutputs[0] != signature.outputs[0])
        throw OpenMMException("NeuralForce: the compiled model returns "+join(graphOutputs)+", but its card lists "+join(signature.outputs)+"; export it again with a card that fits");
    if (outputIndex("forces") == graphOutputs.size())
        throw OpenMMException("NeuralForce: the compiled model returns "+join(graphOutputs)+" and no forces, and compiled code cannot be differentiated. "
                "Export the potential with openmm_nn.export_potential(..., format='aotinductor'), which compiles the gradient with the energy");
}

void AOTInductorRunner::makeSpecies(const Package& package) {
    vector<int64_t> table(119, 0);
    int64_t count = 0;
    for (const string& number : package.getList("openmm_nn_species")) {
        const int z = atoi(number.c_str());
        if (z < 1 || z > 118)
            throw OpenMMException("NeuralForce: the description of the compiled model lists '"+number+"' among its elements; atomic numbers from 1 to 118 are allowed. Load its file again");
        table[z] = count++;
    }
    for (const string& name : graphInputs) {
        if (name == speciesInput)
            species = at::tensor(table, at::TensorOptions().dtype(at::kLong).device(options.device));
        if (name == identityInput)
            identity = at::eye(3, at::TensorOptions().dtype(options.dtype).device(options.device));
    }
    if (species.defined() && count == 0)
        throw OpenMMException("NeuralForce: the compiled model takes species, and its description does not list their elements. Load its file again");
}

size_t AOTInductorRunner::outputIndex(const string& name) const {
    return std::find(graphOutputs.begin(), graphOutputs.end(), name)-graphOutputs.begin();
}

vector<at::Tensor> AOTInductorRunner::call(const vector<at::Tensor>& inputs, const at::Tensor& weights) {
    vector<at::Tensor> arguments, returned;
    size_t next = 0;
    for (const string& name : graphInputs) {
        if (name == identityInput)
            arguments.push_back(identity);
        else if (next == inputs.size())
            arguments.push_back(weights);
        else if (name == speciesInput)
            arguments.push_back(species.index_select(0, inputs[next++]));
        else
            arguments.push_back(inputs[next++]);
    }
    try {
        returned = library->run(arguments);
    }
    catch (const std::exception& e) {
        throw OpenMMException("NeuralForce: the compiled model failed: "+reason(e));
    }
    if (returned.size() != graphOutputs.size())
        throw OpenMMException("NeuralForce: the compiled model returned "+to_string(returned.size())+" outputs, but its description lists "+join(graphOutputs)+"; export it again");
    return returned;
}

AOTInductorRunner::~AOTInductorRunner() {
}

TorchRunner::Results AOTInductorRunner::evaluate(const vector<at::Tensor>& inputs, const ModelRequest& request) {
    at::NoGradGuard noGrad;
    const int64_t n = inputs[tensors.indexOf("positions")].size(0), members = signature.committeeSize;
    const bool weighted = (graphInputs.back() == weightsInput);
    if (request.memberForces && members > 1 && !weighted)
        throw OpenMMException("getForceStd: the model returns the mean force itself, so the forces of its members are not known");
    at::Tensor weights;
    if (weighted)
        weights = at::full({members}, 1.0/members, at::TensorOptions().dtype(options.dtype).device(options.device));
    const size_t forcesIndex = outputIndex("forces");
    Results results;
    if (request.forces || !request.derivatives.empty() || !request.memberForces) {
        vector<at::Tensor> returned = call(inputs, weights);
        results.energies = tensors.energy(returned[0], n).to(at::kDouble).sum(1);
        if (request.forces)
            results.forces = tensors.forces(returned[forcesIndex], n);
        const vector<string> parameters = signature.getParameters();
        for (int index : request.derivatives) {
            size_t output = outputIndex(derivativePrefix+parameters[index]);
            if (output == graphOutputs.size())
                throw OpenMMException("NeuralForce: the compiled model returns "+join(graphOutputs)+" only, and not the derivative by the parameter '"+parameters[index]+"'. "
                        "Export the potential with openmm_nn.export_potential(..., format='aotinductor'), which compiles it, or do not ask for this derivative");
            results.derivatives.push_back(returned[output]);
        }
    }
    if (request.memberForces) {
        vector<at::Tensor> forces;
        for (int64_t k = 0; k < members; k++) {
            if (weighted) {
                weights = at::zeros({members}, weights.options());
                weights[k].fill_(1.0);
            }
            vector<at::Tensor> returned = call(inputs, weights);
            results.energies = tensors.energy(returned[0], n).to(at::kDouble).sum(1);
            forces.push_back(tensors.forces(returned[forcesIndex], n));
        }
        results.forces = at::stack(forces);
    }
    return results;
}
