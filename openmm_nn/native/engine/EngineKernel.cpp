#include "EngineKernel.h"

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

void EngineKernel::collect(ContextImpl& context) {
    gather(context, positions);
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
}

double EngineKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    collect(context);
    engine->evaluate(positions, box, parametersOf(context), includeForces, result);
    if (includeForces)
        scatter(context, result.forces);
    for (auto& derivative : result.derivatives)
        addDerivative(context, derivative.first, derivative.second);
    return includeEnergy ? result.energy : 0.0;
}

void EngineKernel::updateModel(const NeuralForce& force) {
    engine->setModel(force);
}

vector<double> EngineKernel::getMemberEnergies(ContextImpl& context) {
    collect(context);
    return engine->getMemberEnergies(positions, box, parametersOf(context));
}

vector<double> EngineKernel::getForceStd(ContextImpl& context) {
    collect(context);
    return engine->getForceStd(positions, box, parametersOf(context));
}

map<string, long long> EngineKernel::getStatistics() const {
    return engine->getStatistics();
}
