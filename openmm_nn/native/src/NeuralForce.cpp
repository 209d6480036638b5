#include "openmm_nn/NeuralForce.h"
#include "openmm_nn/internal/NeuralForceImpl.h"
#include "SharedModel.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/AssertionUtilities.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::vector;

const vector<string>& NeuralForce::getPropertyNames() {
    static const vector<string> names = {"concurrent", "cuda_graphs", "device", "geometry", "precision", "threads"};
    return names;
}

static string joined(const vector<string>& names) {
    string list;
    for (const string& name : names)
        list += (list.empty() ? "" : ", ")+name;
    return list;
}

/** A card on one line, as it can be an attribute in XML.  In JSON, white space outside of strings means nothing. */
static string onOneLine(string json) {
    for (char& c : json)
        if (c == '\n' || c == '\r' || c == '\t')
            c = ' ';
    return json;
}

NeuralForce::NeuralForce(const string& model, const string& card) {
    setName("NeuralForce");
    setModel(model, card);
}

NeuralForce::NeuralForce(std::shared_ptr<ModelRunner> runner, const string& card) :
        model(std::make_shared<const string>()), card(onOneLine(card)), runner(runner) {
    setName("NeuralForce");
    if (!runner)
        throw OpenMMException("NeuralForce: the callable is null");
}

void NeuralForce::setModel(const string& model, const string& card) {
    if (model.empty())
        throw OpenMMException("NeuralForce: the model has no bytes; give the contents of an exported file");
    SharedModel shared = shareModel(model);
    this->model = shared.bytes;
    this->hash = shared.hash;
    this->card = onOneLine(card);
    this->runner.reset();
}

void NeuralForce::setSignature(const ModelSignature& signature) {
    signature.validate();
    this->signature = signature;
}

void NeuralForce::setEnergyOffset(double offset) {
    if (!std::isfinite(offset))
        throw OpenMMException("NeuralForce: the energy offset must be finite (kJ/mol)");
    energyOffset = offset;
}

void NeuralForce::setParticles(const vector<int>& particles) {
    this->particles = particles;
}

void NeuralForce::setAtomicNumbers(const vector<int>& atomicNumbers) {
    this->atomicNumbers = atomicNumbers;
}

int NeuralForce::addLink(int inside, int outside, LinkRule rule, double value) {
    if (rule == Fixed ? !(value > 0) : !(value > 0 && value <= 1))
        throw OpenMMException("NeuralForce: a link atom's value is "+std::to_string(value)+"; a distance must be positive (nm), a ratio between 0 and 1");
    links.push_back({inside, outside, rule, value});
    return (int) links.size()-1;
}

void NeuralForce::getLinkParameters(int index, int& inside, int& outside, LinkRule& rule, double& value) const {
    ASSERT_VALID_INDEX(index, links);
    const Link& link = links[index];
    inside = link.inside;
    outside = link.outside;
    rule = link.rule;
    value = link.value;
}

int NeuralForce::addBond(int particle1, int particle2) {
    bonds.push_back(std::make_pair(particle1, particle2));
    return (int) bonds.size()-1;
}

void NeuralForce::getBondParameters(int index, int& particle1, int& particle2) const {
    ASSERT_VALID_INDEX(index, bonds);
    particle1 = bonds[index].first;
    particle2 = bonds[index].second;
}

int NeuralForce::addGlobalParameter(const string& name, double defaultValue) {
    if (!scaleParameter.empty() && name == scaleParameter)
        throw OpenMMException("addGlobalParameter: '"+name+"' is the scale parameter already; choose another name");
    globalParameters.push_back(std::make_pair(name, defaultValue));
    return (int) globalParameters.size()-1;
}

const string& NeuralForce::getGlobalParameterName(int index) const {
    if (isScale(index))
        return scaleParameter;
    ASSERT_VALID_INDEX(index, globalParameters);
    return globalParameters[index].first;
}

double NeuralForce::getGlobalParameterDefaultValue(int index) const {
    if (isScale(index))
        return scaleDefault;
    ASSERT_VALID_INDEX(index, globalParameters);
    return globalParameters[index].second;
}

void NeuralForce::setGlobalParameterDefaultValue(int index, double defaultValue) {
    if (isScale(index)) {
        setScaleParameter(scaleParameter, defaultValue);
        return;
    }
    ASSERT_VALID_INDEX(index, globalParameters);
    globalParameters[index].second = defaultValue;
}

void NeuralForce::addEnergyParameterDerivative(const string& name) {
    vector<string> known;
    for (auto& parameter : globalParameters)
        known.push_back(parameter.first);
    if (!scaleParameter.empty())
        known.push_back(scaleParameter);
    if (std::find(known.begin(), known.end(), name) == known.end()) {
        string list;
        for (const string& parameter : known)
            list += (list.empty() ? "'" : ", '")+parameter+"'";
        throw OpenMMException("addEnergyParameterDerivative: '"+name+"' is no parameter of this force. "+
                (known.empty() ? "There are none" : "There are only "+list)+"; correct the name, or add the parameter first");
    }
    if (std::find(derivatives.begin(), derivatives.end(), name) == derivatives.end())
        derivatives.push_back(name);
}

const string& NeuralForce::getEnergyParameterDerivativeName(int index) const {
    ASSERT_VALID_INDEX(index, derivatives);
    return derivatives[index];
}

void NeuralForce::setScaleParameter(const string& name, double defaultValue) {
    for (auto& parameter : globalParameters)
        if (parameter.first == name)
            throw OpenMMException("setScaleParameter: '"+name+"' is a parameter of the model already; choose another name");
    if (!name.empty())
        scaleRange.check(name, defaultValue);
    scaleParameter = name;
    scaleDefault = defaultValue;
}

void NeuralForce::setScaleRange(double minimum, double maximum) {
    ScaleRange range{minimum, maximum};
    range.validate();
    if (!scaleParameter.empty())
        range.check(scaleParameter, scaleDefault);
    scaleRange = range;
}

/** Whether the index of a global parameter is that of the scale parameter, which comes last. */
bool NeuralForce::isScale(int index) const {
    return !scaleParameter.empty() && index == (int) globalParameters.size();
}

void NeuralForce::setProperty(const string& name, const string& value) {
    const vector<string>& names = getPropertyNames();
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw OpenMMException("setProperty: got '"+name+"'; allowed: "+joined(names)+". To fix: correct the name.");
    properties[name] = value;
}

void NeuralForce::updateModelInContext(Context& context) {
    dynamic_cast<NeuralForceImpl&>(getImplInContext(context)).updateModel();
}

vector<double> NeuralForce::getMemberEnergies(Context& context) const {
    return dynamic_cast<NeuralForceImpl&>(getImplInContext(context)).getMemberEnergies(getContextImpl(context));
}

vector<double> NeuralForce::getForceStd(Context& context) const {
    return dynamic_cast<NeuralForceImpl&>(getImplInContext(context)).getForceStd(getContextImpl(context));
}

map<string, long long> NeuralForce::getStatistics(Context& context) const {
    return dynamic_cast<NeuralForceImpl&>(getImplInContext(context)).getStatistics();
}

ForceImpl* NeuralForce::createImpl() const {
    return new NeuralForceImpl(*this);
}
