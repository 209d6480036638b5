#include "RegionForceProxy.h"
#include "openmm_nn/RegionForce.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include <cmath>
#include <memory>

using namespace OpenMM;
using namespace OpenMMNN;

RegionForceProxy::RegionForceProxy() : SerializationProxy("RegionForce") {
}

void RegionForceProxy::serialize(const void* object, SerializationNode& node) const {
    const RegionForce& force = *reinterpret_cast<const RegionForce*>(object);
    double alpha, dispersionAlpha, offset, slope;
    force.getEwaldAlpha(alpha, dispersionAlpha);
    force.getScale(offset, slope);
    node.setIntProperty("version", 3).setIntProperty("forceGroup", force.getForceGroup()).setStringProperty("name", force.getName());
    node.setIntProperty("method", (int) force.getNonbondedMethod()).setDoubleProperty("cutoff", force.getCutoffDistance());
    node.setDoubleProperty("rfDielectric", force.getReactionFieldDielectric()).setDoubleProperty("switchingDistance", force.getSwitchingDistance());
    node.setDoubleProperty("alpha", alpha).setDoubleProperty("dispersionAlpha", dispersionAlpha);
    node.setBoolProperty("exceptionsUsePeriodic", force.getExceptionsUsePeriodicBoundaryConditions());
    node.setBoolProperty("includesPairs", force.getIncludesPairs()).setBoolProperty("includesImages", force.getIncludesImages());
    node.setDoubleProperty("ewaldTolerance", force.getEwaldErrorTolerance());
    int nx, ny, nz;
    force.getPMEGrid(nx, ny, nz);
    node.setIntProperty("nx", nx).setIntProperty("ny", ny).setIntProperty("nz", nz);
    force.getLJPMEGrid(nx, ny, nz);
    node.setIntProperty("ljnx", nx).setIntProperty("ljny", ny).setIntProperty("ljnz", nz);
    node.setDoubleProperty("scaleOffset", offset).setDoubleProperty("scaleSlope", slope).setStringProperty("scaleParameter", force.getScaleParameter());
    node.setDoubleProperty("scaleDefault", force.getScaleParameterDefaultValue()).setBoolProperty("scaleDerivative", force.getHasScaleDerivative());
    double minimum, maximum;
    force.getScaleRange(minimum, maximum);
    if (std::isfinite(minimum))
        node.setDoubleProperty("scaleMinimum", minimum);
    if (std::isfinite(maximum))
        node.setDoubleProperty("scaleMaximum", maximum);
    SerializationNode& particles = node.createChildNode("Particles");
    for (int i = 0; i < force.getNumParticles(); i++) {
        int particle;
        double charge, sigma, epsilon;
        force.getParticleParameters(i, particle, charge, sigma, epsilon);
        particles.createChildNode("Particle").setIntProperty("index", particle).setDoubleProperty("q", charge).setDoubleProperty("sig", sigma).setDoubleProperty("eps", epsilon);
    }
    SerializationNode& exceptions = node.createChildNode("Exceptions");
    for (int i = 0; i < force.getNumExceptions(); i++) {
        int particle1, particle2;
        double chargeProd, sigma, epsilon;
        force.getExceptionParameters(i, particle1, particle2, chargeProd, sigma, epsilon);
        exceptions.createChildNode("Exception").setIntProperty("p1", particle1).setIntProperty("p2", particle2).setDoubleProperty("q", chargeProd).setDoubleProperty("sig", sigma).setDoubleProperty("eps", epsilon);
    }
}

void* RegionForceProxy::deserialize(const SerializationNode& node) const {
    int version = node.getIntProperty("version");
    if (version < 1 || version > 3)
        throw OpenMMException("RegionForce: the XML has format version "+std::to_string(version)+" and this plugin reads versions 1 to 3; read it with the version of openmm_nn that wrote it");
    std::unique_ptr<RegionForce> force(new RegionForce());
    force->setForceGroup(node.getIntProperty("forceGroup"));
    force->setName(node.getStringProperty("name"));
    force->setNonbondedMethod((NonbondedForce::NonbondedMethod) node.getIntProperty("method"));
    force->setCutoffDistance(node.getDoubleProperty("cutoff"));
    force->setReactionFieldDielectric(node.getDoubleProperty("rfDielectric"));
    force->setSwitchingDistance(node.getDoubleProperty("switchingDistance"));
    force->setEwaldAlpha(node.getDoubleProperty("alpha"), node.getDoubleProperty("dispersionAlpha"));
    force->setExceptionsUsePeriodicBoundaryConditions(node.getBoolProperty("exceptionsUsePeriodic"));
    if (version > 1) {
        force->setIncludesPairs(node.getBoolProperty("includesPairs"));
        force->setIncludesImages(node.getBoolProperty("includesImages"));
        force->setEwaldErrorTolerance(node.getDoubleProperty("ewaldTolerance"));
        force->setPMEGrid(node.getIntProperty("nx"), node.getIntProperty("ny"), node.getIntProperty("nz"));
        force->setLJPMEGrid(node.getIntProperty("ljnx"), node.getIntProperty("ljny"), node.getIntProperty("ljnz"));
    }
    force->setScale(node.getDoubleProperty("scaleOffset"), node.getDoubleProperty("scaleSlope"));
    force->setScaleParameter(node.getStringProperty("scaleParameter"), node.getDoubleProperty("scaleDefault"));
    const ScaleRange all;
    force->setScaleRange(node.getDoubleProperty("scaleMinimum", all.minimum), node.getDoubleProperty("scaleMaximum", all.maximum));
    force->setHasScaleDerivative(node.getBoolProperty("scaleDerivative"));
    for (auto& particle : node.getChildNode("Particles").getChildren())
        force->addParticle(particle.getIntProperty("index"), particle.getDoubleProperty("q"), particle.getDoubleProperty("sig"), particle.getDoubleProperty("eps"));
    for (auto& e : node.getChildNode("Exceptions").getChildren())
        force->addException(e.getIntProperty("p1"), e.getIntProperty("p2"), e.getDoubleProperty("q"), e.getDoubleProperty("sig"), e.getDoubleProperty("eps"));
    return force.release();
}
