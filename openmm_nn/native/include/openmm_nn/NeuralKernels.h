#ifndef OPENMM_NN_NEURALKERNELS_H_
#define OPENMM_NN_NEURALKERNELS_H_

#include "NeuralForce.h"
#include "RegionForce.h"
#include "openmm/KernelImpl.h"
#include "openmm/Platform.h"
#include "openmm/internal/ContextImpl.h"

namespace OpenMMNN {

/** The kernel that NeuralForce needs on every platform. */
class CalcNeuralForceKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() {
        return "CalcNeuralForce";
    }
    CalcNeuralForceKernel(const std::string& name, const OpenMM::Platform& platform) : OpenMM::KernelImpl(name, platform) {
    }
    virtual void initialize(OpenMM::ContextImpl& context, const NeuralForce& force) = 0;
    /** Called at the beginning of a time step that will need this force: it may be computed from now on. */
    virtual void prefetch(OpenMM::ContextImpl& context) = 0;
    virtual double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) = 0;
    virtual void updateModel(const NeuralForce& force) = 0;
    virtual std::vector<double> getMemberEnergies(OpenMM::ContextImpl& context) = 0;
    virtual std::vector<double> getForceStd(OpenMM::ContextImpl& context) = 0;
    virtual std::map<std::string, long long> getStatistics() = 0;
};

/** The kernel that RegionForce needs on every platform. */
class CalcRegionForceKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() {
        return "CalcRegionForce";
    }
    CalcRegionForceKernel(const std::string& name, const OpenMM::Platform& platform) : OpenMM::KernelImpl(name, platform) {
    }
    virtual void initialize(OpenMM::ContextImpl& context, const RegionForce& force) = 0;
    virtual double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) = 0;
    virtual void copyParametersToContext(OpenMM::ContextImpl& context, const RegionForce& force) = 0;
};

/** The kernel that MultistepLangevinIntegrator needs on every platform, besides OpenMM's own. */
class ApplyImpulseKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() {
        return "ApplyImpulse";
    }
    ApplyImpulseKernel(const std::string& name, const OpenMM::Platform& platform) : OpenMM::KernelImpl(name, platform) {
    }
    /** Add force times duration over mass to the velocity of every particle that has a mass, by the latest forces. */
    virtual void apply(double duration) = 0;
    /** Keep the latest forces under a number. */
    virtual void keep(int number) = 0;
    /** Apply the forces that were kept; returns false, and does nothing, where there are none. */
    virtual bool applyKept(int number, double duration) = 0;
    /** Throw away what was kept. */
    virtual void forget() = 0;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEURALKERNELS_H_
