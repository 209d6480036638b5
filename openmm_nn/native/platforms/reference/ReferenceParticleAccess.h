#ifndef OPENMM_NN_REFERENCEPARTICLEACCESS_H_
#define OPENMM_NN_REFERENCEPARTICLEACCESS_H_

#include "ParticleAccess.h"

namespace OpenMMNN {

/** Access to particles on the Reference and CPU platforms, which keep positions and forces in the same way. */
class ReferenceParticleAccess : public ParticleAccess {
public:
    explicit ReferenceParticleAccess(const std::vector<int>& particles) : particles(particles) {
    }
    void gather(OpenMM::ContextImpl& context, std::vector<OpenMM::Vec3>& positions) override;
    void scatter(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& forces) override;
    void addDerivative(OpenMM::ContextImpl& context, const std::string& name, double value) override;
private:
    std::vector<int> particles;
};

/** What adds the latest forces of a Context, times a duration, to its velocities. */
std::function<void(double)> referenceImpulse(OpenMM::ContextImpl& context);

} // namespace OpenMMNN

#endif // OPENMM_NN_REFERENCEPARTICLEACCESS_H_
