#ifndef OPENMM_NN_REFERENCEPARTICLEACCESS_H_
#define OPENMM_NN_REFERENCEPARTICLEACCESS_H_

#include "ParticleAccess.h"
#include <map>

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

/** Adds forces to velocities on these platforms. */
class ReferenceImpulse : public Impulse {
public:
    explicit ReferenceImpulse(OpenMM::ContextImpl& context);
    void apply(double duration) override;
    void keep(int number) override;
    bool applyKept(int number, double duration) override;
    void forget() override;
private:
    void add(const std::vector<OpenMM::Vec3>& forces, double duration);
    OpenMM::ContextImpl& context;
    std::vector<double> inverseMasses;
    std::map<int, std::vector<OpenMM::Vec3> > kept;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REFERENCEPARTICLEACCESS_H_
