#include "RegionForceKernel.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::vector;

/** The number of threads that the platform was given, or 0 where it has no such property. */
static int threadsOf(ContextImpl& context) {
    const Platform& platform = context.getPlatform();
    for (const string& name : platform.getPropertyNames())
        if (name == "Threads")
            return std::stoi(platform.getPropertyValue(context.getOwner(), name));
    return 0;
}

void RegionForceKernel::initialize(ContextImpl& context, const RegionForce& force) {
    scaleParameter = force.getScaleParameter();
    force.getScale(scaleOffset, scaleSlope);
    scaleDerivative = (force.getHasScaleDerivative() && !scaleParameter.empty());
    copyParametersToContext(context, force);
    access = platformAccess.open(region->getParticles(), scaleDerivative ? vector<string>{scaleParameter} : vector<string>());
}

void RegionForceKernel::copyParametersToContext(ContextImpl& context, const RegionForce& force) {
    region.reset(new RegionEnergy(force, context.getSystem(), threadsOf(context)));
    asksForGrid = force.getIncludesImages();
}

double RegionForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    double scale = scaleOffset+(scaleParameter.empty() ? 0.0 : scaleSlope*context.getParameter(scaleParameter));
    if (scale == 0.0 && !scaleDerivative)
        return 0.0;
    if (asksForGrid) {
        // Only now has every force of the Context been initialised.
        region->takeGridOf(context);
        asksForGrid = false;
    }
    access->gather(context, positions);
    Box box;
    context.getPeriodicBoxVectors(box.a, box.b, box.c);
    double energy = region->compute(positions, box, forces);
    if (includeForces) {
        for (Vec3& force : forces)
            force *= scale;
        access->scatter(context, forces);
    }
    if (scaleDerivative)
        access->addDerivative(context, scaleParameter, scaleSlope*energy);
    return includeEnergy ? scale*energy : 0.0;
}
