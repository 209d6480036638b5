#ifndef OPENMM_NN_PARTICLESLOTS_H_
#define OPENMM_NN_PARTICLESLOTS_H_

#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include <memory>
#include <vector>

namespace OpenMMNN {

/** Where in a device's arrays a few particles are.  OpenMM sorts its particles anew from time to time. */
class ParticleSlots {
public:
    ParticleSlots(OpenMM::ComputeContext& cc, const std::vector<int>& particles);
    /** The slots, on the host. */
    const std::vector<int>& get() const {
        return state->slots;
    }
    /** The slots, on the device. */
    OpenMM::ComputeArray& getArray() {
        return state->array;
    }
private:
    /** Shared with the listener, which lives as long as the ComputeContext. */
    struct State {
        std::vector<int> particles, slots;
        OpenMM::ComputeArray array;
        void find(OpenMM::ComputeContext& cc);
    };
    class Listener;
    std::shared_ptr<State> state;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_PARTICLESLOTS_H_
