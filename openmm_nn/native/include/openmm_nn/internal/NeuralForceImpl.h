#ifndef OPENMM_NN_NEURALFORCEIMPL_H_
#define OPENMM_NN_NEURALFORCEIMPL_H_

#include "openmm_nn/NeuralForce.h"
#include "openmm/Kernel.h"
#include "openmm/internal/ForceImpl.h"

namespace OpenMMNN {

/** The internal implementation of NeuralForce. */
class NeuralForceImpl : public OpenMM::ForceImpl {
public:
    NeuralForceImpl(const NeuralForce& owner);
    void initialize(OpenMM::ContextImpl& context) override;
    const NeuralForce& getOwner() const override {
        return owner;
    }
    /** Leaves the state alone.  (The base class would report that forces are invalid, and have them computed again.) */
    void updateContextState(OpenMM::ContextImpl& context, bool& forcesInvalid) override;
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy, int groups) override;
    std::map<std::string, double> getDefaultParameters() override;
    std::vector<std::string> getKernelNames() override;
    std::vector<std::pair<int, int> > getBondedParticles() const override;
    void updateModel();
    std::vector<double> getMemberEnergies(OpenMM::ContextImpl& context);
    std::vector<double> getForceStd(OpenMM::ContextImpl& context);
    std::map<std::string, long long> getStatistics();
private:
    void validate(const OpenMM::System& system) const;
    const NeuralForce& owner;
    OpenMM::Kernel kernel;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEURALFORCEIMPL_H_
