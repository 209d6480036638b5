#include "TorchTensors.h"
#include "ScriptCheck.h"
#include "openmm/OpenMMException.h"
#include <ATen/Parallel.h>
#include <algorithm>
#include <sstream>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

ThreadGuard::ThreadGuard(int threads) : before(at::get_num_threads()), changed(threads > 0 && threads != before) {
    if (changed)
        at::set_num_threads(threads);
}

ThreadGuard::~ThreadGuard() {
    if (changed)
        at::set_num_threads(before);
}

static string getProperty(const map<string, string>& properties, const string& name, const string& fallback) {
    auto found = properties.find(name);
    return found == properties.end() ? fallback : found->second;
}

TorchOptions::TorchOptions(const ModelSignature& signature, const map<string, string>& properties, bool platformDouble) : device(at::kCPU) {
    string deviceName = getProperty(properties, "device", "cpu");
    if (deviceName != "cpu") {
        bool isCuda = (deviceName.compare(0, 4, "cuda") == 0);
        if (!isCuda || !at::hasCUDA())
            throw OpenMMException("NeuralForce: the property device is '"+deviceName+"'; this platform runs models on 'cpu' only"+
                    (isCuda ? ", since this torch was built without CUDA or finds no GPU" : "")+". Leave the property out");
        try {
            device = at::Device(deviceName);
        }
        catch (const c10::Error& e) {
            throw OpenMMException("NeuralForce: the property device is '"+deviceName+"'; allowed are 'cpu', 'cuda' and 'cuda:0', 'cuda:1' and so on. Leave it out to use the device of the Context");
        }
        if (!device.has_index())
            device.set_index(0);
    }
    // A System that is to be recorded on a GPU is analysed elsewhere, too.
    cudaGraphs = (device.is_cuda() && getProperty(properties, "cuda_graphs", "false") == "true");
    string precision = getProperty(properties, "precision", "model");
    if (precision == "single")
        dtype = at::kFloat;
    else if (precision == "double")
        dtype = at::kDouble;
    else if (precision != "model")
        throw OpenMMException("NeuralForce: the property precision is '"+precision+"'; allowed are model, single and double");
    else if (signature.dtype == "platform")
        dtype = (platformDouble ? at::kDouble : at::kFloat);
    else
        dtype = (signature.dtype == "float64" ? at::kDouble : at::kFloat);
    string threadCount = getProperty(properties, "threads", "0");
    char* end;
    threads = (int) strtol(threadCount.c_str(), &end, 10);
    if (threadCount.empty() || *end != 0 || threads < 0)
        throw OpenMMException("NeuralForce: the property threads is '"+threadCount+"'; it must be an integer, 1 or more, or 0 to use torch's own setting");
}

static string describe(const at::Tensor& tensor) {
    std::stringstream stream;
    stream << "a tensor of shape " << tensor.sizes() << ", dtype " << tensor.dtype() << " on " << tensor.device();
    return stream.str();
}

string TorchTensors::reason(const c10::Error& error) {
    // What a model's own code raised comes with a long C++ backtrace; the reason is before that.
    return printable(error.what_without_backtrace());
}

at::Tensor TorchTensors::array(const double* data, at::IntArrayRef shape) const {
    return at::from_blob(const_cast<double*>(data), shape, at::kDouble).to(options.device, options.dtype, false, true);
}

at::Tensor TorchTensors::array(const int64_t* data, at::IntArrayRef shape) const {
    return at::from_blob(const_cast<int64_t*>(data), shape, at::kLong).to(options.device, at::kLong, false, true);
}

at::Tensor TorchTensors::scalar(double value) const {
    return at::full({}, value, at::TensorOptions().dtype(options.dtype).device(options.device));
}

vector<at::Tensor> TorchTensors::inputs(const ModelInputs& inputs) const {
    const int64_t n = inputs.numAtoms();
    const int64_t numEdges = inputs.edgeIndex.size()/2;
    vector<at::Tensor> tensors;
    tensors.reserve(signature.inputs.size());
    size_t nextParameter = 0;
    for (const string& name : signature.inputs) {
        if (name == "positions")
            tensors.push_back(array(inputs.positions.data(), {n, 3}));
        else if (name == "box")
            tensors.push_back(array(inputs.box, {3, 3}));
        else if (name == "atomic_numbers")
            tensors.push_back(array(inputs.atomicNumbers.data(), {n}));
        else if (name == "charge")
            tensors.push_back(scalar((double) inputs.charge));
        else if (name == "multiplicity")
            tensors.push_back(scalar((double) inputs.multiplicity));
        else if (name == "edge_index")
            tensors.push_back(array(inputs.edgeIndex.data(), {2, numEdges}));
        else if (name == "edge_shifts")
            tensors.push_back(array(inputs.edgeShifts.data(), {numEdges, 3}));
        else
            tensors.push_back(scalar(inputs.parameters[nextParameter++]));
    }
    return tensors;
}

size_t TorchTensors::indexOf(const string& input) const {
    return std::find(signature.inputs.begin(), signature.inputs.end(), input)-signature.inputs.begin();
}

void TorchTensors::checkFloating(const at::Tensor& tensor, const string& name) const {
    // A model may sum in double what it computed in single precision.
    if (tensor.scalar_type() != at::kFloat && tensor.scalar_type() != at::kDouble)
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is "+describe(tensor)+"; it must be float32 or float64. Return it with the dtype of the positions");
    if (tensor.device() != options.device)
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is "+describe(tensor)+"; it must be on "+options.device.str()+", where the positions are. Make it there");
}

at::Tensor TorchTensors::energy(const at::Tensor& energy, int64_t numAtoms) const {
    const string& name = signature.outputs[0];
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
        const bool column = (energy.dim() == 2 && energy.size(1) == 1);
        fits = ((energy.dim() == 1 || column) && members == 1 && energy.size(0) == numAtoms) ||
               (energy.dim() == 2 && energy.size(0) == members && energy.size(1) == numAtoms);
        allowed = (members == 1 ? "of shape ("+to_string(numAtoms)+",)" : "of shape ("+to_string(members)+", "+to_string(numAtoms)+")")+", one energy an atom";
    }
    if (!fits)
        throw OpenMMException("NeuralForce: the model's output '"+name+"' is "+describe(energy)+"; it must be "+allowed+". Correct the model, or its card");
    return name == "atomic_energies" ? energy.reshape({members, numAtoms}) : energy.reshape({name == "energy" ? 1 : members, 1});
}

at::Tensor TorchTensors::forces(const at::Tensor& forces, int64_t numAtoms) const {
    checkFloating(forces, "forces");
    if (forces.dim() != 2 || forces.size(0) != numAtoms || forces.size(1) != 3)
        throw OpenMMException("NeuralForce: the model's output 'forces' is "+describe(forces)+"; it must be of shape ("+to_string(numAtoms)+", 3). Return one force vector for every atom");
    return forces;
}

vector<double> TorchTensors::values(const at::Tensor& tensor) {
    at::Tensor contiguous = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
    const double* data = contiguous.data_ptr<double>();
    return vector<double>(data, data+contiguous.numel());
}
