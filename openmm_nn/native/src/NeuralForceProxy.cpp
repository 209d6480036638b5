#include "NeuralForceProxy.h"
#include "Base64.h"
#include "SharedModel.h"
#include "openmm_nn/NeuralForce.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <cmath>

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::vector;

static const int formatVersion = 2; // 1 has no range of the scale

NeuralForceProxy::NeuralForceProxy() : SerializationProxy("NeuralForce") {
}

/** XmlSerializer passes "&#x..." through as a character reference; in JSON an ampersand has another spelling. */
static string escapeAmpersands(const string& json) {
    string result;
    for (char c : json)
        if (c == '&')
            result += "\\u0026";
        else
            result += c;
    return result;
}

static void writeIntegers(SerializationNode& parent, const string& name, const vector<int>& values) {
    SerializationNode& node = parent.createChildNode(name);
    for (int value : values)
        node.createChildNode("Item").setIntProperty("value", value);
}

static vector<int> readIntegers(const SerializationNode& parent, const string& name) {
    vector<int> values;
    for (auto& item : parent.getChildNode(name).getChildren())
        values.push_back(item.getIntProperty("value"));
    return values;
}

static void writeNames(SerializationNode& parent, const string& name, const vector<string>& values) {
    SerializationNode& node = parent.createChildNode(name);
    for (const string& value : values)
        node.createChildNode("Item").setStringProperty("name", value);
}

static vector<string> readNames(const SerializationNode& parent, const string& name) {
    vector<string> values;
    for (auto& item : parent.getChildNode(name).getChildren())
        values.push_back(item.getStringProperty("name"));
    return values;
}

static void writeSignature(SerializationNode& parent, const ModelSignature& signature) {
    SerializationNode& node = parent.createChildNode("Signature");
    node.setStringProperty("dtype", signature.dtype).setDoubleProperty("lengthFactor", signature.lengthFactor);
    node.setDoubleProperty("energyFactor", signature.energyFactor).setDoubleProperty("cutoff", signature.cutoff);
    node.setBoolProperty("longRange", signature.longRange).setBoolProperty("invariant", signature.invariant).setIntProperty("committeeSize", signature.committeeSize);
    writeNames(node, "Inputs", signature.inputs);
    writeNames(node, "Outputs", signature.outputs);
}

static ModelSignature readSignature(const SerializationNode& parent) {
    const SerializationNode& node = parent.getChildNode("Signature");
    ModelSignature signature;
    signature.dtype = node.getStringProperty("dtype");
    signature.lengthFactor = node.getDoubleProperty("lengthFactor");
    signature.energyFactor = node.getDoubleProperty("energyFactor");
    signature.cutoff = node.getDoubleProperty("cutoff");
    signature.longRange = node.getBoolProperty("longRange", false);
    signature.invariant = node.getBoolProperty("invariant");
    signature.committeeSize = node.getIntProperty("committeeSize");
    signature.inputs = readNames(node, "Inputs");
    signature.outputs = readNames(node, "Outputs");
    return signature;
}

static void writeModel(SerializationNode& parent, const NeuralForce& force) {
    SerializationNode& node = parent.createChildNode("Model");
    node.setStringProperty("card", escapeAmpersands(force.getCard()));
    if (force.getRunner()) {
        force.getRunner()->checkCopy();
        node.setStringProperty("callable", registerRunner(force.getRunner()));
    }
    else {
        node.setStringProperty("sha256", force.getModelHash());
        node.setStringProperty("base64", base64Encode(force.getModel()));
    }
}

static NeuralForce* readModel(const SerializationNode& parent) {
    const SerializationNode& node = parent.getChildNode("Model");
    string card = node.getStringProperty("card");
    if (node.hasProperty("callable")) {
        std::shared_ptr<ModelRunner> runner = findRunner(node.getStringProperty("callable"));
        if (!runner)
            throw OpenMMException("NeuralForce: its potential was a Python callable of the process that wrote this, and exists no longer. "
                    "Write the potential to a file with export_potential(), make the System from that, and serialise it again");
        return new NeuralForce(runner, card);
    }
    string bytes = base64Decode(node.getStringProperty("base64"));
    string expected = node.getStringProperty("sha256");
    string found = shareModel(bytes).hash;
    if (found != expected)
        throw OpenMMException("NeuralForce: the model inside the XML, of the force named '"+parent.getStringProperty("name")+
                "', was changed after it was written: its SHA-256 is "+found+" and should be "+expected+". Take an undamaged copy of the file, or make the System again");
    return new NeuralForce(bytes, card);
}

void NeuralForceProxy::serialize(const void* object, SerializationNode& node) const {
    const NeuralForce& force = *reinterpret_cast<const NeuralForce*>(object);
    node.setIntProperty("version", formatVersion);
    node.setIntProperty("forceGroup", force.getForceGroup()).setStringProperty("name", force.getName());
    node.setDoubleProperty("energyOffset", force.getEnergyOffset());
    node.setIntProperty("charge", force.getCharge()).setIntProperty("multiplicity", force.getMultiplicity());
    node.setBoolProperty("usesPeriodic", force.usesPeriodicBoundaryConditions());
    node.setStringProperty("scaleParameter", force.getScaleParameter()).setDoubleProperty("scaleDefault", force.getScaleParameterDefaultValue());
    ScaleRange range;
    force.getScaleRange(range.minimum, range.maximum);
    if (std::isfinite(range.minimum))
        node.setDoubleProperty("scaleMinimum", range.minimum);
    if (std::isfinite(range.maximum))
        node.setDoubleProperty("scaleMaximum", range.maximum);
    writeModel(node, force);
    writeSignature(node, force.getSignature());
    writeIntegers(node, "Particles", force.getParticles());
    writeIntegers(node, "AtomicNumbers", force.getAtomicNumbers());
    SerializationNode& links = node.createChildNode("Links");
    for (int i = 0; i < force.getNumLinks(); i++) {
        int inside, outside;
        NeuralForce::LinkRule rule;
        double value;
        force.getLinkParameters(i, inside, outside, rule, value);
        links.createChildNode("Link").setIntProperty("inside", inside).setIntProperty("outside", outside)
                .setStringProperty("rule", rule == NeuralForce::Fixed ? "fixed" : "ratio").setDoubleProperty("value", value);
    }
    SerializationNode& bonds = node.createChildNode("Bonds");
    for (int i = 0; i < force.getNumBonds(); i++) {
        int a, b;
        force.getBondParameters(i, a, b);
        bonds.createChildNode("Bond").setIntProperty("p1", a).setIntProperty("p2", b);
    }
    SerializationNode& parameters = node.createChildNode("GlobalParameters");
    const int numModelParameters = force.getNumGlobalParameters()-(force.getScaleParameter().empty() ? 0 : 1);
    for (int i = 0; i < numModelParameters; i++)
        parameters.createChildNode("Parameter").setStringProperty("name", force.getGlobalParameterName(i)).setDoubleProperty("default", force.getGlobalParameterDefaultValue(i));
    SerializationNode& derivatives = node.createChildNode("ParameterDerivatives");
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        derivatives.createChildNode("Parameter").setStringProperty("name", force.getEnergyParameterDerivativeName(i));
    SerializationNode& properties = node.createChildNode("Properties");
    for (auto& property : force.getProperties())
        properties.createChildNode("Property").setStringProperty("name", property.first).setStringProperty("value", property.second);
}

void* NeuralForceProxy::deserialize(const SerializationNode& node) const {
    int version = node.getIntProperty("version");
    if (version < 1 || version > formatVersion)
        throw OpenMMException("NeuralForce: the XML has format version "+std::to_string(version)+" and this plugin reads versions 1 to "+
                std::to_string(formatVersion)+"; read it with the version of openmm_nn that wrote it");
    std::unique_ptr<NeuralForce> force(readModel(node));
    force->setForceGroup(node.getIntProperty("forceGroup"));
    force->setName(node.getStringProperty("name"));
    force->setEnergyOffset(node.getDoubleProperty("energyOffset"));
    force->setCharge(node.getIntProperty("charge"));
    force->setMultiplicity(node.getIntProperty("multiplicity"));
    force->setUsesPeriodicBoundaryConditions(node.getBoolProperty("usesPeriodic"));
    force->setSignature(readSignature(node));
    force->setParticles(readIntegers(node, "Particles"));
    force->setAtomicNumbers(readIntegers(node, "AtomicNumbers"));
    for (auto& link : node.getChildNode("Links").getChildren())
        force->addLink(link.getIntProperty("inside"), link.getIntProperty("outside"),
                link.getStringProperty("rule") == "fixed" ? NeuralForce::Fixed : NeuralForce::Ratio, link.getDoubleProperty("value"));
    for (auto& bond : node.getChildNode("Bonds").getChildren())
        force->addBond(bond.getIntProperty("p1"), bond.getIntProperty("p2"));
    for (auto& parameter : node.getChildNode("GlobalParameters").getChildren())
        force->addGlobalParameter(parameter.getStringProperty("name"), parameter.getDoubleProperty("default"));
    if (node.getStringProperty("scaleParameter") != "")
        force->setScaleParameter(node.getStringProperty("scaleParameter"), node.getDoubleProperty("scaleDefault"));
    const ScaleRange all;
    force->setScaleRange(node.getDoubleProperty("scaleMinimum", all.minimum), node.getDoubleProperty("scaleMaximum", all.maximum));
    for (auto& parameter : node.getChildNode("ParameterDerivatives").getChildren())
        force->addEnergyParameterDerivative(parameter.getStringProperty("name"));
    for (auto& property : node.getChildNode("Properties").getChildren())
        force->setProperty(property.getStringProperty("name"), property.getStringProperty("value"));
    return force.release();
}
