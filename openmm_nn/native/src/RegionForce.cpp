#include "openmm_nn/RegionForce.h"
#include "openmm_nn/internal/RegionForceImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/AssertionUtilities.h"
#include <cmath>
#include <set>

using namespace OpenMM;
using namespace OpenMMNN;
using std::set;
using std::string;
using std::to_string;
using std::vector;

RegionForce::RegionForce() {
    setName("RegionForce");
}

RegionForce::RegionForce(const NonbondedForce& force, const vector<int>& region) {
    setName("RegionForce");
    for (int particle : region)
        addParticle(particle, 0.0, 1.0, 0.0);
    setParametersFrom(force);
    method = force.getNonbondedMethod();
    cutoff = force.getCutoffDistance();
    dielectric = force.getReactionFieldDielectric();
    bool hasCutoff = (method != NonbondedForce::NoCutoff);
    // OpenMM ignores the switch with LJPME.
    switchingDistance = (hasCutoff && method != NonbondedForce::LJPME && force.getUseSwitchingFunction() ? force.getSwitchingDistance() : 0.0);
    exceptionsPeriodic = force.getExceptionsUsePeriodicBoundaryConditions();
    ewaldErrorTolerance = force.getEwaldErrorTolerance();
    // As OpenMM has it, a grid counts only together with its alpha.
    if (method == NonbondedForce::PME || method == NonbondedForce::LJPME)
        force.getPMEParameters(alpha, grid[0], grid[1], grid[2]);
    if (alpha == 0.0)
        setPMEGrid(0, 0, 0);
    if (method == NonbondedForce::LJPME)
        force.getLJPMEParameters(dispersionAlpha, dispersionGrid[0], dispersionGrid[1], dispersionGrid[2]);
    if (dispersionAlpha == 0.0)
        setLJPMEGrid(0, 0, 0);
    const double automatic = std::sqrt(-std::log(2.0*force.getEwaldErrorTolerance()))/cutoff;
    if (alpha == 0.0)
        alpha = automatic;
    if (dispersionAlpha == 0.0)
        dispersionAlpha = automatic;
}

void RegionForce::setParametersFrom(const NonbondedForce& force) {
    set<int> inside;
    for (Particle& particle : particles) {
        if (particle.index < 0 || particle.index >= force.getNumParticles())
            throw OpenMMException("RegionForce: particle "+to_string(particle.index)+" is not among the "+to_string(force.getNumParticles())+" particles of the NonbondedForce");
        force.getParticleParameters(particle.index, particle.charge, particle.sigma, particle.epsilon);
        inside.insert(particle.index);
    }
    exceptions.clear();
    set<int> innerExceptions;
    for (int i = 0; i < force.getNumExceptions(); i++) {
        int particle1, particle2;
        double chargeProd, sigma, epsilon;
        force.getExceptionParameters(i, particle1, particle2, chargeProd, sigma, epsilon);
        if (inside.count(particle1) && inside.count(particle2)) {
            addException(particle1, particle2, chargeProd, sigma, epsilon);
            innerExceptions.insert(i);
        }
    }
    std::string parameter;
    int index;
    double a, b, c;
    for (int i = 0; i < force.getNumParticleParameterOffsets(); i++) {
        force.getParticleParameterOffset(i, parameter, index, a, b, c);
        if (inside.count(index) && (a != 0.0 || b != 0.0 || c != 0.0))
            throw OpenMMException("RegionForce: particle "+to_string(index)+" of the region has an offset by the parameter '"+parameter+
                    "'; nonbonded parameters in the region must be constant. Remove the offset, or leave the particle out");
    }
    for (int i = 0; i < force.getNumExceptionParameterOffsets(); i++) {
        force.getExceptionParameterOffset(i, parameter, index, a, b, c);
        if (innerExceptions.count(index) && (a != 0.0 || b != 0.0 || c != 0.0))
            throw OpenMMException("RegionForce: exception "+to_string(index)+" inside the region has an offset by the parameter '"+parameter+
                    "'; nonbonded parameters in the region must be constant. Remove the offset");
    }
}

int RegionForce::addParticle(int particle, double charge, double sigma, double epsilon) {
    particles.push_back({particle, charge, sigma, epsilon});
    return (int) particles.size()-1;
}

void RegionForce::getParticleParameters(int index, int& particle, double& charge, double& sigma, double& epsilon) const {
    ASSERT_VALID_INDEX(index, particles);
    const Particle& p = particles[index];
    particle = p.index;
    charge = p.charge;
    sigma = p.sigma;
    epsilon = p.epsilon;
}

int RegionForce::addException(int particle1, int particle2, double chargeProd, double sigma, double epsilon) {
    exceptions.push_back({particle1, particle2, chargeProd, sigma, epsilon});
    return (int) exceptions.size()-1;
}

void RegionForce::getExceptionParameters(int index, int& particle1, int& particle2, double& chargeProd, double& sigma, double& epsilon) const {
    ASSERT_VALID_INDEX(index, exceptions);
    const Exception& e = exceptions[index];
    particle1 = e.particle1;
    particle2 = e.particle2;
    chargeProd = e.chargeProd;
    sigma = e.sigma;
    epsilon = e.epsilon;
}

vector<int> RegionForce::getParticles() const {
    vector<int> indices;
    for (const Particle& particle : particles)
        indices.push_back(particle.index);
    return indices;
}

void RegionForce::setScaleParameter(const string& name, double defaultValue) {
    if (!name.empty())
        scaleRange.check(name, defaultValue);
    scaleParameter = name;
    scaleDefault = defaultValue;
}

void RegionForce::setScaleRange(double minimum, double maximum) {
    ScaleRange range{minimum, maximum};
    range.validate();
    if (!scaleParameter.empty())
        range.check(scaleParameter, scaleDefault);
    scaleRange = range;
}

void RegionForce::checkParameter(const string& method, int index) const {
    if (index != 0 || scaleParameter.empty())
        throw OpenMMException(method+": got the index "+to_string(index)+"; allowed: "+(scaleParameter.empty() ? "none, since this force has no parameter" : "0")+
                ". To fix: ask getNumGlobalParameters() or getNumEnergyParameterDerivatives() first.");
}

const string& RegionForce::getGlobalParameterName(int index) const {
    checkParameter("getGlobalParameterName", index);
    return scaleParameter;
}

double RegionForce::getGlobalParameterDefaultValue(int index) const {
    checkParameter("getGlobalParameterDefaultValue", index);
    return scaleDefault;
}

void RegionForce::setGlobalParameterDefaultValue(int index, double defaultValue) {
    checkParameter("setGlobalParameterDefaultValue", index);
    setScaleParameter(scaleParameter, defaultValue);
}

void RegionForce::addEnergyParameterDerivative(const string& name) {
    if (scaleParameter.empty() || name != scaleParameter)
        throw OpenMMException("addEnergyParameterDerivative: got '"+name+"'; allowed: "+(scaleParameter.empty() ? "none" : "'"+scaleParameter+"'")+
                ", the parameter of this force. To fix: correct the name, or call setScaleParameter() first.");
    scaleDerivative = true;
}

const string& RegionForce::getEnergyParameterDerivativeName(int index) const {
    checkParameter("getEnergyParameterDerivativeName", scaleDerivative ? index : -1);
    return scaleParameter;
}

bool RegionForce::usesPeriodicBoundaryConditions() const {
    return method != NonbondedForce::NoCutoff && method != NonbondedForce::CutoffNonPeriodic;
}

int RegionForce::zeroPairs(NonbondedForce& force, const vector<int>& region) {
    int count = 0;
    for (size_t i = 0; i < region.size(); i++)
        for (size_t j = 0; j < i; j++) {
            force.addException(region[j], region[i], 0.0, 1.0, 0.0, true);
            count++;
        }
    return count;
}

void RegionForce::updateParametersInContext(Context& context) {
    dynamic_cast<RegionForceImpl&>(getImplInContext(context)).updateParametersInContext(getContextImpl(context));
}

ForceImpl* RegionForce::createImpl() const {
    return new RegionForceImpl(*this);
}
