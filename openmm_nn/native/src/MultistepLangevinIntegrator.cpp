#include "openmm_nn/MultistepLangevinIntegrator.h"
#include "openmm_nn/NeuralKernels.h"
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

void MultistepLangevinIntegrator::step(int steps) {
    if (context == NULL)
        throw OpenMMException("This Integrator is not bound to a context!");
    const double length = inner.getStepSize();
    for (int i = 0; i < steps; i++) {
        const long long stepCount = context->getStepCount();
        context->updateContextState();
        for (int j = 0; j < numInner; j++) {
            // A potential in the slowest group may have been started by now, so that is asked for late.
            for (size_t level = 1; level < levels.size(); level++)
                if (j%levels[level].every == 0) {
                    context->calcForcesAndEnergy(true, false, levels[level].groups);
                    impulseKernel.getAs<ApplyImpulseKernel>().execute(*context, length*levels[level].every);
                }
            context->calcForcesAndEnergy(true, false, levels[0].groups);
            innerKernel.getAs<IntegrateLangevinMiddleStepKernel>().execute(*context, inner);
        }
        // The kernel has counted the innermost steps.
        context->setStepCount(stepCount+1);
    }
}
