#include "openmm_nn/internal/NeuralForceImpl.h"
#include "openmm_nn/NeuralKernels.h"
#include "KernelLoader.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include <algorithm>
#include <set>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::pair;
using std::string;
using std::to_string;
using std::vector;

NeuralForceImpl::NeuralForceImpl(const NeuralForce& owner) : owner(owner) {
    forceGroup = owner.getForceGroup();
    // A platform is chosen by the kernels that it has, so they must be there before that.
    loadKernels();
}

void NeuralForceImpl::validate(const System& system) const {
    int numParticles = system.getNumParticles();
    auto checkIndex = [&](int index, const string& what) {
        if (index < 0 || index >= numParticles)
            throw OpenMMException("NeuralForce: "+what+" is particle "+to_string(index)+", but the System has particles 0 to "+to_string(numParticles-1));
    };
    std::set<int> inside;
    for (int particle : owner.getParticles()) {
        checkIndex(particle, "one of the particles");
        if (!inside.insert(particle).second)
            throw OpenMMException("NeuralForce: particle "+to_string(particle)+" is listed twice; list every particle once");
    }
    bool all = owner.getParticles().empty();
    int count = (all ? numParticles : (int) owner.getParticles().size());
    for (int i = 0; i < count; i++) {
        int particle = (all ? i : owner.getParticles()[i]);
        if (system.isVirtualSite(particle) && owner.getSignature().hasInput("atomic_numbers"))
            throw OpenMMException("NeuralForce: particle "+to_string(particle)+" is a virtual site, which is no atom; leave it out of the particles");
    }
    if (owner.getSignature().hasInput("atomic_numbers") && (int) owner.getAtomicNumbers().size() != count)
        throw OpenMMException("NeuralForce: there are "+to_string(owner.getAtomicNumbers().size())+" atomic numbers for "+to_string(count)+" particles; call setAtomicNumbers() with one each");
    for (int i = 0; i < owner.getNumLinks(); i++) {
        int q, m;
        NeuralForce::LinkRule rule;
        double value;
        owner.getLinkParameters(i, q, m, rule, value);
        checkIndex(q, "the inside atom of a link");
        checkIndex(m, "the outside atom of a link");
        if (!all && inside.find(q) == inside.end())
            throw OpenMMException("NeuralForce: the inside atom of link "+to_string(i)+", particle "+to_string(q)+", is not among the particles of this force");
        if (all || inside.find(m) != inside.end())
            throw OpenMMException("NeuralForce: the outside atom of link "+to_string(i)+", particle "+to_string(m)+", is among the particles of this force; a link caps a bond that leaves it");
    }
    for (int i = 0; i < owner.getNumBonds(); i++) {
        int a, b;
        owner.getBondParameters(i, a, b);
        checkIndex(a, "one end of a bond");
        checkIndex(b, "one end of a bond");
    }
    for (const string& name : owner.getSignature().getParameters()) {
        bool found = false;
        for (int i = 0; i < owner.getNumGlobalParameters(); i++)
            found |= (owner.getGlobalParameterName(i) == name);
        if (!found)
            throw OpenMMException("NeuralForce: the model takes the parameter '"+name+"', which this force does not define; call addGlobalParameter()");
    }
}

void NeuralForceImpl::initialize(ContextImpl& context) {
    validate(context.getSystem());
    kernel = context.getPlatform().createKernel(CalcNeuralForceKernel::Name(), context);
    kernel.getAs<CalcNeuralForceKernel>().initialize(context, owner);
}

void NeuralForceImpl::updateContextState(ContextImpl& context, bool& forcesInvalid) {
    if ((context.getIntegrator().getIntegrationForceGroups()&(1<<forceGroup)) != 0)
        kernel.getAs<CalcNeuralForceKernel>().prefetch(context);
}

double NeuralForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    if ((groups&(1<<forceGroup)) == 0)
        return 0.0;
    const string& scale = owner.getScaleParameter();
    if (!scale.empty()) {
        ScaleRange range;
        owner.getScaleRange(range.minimum, range.maximum);
        range.check(scale, context.getParameter(scale));
    }
    return kernel.getAs<CalcNeuralForceKernel>().execute(context, includeForces, includeEnergy);
}

map<string, double> NeuralForceImpl::getDefaultParameters() {
    map<string, double> parameters;
    for (int i = 0; i < owner.getNumGlobalParameters(); i++)
        parameters[owner.getGlobalParameterName(i)] = owner.getGlobalParameterDefaultValue(i);
    return parameters;
}

vector<string> NeuralForceImpl::getKernelNames() {
    return {CalcNeuralForceKernel::Name()};
}

vector<pair<int, int> > NeuralForceImpl::getBondedParticles() const {
    vector<pair<int, int> > bonds(owner.getNumBonds());
    for (int i = 0; i < owner.getNumBonds(); i++)
        owner.getBondParameters(i, bonds[i].first, bonds[i].second);
    return bonds;
}

void NeuralForceImpl::updateModel() {
    kernel.getAs<CalcNeuralForceKernel>().updateModel(owner);
}

vector<double> NeuralForceImpl::getMemberEnergies(ContextImpl& context) {
    return kernel.getAs<CalcNeuralForceKernel>().getMemberEnergies(context);
}

vector<double> NeuralForceImpl::getForceStd(ContextImpl& context) {
    return kernel.getAs<CalcNeuralForceKernel>().getForceStd(context);
}

map<string, long long> NeuralForceImpl::getStatistics() {
    return kernel.getAs<CalcNeuralForceKernel>().getStatistics();
}
