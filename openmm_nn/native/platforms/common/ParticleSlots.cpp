#include "ParticleSlots.h"
#include "openmm/common/ContextSelector.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::vector;

class ParticleSlots::Listener : public ComputeContext::ReorderListener {
public:
    Listener(ComputeContext& cc, const std::shared_ptr<State>& state) : cc(cc), state(state) {
    }
    void execute() override {
        if (auto alive = state.lock())
            alive->find(cc);
    }
private:
    ComputeContext& cc;
    std::weak_ptr<State> state;
};

ParticleSlots::ParticleSlots(ComputeContext& cc, const vector<int>& particles) : state(new State()) {
    ContextSelector selector(cc);
    state->particles = particles;
    state->array.initialize<int>(cc, particles.size(), "regionSlots");
    state->find(cc);
    cc.addReorderListener(new Listener(cc, state));
}

void ParticleSlots::State::find(ComputeContext& cc) {
    ContextSelector selector(cc);
    const vector<int>& order = cc.getAtomIndex();
    vector<int> slotOf(order.size());
    for (int i = 0; i < cc.getNumAtoms(); i++)
        slotOf[order[i]] = i;
    slots.clear();
    for (int particle : particles)
        slots.push_back(slotOf[particle]);
    array.upload(slots);
}
