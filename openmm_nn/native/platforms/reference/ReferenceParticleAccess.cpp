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

ReferenceImpulse::ReferenceImpulse(ContextImpl& context) : context(context) {
    const System& system = context.getSystem();
    for (int i = 0; i < system.getNumParticles(); i++) {
        const double mass = system.getParticleMass(i);
        inverseMasses.push_back(mass == 0.0 ? 0.0 : 1.0/mass);
    }
}

void ReferenceImpulse::add(const vector<Vec3>& forces, double duration) {
    vector<Vec3>& velocities = *dataOf(context).velocities;
    for (size_t i = 0; i < inverseMasses.size(); i++)
        velocities[i] += forces[i]*(duration*inverseMasses[i]);
}

void ReferenceImpulse::apply(double duration) {
    add(*dataOf(context).forces, duration);
}

void ReferenceImpulse::keep(int number) {
    kept[number] = *dataOf(context).forces;
}

bool ReferenceImpulse::applyKept(int number, double duration) {
    auto found = kept.find(number);
    if (found == kept.end())
        return false;
    add(found->second, duration);
    return true;
}

void ReferenceImpulse::forget() {
    kept.clear();
}
