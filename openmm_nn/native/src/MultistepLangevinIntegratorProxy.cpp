#include "MultistepLangevinIntegratorProxy.h"
#include "openmm_nn/MultistepLangevinIntegrator.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <memory>

using namespace OpenMM;
using namespace OpenMMNN;

MultistepLangevinIntegratorProxy::MultistepLangevinIntegratorProxy() : SerializationProxy("MultistepLangevinIntegrator") {
}

void MultistepLangevinIntegratorProxy::serialize(const void* object, SerializationNode& node) const {
    const MultistepLangevinIntegrator& integrator = *reinterpret_cast<const MultistepLangevinIntegrator*>(object);
    node.setIntProperty("version", 1);
    node.setDoubleProperty("stepSize", integrator.getStepSize()).setDoubleProperty("constraintTolerance", integrator.getConstraintTolerance());
    node.setDoubleProperty("temperature", integrator.getTemperature()).setDoubleProperty("friction", integrator.getFriction());
    node.setIntProperty("randomSeed", integrator.getRandomNumberSeed()).setIntProperty("integrationForceGroups", integrator.getIntegrationForceGroups());
    SerializationNode& groups = node.createChildNode("Groups");
    for (auto& group : integrator.getGroups())
        groups.createChildNode("Group").setIntProperty("group", group.first).setIntProperty("evaluations", group.second);
}

void* MultistepLangevinIntegratorProxy::deserialize(const SerializationNode& node) const {
    const int version = node.getIntProperty("version");
    if (version != 1)
        throw OpenMMException("MultistepLangevinIntegrator: the XML has format version "+std::to_string(version)+" and this plugin reads version 1; read it with the version of openmm_nn that wrote it");
    std::vector<std::pair<int, int> > groups;
    for (auto& group : node.getChildNode("Groups").getChildren())
        groups.push_back({group.getIntProperty("group"), group.getIntProperty("evaluations")});
    std::unique_ptr<MultistepLangevinIntegrator> integrator(new MultistepLangevinIntegrator(node.getDoubleProperty("temperature"),
            node.getDoubleProperty("friction"), node.getDoubleProperty("stepSize"), groups));
    integrator->setConstraintTolerance(node.getDoubleProperty("constraintTolerance"));
    integrator->setRandomNumberSeed(node.getIntProperty("randomSeed"));
    integrator->setIntegrationForceGroups(node.getIntProperty("integrationForceGroups"));
    return integrator.release();
}
