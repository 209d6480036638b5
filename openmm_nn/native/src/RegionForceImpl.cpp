#include "openmm_nn/internal/RegionForceImpl.h"
#include "openmm_nn/NeuralKernels.h"
#include "KernelLoader.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"
#include <set>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

RegionForceImpl::RegionForceImpl(const RegionForce& owner) : owner(owner) {
    forceGroup = owner.getForceGroup();
    loadKernels();
}

void RegionForceImpl::initialize(ContextImpl& context) {
    std::set<int> inside;
    for (int i = 0; i < owner.getNumParticles(); i++) {
        int particle;
        double charge, sigma, epsilon;
        owner.getParticleParameters(i, particle, charge, sigma, epsilon);
        if (particle < 0 || particle >= context.getSystem().getNumParticles())
            throw OpenMMException("RegionForce: particle "+to_string(particle)+" is not in the System, which has particles 0 to "+to_string(context.getSystem().getNumParticles()-1));
        if (!inside.insert(particle).second)
            throw OpenMMException("RegionForce: particle "+to_string(particle)+" was added twice");
    }
    for (int i = 0; i < owner.getNumExceptions(); i++) {
        int particle1, particle2;
        double chargeProd, sigma, epsilon;
        owner.getExceptionParameters(i, particle1, particle2, chargeProd, sigma, epsilon);
        if (!inside.count(particle1) || !inside.count(particle2))
            throw OpenMMException("RegionForce: the exception of particles "+to_string(particle1)+" and "+to_string(particle2)+" is not between two particles of the region");
    }
    kernel = context.getPlatform().createKernel(CalcRegionForceKernel::Name(), context);
    kernel.getAs<CalcRegionForceKernel>().initialize(context, owner);
}

double RegionForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    if ((groups&(1<<forceGroup)) == 0)
        return 0.0;
    const string& scale = owner.getScaleParameter();
    if (!scale.empty()) {
        ScaleRange range;
        owner.getScaleRange(range.minimum, range.maximum);
        range.check(scale, context.getParameter(scale));
    }
    return kernel.getAs<CalcRegionForceKernel>().execute(context, includeForces, includeEnergy);
}

map<string, double> RegionForceImpl::getDefaultParameters() {
    map<string, double> parameters;
    if (!owner.getScaleParameter().empty())
        parameters[owner.getScaleParameter()] = owner.getScaleParameterDefaultValue();
    return parameters;
}

void RegionForceImpl::updateParametersInContext(ContextImpl& context) {
    kernel.getAs<CalcRegionForceKernel>().copyParametersToContext(context, owner);
    context.systemChanged();
}

vector<string> RegionForceImpl::getKernelNames() {
    return {CalcRegionForceKernel::Name()};
}
