#ifndef OPENMM_NN_COMMONPARTICLEACCESS_H_
#define OPENMM_NN_COMMONPARTICLEACCESS_H_

#include "ParticleAccess.h"
#include "ParticleSlots.h"
#include "openmm/common/ComputeArray.h"

namespace OpenMMNN {

/**
 * Access to particles on the platforms of OpenMM's common compute layer.  Only these particles are copied between the
 * device and the host.
 */
class CommonParticleAccess : public ParticleAccess {
public:
    CommonParticleAccess(OpenMM::ComputeContext& cc, const std::vector<int>& particles, const std::vector<std::string>& derivatives);
    void gather(OpenMM::ContextImpl& context, std::vector<OpenMM::Vec3>& positions) override;
    void scatter(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& forces) override;
    void addDerivative(OpenMM::ContextImpl& context, const std::string& name, double value) override;
private:
    OpenMM::ComputeContext& cc;
    std::vector<int> particles;
    ParticleSlots slots;
    OpenMM::ComputeArray positionArray, forceArray;
    OpenMM::ComputeKernel gatherKernel, scatterKernel;
    std::vector<float> floatPositions;
    std::vector<double> doublePositions;
    std::vector<long long> fixedForces;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_COMMONPARTICLEACCESS_H_
