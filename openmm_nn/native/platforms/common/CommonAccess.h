#ifndef OPENMM_NN_COMMONACCESS_H_
#define OPENMM_NN_COMMONACCESS_H_

#include "ParticleAccess.h"
#include "openmm/common/ComputeContext.h"

namespace OpenMMNN {

/** What every platform of OpenMM's common compute layer gives: its particles, and the geometry of a region if that is asked. */
PlatformAccess commonAccess(OpenMM::ComputeContext& cc);

} // namespace OpenMMNN

#endif // OPENMM_NN_COMMONACCESS_H_
