#include "openmm_nn/MultistepLangevinIntegrator.h"
#include "openmm_nn/NeuralKernels.h"
#include "openmm_nn/internal/NeuralForceImpl.h"
#include "KernelLoader.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmm/kernels.h"
#include <algorithm>
#include <map>

using namespace OpenMM;
using namespace OpenMMNN;
using std::pair;
using std::string;
using std::to_string;
using std::vector;

MultistepLangevinIntegrator::MultistepLangevinIntegrator(double temperature, double friction, double stepSize, const vector<pair<int, int> >& groups) :
        groups(groups), numInner(1), inner(temperature, friction, stepSize) {
    std::map<int, int> groupsByCount;
    int all = 0;
    for (auto& group : groups) {
        if (group.first < 0 || group.first > 31)
            throw OpenMMException("MultistepLangevinIntegrator: groups has the force group "+to_string(group.first)+"; allowed are 0 to 31");
        if (group.second < 1)
            throw OpenMMException("MultistepLangevinIntegrator: groups has "+to_string(group.second)+" evaluations a step for force group "+to_string(group.first)+"; allowed is 1 or more");
        groupsByCount[group.second] |= 1<<group.first;
        if ((all&(1<<group.first)) != 0)
            throw OpenMMException("MultistepLangevinIntegrator: groups has force group "+to_string(group.first)+" twice; give every group once");
        all |= 1<<group.first;
    }
    if (groupsByCount.empty())
        throw OpenMMException("MultistepLangevinIntegrator: groups is empty; give pairs of a force group and how often it is evaluated in a step, (0, 1) for once");
    int previous = 1;
    for (auto& item : groupsByCount) {
        if (item.first%previous != 0)
            throw OpenMMException("MultistepLangevinIntegrator: groups has "+to_string(previous)+" and "+to_string(item.first)+" evaluations a step; allowed are numbers of which each divides the next larger one");
        previous = item.first;
    }
    numInner = previous;
    for (auto item = groupsByCount.rbegin(); item != groupsByCount.rend(); ++item)
        levels.push_back({numInner/item->first, item->second});
    setStepSize(stepSize);
    setConstraintTolerance(1e-5);
    setIntegrationForceGroups(all);
}

void MultistepLangevinIntegrator::setTemperature(double temperature) {
    inner.setTemperature(temperature);
}

void MultistepLangevinIntegrator::setFriction(double friction) {
    inner.setFriction(friction);
}

void MultistepLangevinIntegrator::setStepSize(double size) {
    Integrator::setStepSize(size);
    inner.setStepSize(size/numInner);
}

void MultistepLangevinIntegrator::setConstraintTolerance(double tol) {
    Integrator::setConstraintTolerance(tol);
    inner.setConstraintTolerance(tol);
}

void MultistepLangevinIntegrator::initialize(ContextImpl& contextRef) {
    if (owner != NULL && &contextRef.getOwner() != owner)
        throw OpenMMException("This Integrator is already bound to a context");
    context = &contextRef;
    owner = &contextRef.getOwner();
    innerKernel = context->getPlatform().createKernel(IntegrateLangevinMiddleStepKernel::Name(), contextRef);
    innerKernel.getAs<IntegrateLangevinMiddleStepKernel>().initialize(contextRef.getSystem(), inner);
    impulseKernel = context->getPlatform().createKernel(ApplyImpulseKernel::Name(), contextRef);
}

void MultistepLangevinIntegrator::cleanup() {
    innerKernel = Kernel();
    impulseKernel = Kernel();
}

vector<string> MultistepLangevinIntegrator::getKernelNames() {
    loadKernels();
    return {IntegrateLangevinMiddleStepKernel::Name(), ApplyImpulseKernel::Name()};
}

double MultistepLangevinIntegrator::computeKineticEnergy() {
    return innerKernel.getAs<IntegrateLangevinMiddleStepKernel>().computeKineticEnergy(*context, inner);
}

void MultistepLangevinIntegrator::stateChanged(State::DataType changed) {
    if (context != NULL)
        impulseKernel.getAs<ApplyImpulseKernel>().forget();
}

void MultistepLangevinIntegrator::loadCheckpoint(std::istream& stream) {
    impulseKernel.getAs<ApplyImpulseKernel>().forget();
}

/** Let potentials among the slower levels run beside the forces that are computed before their turn comes. */
void MultistepLangevinIntegrator::startPotentials() {
    for (ForceImpl* force : context->getForceImpls()) {
        bool invalid;
        if (auto neural = dynamic_cast<NeuralForceImpl*>(force))
            for (size_t level = 1; level < levels.size(); level++)
                if ((levels[level].groups&(1<<neural->getOwner().getForceGroup())) != 0)
                    neural->updateContextState(*context, invalid);
    }
}

/** Evaluate a level and apply a share of its impulse. */
void MultistepLangevinIntegrator::impulse(size_t level, double share) {
    context->calcForcesAndEnergy(true, false, levels[level].groups);
    impulseKernel.getAs<ApplyImpulseKernel>().apply(share*levels[level].every*inner.getStepSize());
}

void MultistepLangevinIntegrator::step(int steps) {
    if (context == NULL)
        throw OpenMMException("This Integrator is not bound to a context!");
    ApplyImpulseKernel& impulses = impulseKernel.getAs<ApplyImpulseKernel>();
    for (int i = 0; i < steps; i++) {
        const long long stepCount = context->getStepCount();
        if (context->updateContextState())
            impulses.forget();
        // From the faster levels to the slower ones, so that a potential has time beside the others.
        for (size_t level = 1; level < levels.size(); level++)
            if (!impulses.applyKept(level, 0.5*levels[level].every*inner.getStepSize()))
                impulse(level, 0.5);
        impulses.forget(); // a step that fails on its way has moved particles
        for (int j = 0; j < numInner; j++) {
            for (size_t level = 1; level < levels.size(); level++)
                if (j > 0 && j%levels[level].every == 0)
                    impulse(level, 1.0);
            context->calcForcesAndEnergy(true, false, levels[0].groups);
            innerKernel.getAs<IntegrateLangevinMiddleStepKernel>().execute(*context, inner);
        }
        startPotentials();
        for (size_t level = 1; level < levels.size(); level++) {
            impulse(level, 0.5);
            impulses.keep(level);
        }
        if (levels.size() > 1)
            context->applyVelocityConstraints(getConstraintTolerance());
        // The kernel has counted the innermost steps.
        context->setStepCount(stepCount+1);
    }
}
