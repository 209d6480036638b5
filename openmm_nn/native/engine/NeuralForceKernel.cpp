#include "NeuralForceKernel.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::vector;

static Engine::ParameterSource parametersOf(ContextImpl& context) {
    return [&context](const string& name) {
        return context.getParameter(name);
    };
}

void NeuralForceKernel::initialize(ContextImpl& context, const NeuralForce& force) {
    vector<string> derivatives;
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        derivatives.push_back(force.getEnergyParameterDerivativeName(i));
    engine.reset(new Engine(force, context.getSystem(), platformAccess.doublePrecision));
    access = platformAccess.open(engine->getParticles(), derivatives);
}

void NeuralForceKernel::collect(ContextImpl& context) {
    access->gather(context, positions);
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
}

double NeuralForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    collect(context);
    engine->evaluate(positions, box, parametersOf(context), includeForces, result);
    if (includeForces)
        access->scatter(context, result.forces);
    for (auto& derivative : result.derivatives)
        access->addDerivative(context, derivative.first, derivative.second);
    return includeEnergy ? result.energy : 0.0;
}

void NeuralForceKernel::updateModel(const NeuralForce& force) {
    engine->setModel(force);
}

vector<double> NeuralForceKernel::getMemberEnergies(ContextImpl& context) {
    collect(context);
    return engine->getMemberEnergies(positions, box, parametersOf(context));
}

vector<double> NeuralForceKernel::getForceStd(ContextImpl& context) {
    collect(context);
    return engine->getForceStd(positions, box, parametersOf(context));
}

map<string, long long> NeuralForceKernel::getStatistics() const {
    return engine->getStatistics();
}
