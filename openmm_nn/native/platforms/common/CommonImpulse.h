#ifndef OPENMM_NN_COMMONIMPULSE_H_
#define OPENMM_NN_COMMONIMPULSE_H_

#include "openmm/common/ComputeContext.h"

namespace OpenMMNN {

/** Adds the latest forces, times a duration, to all velocities on a platform of OpenMM's common compute layer. */
class CommonImpulse {
public:
    explicit CommonImpulse(OpenMM::ComputeContext& cc);
    /** @param duration  ps */
    void apply(double duration);
private:
    OpenMM::ComputeContext& cc;
    OpenMM::ComputeKernel kernel;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_COMMONIMPULSE_H_
