#include "ReferenceParticleAccess.h"
#include "openmm/System.h"
#include "openmm/reference/ReferencePlatform.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::vector;

static ReferencePlatform::PlatformData& dataOf(ContextImpl& context) {
    return *reinterpret_cast<ReferencePlatform::PlatformData*>(context.getPlatformData());
}

void ReferenceParticleAccess::gather(ContextImpl& context, vector<Vec3>& positions) {
    const vector<Vec3>& all = *dataOf(context).positions;
    positions.resize(particles.size());
    for (size_t i = 0; i < particles.size(); i++)
        positions[i] = all[particles[i]];
}

void ReferenceParticleAccess::scatter(ContextImpl& context, const vector<Vec3>& forces) {
    vector<Vec3>& all = *dataOf(context).forces;
    for (size_t i = 0; i < particles.size(); i++)
        all[particles[i]] += forces[i];
}

void ReferenceParticleAccess::addDerivative(ContextImpl& context, const string& name, double value) {
    (*dataOf(context).energyParameterDerivatives)[name] += value;
}

std::function<void(double)> OpenMMNN::referenceImpulse(ContextImpl& context) {
    const System& system = context.getSystem();
    vector<double> inverseMasses(system.getNumParticles());
    for (int i = 0; i < system.getNumParticles(); i++) {
        const double mass = system.getParticleMass(i);
        inverseMasses[i] = (mass == 0.0 ? 0.0 : 1.0/mass);
    }
    ReferencePlatform::PlatformData& data = dataOf(context);
    return [&data, inverseMasses](double duration) {
        vector<Vec3>& velocities = *data.velocities;
        const vector<Vec3>& forces = *data.forces;
        for (size_t i = 0; i < inverseMasses.size(); i++)
            velocities[i] += forces[i]*(duration*inverseMasses[i]);
    };
}
