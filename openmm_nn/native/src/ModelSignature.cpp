#include "openmm_nn/ModelSignature.h"
#include "openmm/OpenMMException.h"
#include <algorithm>

using namespace OpenMMNN;
using OpenMM::OpenMMException;
using std::string;
using std::vector;

static const vector<string> tensorInputs = {"positions", "box", "atomic_numbers", "charge", "multiplicity", "edge_index", "edge_shifts"};
static const vector<string> energyOutputs = {"energy", "energies", "atomic_energies"};

static bool contains(const vector<string>& list, const string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

bool ModelSignature::hasInput(const string& name) const {
    return contains(inputs, name);
}

bool ModelSignature::hasOutput(const string& name) const {
    return contains(outputs, name);
}

vector<string> ModelSignature::getParameters() const {
    vector<string> parameters;
    for (const string& name : inputs)
        if (!contains(tensorInputs, name))
            parameters.push_back(name);
    return parameters;
}

void ModelSignature::validate() const {
    if (!hasInput("positions"))
        throw OpenMMException("NeuralForce: the signature's inputs do not include 'positions'; every model takes them");
    if (outputs.empty() || !contains(energyOutputs, outputs[0]))
        throw OpenMMException("NeuralForce: the first output is '"+(outputs.empty() ? string() : outputs[0])+"'; allowed are energy, energies and atomic_energies");
    for (size_t i = 1; i < outputs.size(); i++)
        if (outputs[i] != "forces")
            throw OpenMMException("NeuralForce: unknown output '"+outputs[i]+"'; after the energy only 'forces' is allowed");
    if (dtype != "float32" && dtype != "float64" && dtype != "platform")
        throw OpenMMException("NeuralForce: dtype is '"+dtype+"'; allowed are float32, float64 and platform");
    if (!(lengthFactor > 0) || !(energyFactor > 0))
        throw OpenMMException("NeuralForce: the unit factors must be positive");
    if (usesEdges() && !(cutoff > 0))
        throw OpenMMException("NeuralForce: the model takes edge_index, so its cutoff must be positive (nm)");
    if (committeeSize < 1)
        throw OpenMMException("NeuralForce: committeeSize must be at least 1");
}
