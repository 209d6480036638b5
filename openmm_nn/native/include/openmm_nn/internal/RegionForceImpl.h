#ifndef OPENMM_NN_REGIONFORCEIMPL_H_
#define OPENMM_NN_REGIONFORCEIMPL_H_

#include "openmm_nn/RegionForce.h"
#include "openmm/Kernel.h"
#include "openmm/internal/ForceImpl.h"
#include <map>

namespace OpenMMNN {

/** The internal implementation of RegionForce. */
class RegionForceImpl : public OpenMM::ForceImpl {
public:
    RegionForceImpl(const RegionForce& owner);
    void initialize(OpenMM::ContextImpl& context) override;
    const RegionForce& getOwner() const override {
        return owner;
    }
    void updateContextState(OpenMM::ContextImpl& context, bool& forcesInvalid) override {
        // The state is left alone.  The base class would report that forces are invalid, and have them computed again.
    }
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy, int groups) override;
    std::map<std::string, double> getDefaultParameters() override;
    std::vector<std::string> getKernelNames() override;
    void updateParametersInContext(OpenMM::ContextImpl& context);
private:
    const RegionForce& owner;
    OpenMM::Kernel kernel;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONFORCEIMPL_H_
