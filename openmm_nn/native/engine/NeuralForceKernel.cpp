#include "NeuralForceKernel.h"
#include <algorithm>
#include <chrono>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::vector;

// An integrator that moves the atoms after it has announced the step would pay for two evaluations a step.
static const int maxUnused = 3;

bool NeuralForceKernel::Input::operator==(const Input& other) const {
    return positions == other.positions && std::equal(box, box+3, other.box) && parameters == other.parameters;
}

NeuralForceKernel::~NeuralForceKernel() {
    // The thread uses the other members.
    worker.reset();
    auto scope = enter();
    pipeline.reset();
    engine.reset();
}

void NeuralForceKernel::initialize(ContextImpl& context, const NeuralForce& force) {
    vector<string> derivatives;
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        derivatives.push_back(force.getEnergyParameterDerivativeName(i));
    {
        auto scope = enter();
        engine.reset(new Engine(force, context.getSystem(), platformAccess.doublePrecision, wantsConcurrent(force), platformAccess.device));
    }
    access = platformAccess.open(engine->getParticles(), derivatives);
    makeWorker(force);
    makePipeline(force);
}

void NeuralForceKernel::makePipeline(const NeuralForce& force) {
    auto scope = enter();
    pipeline.reset();
    if (platformAccess.openPipeline)
        pipeline = platformAccess.openPipeline(*engine, force);
}

bool NeuralForceKernel::wantsConcurrent(const NeuralForce& force) const {
    map<string, string> properties = force.getProperties();
    return platformAccess.concurrent && properties.insert({"concurrent", "true"}).first->second == "true";
}

void NeuralForceKernel::makeWorker(const NeuralForce& force) {
    if (!wantsConcurrent(force) || !engine->canRunOnAnyThread())
        worker.reset();
    else if (!worker)
        worker.reset(new Worker([this] { evaluate(); }));
}

Engine::ParameterSource NeuralForceKernel::parameterSource() const {
    return [this](const string& name) {
        return input.parameters.at(name);
    };
}

void NeuralForceKernel::collect(ContextImpl& context) {
    access->gather(context, current.positions);
    context.getPeriodicBoxVectors(current.box[0], current.box[1], current.box[2]);
    for (const string& name : engine->getParameterNames())
        current.parameters[name] = context.getParameter(name);
}

void NeuralForceKernel::evaluate() {
    auto scope = enter();
    auto begin = std::chrono::steady_clock::now();
    engine->evaluate(input.positions, input.box, parameterSource(), wantForces, result);
    numNanoseconds += std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now()-begin).count();
}

void NeuralForceKernel::begin(bool includeForces) {
    std::swap(input, current); // `current` is collected anew before anyone looks at it
    wantForces = includeForces;
    if (!worker)
        return;
    worker->start();
    started = true;
}

void NeuralForceKernel::finish() {
    evaluated = true;
    if (!worker) {
        evaluate();
        return;
    }
    started = false;
    worker->wait();
}

void NeuralForceKernel::discard() {
    if (!started)
        return;
    started = false;
    try {
        worker->wait();
    }
    catch (const std::exception&) {
        // Nobody asked for this evaluation.
    }
    numUnused++;
}

void NeuralForceKernel::prefetch(ContextImpl& context) {
    if (!worker || numUnused >= maxUnused)
        return;
    discard();
    collect(context);
    // Where the atoms have not moved since the latest evaluation, the integrator has its forces already.
    if (evaluated && current == input)
        return;
    begin(true);
    numEarly++;
}

double NeuralForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    if (pipeline) {
        auto begin = std::chrono::steady_clock::now();
        double energy = pipeline->execute(context, [&context](const string& name) {
            return context.getParameter(name);
        }, includeForces, includeEnergy);
        numNanoseconds += std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now()-begin).count();
        return energy;
    }
    collect(context);
    if (started && current == input)
        numUnused = 0;
    else {
        discard();
        begin(includeForces);
    }
    finish();
    if (includeForces)
        access->scatter(context, result.forces);
    for (auto& derivative : result.derivatives)
        access->addDerivative(context, derivative.first, derivative.second);
    return includeEnergy ? result.energy : 0.0;
}

void NeuralForceKernel::updateModel(const NeuralForce& force) {
    discard();
    pipeline.reset();
    {
        auto scope = enter();
        engine->setModel(force);
    }
    makeWorker(force);
    makePipeline(force);
    evaluated = false;
}

vector<double> NeuralForceKernel::getMemberEnergies(ContextImpl& context) {
    discard();
    collect(context);
    input = current;
    evaluated = false;
    auto scope = enter();
    return engine->getMemberEnergies(input.positions, input.box, parameterSource());
}

vector<double> NeuralForceKernel::getForceStd(ContextImpl& context) {
    discard();
    collect(context);
    input = current;
    evaluated = false;
    auto scope = enter();
    return engine->getForceStd(input.positions, input.box, parameterSource());
}

map<string, long long> NeuralForceKernel::getStatistics() {
    discard();
    map<string, long long> statistics = engine->getStatistics();
    statistics["early_evaluations"] = numEarly;
    statistics["nanoseconds"] = numNanoseconds;
    return statistics;
}
