#ifndef OPENMM_NN_COMMONIMPULSE_H_
#define OPENMM_NN_COMMONIMPULSE_H_

#include "ParticleAccess.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include <map>
#include <set>

namespace OpenMMNN {

/** Adds forces to velocities on a platform of OpenMM's common compute layer. */
class CommonImpulse : public Impulse {
public:
    explicit CommonImpulse(OpenMM::ComputeContext& cc);
    void apply(double duration) override;
    void keep(int number) override;
    bool applyKept(int number, double duration) override;
    void forget() override;
private:
    class Listener;
    void add(OpenMM::ArrayInterface& forces, double duration);
    OpenMM::ComputeContext& cc;
    OpenMM::ComputeKernel kernel;
    std::map<int, OpenMM::ComputeArray> kept;
    std::shared_ptr<std::set<int> > valid; // shared with the listener, which OpenMM keeps
};

} // namespace OpenMMNN

#endif // OPENMM_NN_COMMONIMPULSE_H_
