#ifndef OPENMM_NN_ENGINEKERNEL_H_
#define OPENMM_NN_ENGINEKERNEL_H_

#include "Engine.h"
#include "openmm_nn/NeuralKernels.h"

namespace OpenMMNN {

/**
 * The part of a kernel that is the same on all platforms.  A platform says how positions of a few particles are read
 * and how forces on them are added.
 */
class OPENMM_EXPORT_NN_ENGINE EngineKernel : public CalcNeuralForceKernel {
public:
    using CalcNeuralForceKernel::CalcNeuralForceKernel;
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) override;
    void updateModel(const NeuralForce& force) override;
    std::vector<double> getMemberEnergies(OpenMM::ContextImpl& context) override;
    std::vector<double> getForceStd(OpenMM::ContextImpl& context) override;
    std::map<std::string, long long> getStatistics() const override;
protected:
    /** Get the unwrapped positions of the engine's particles. */
    virtual void gather(OpenMM::ContextImpl& context, std::vector<OpenMM::Vec3>& positions) = 0;
    /** Add to the forces on the engine's particles. */
    virtual void scatter(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& forces) = 0;
    virtual void addDerivative(OpenMM::ContextImpl& context, const std::string& name, double value) = 0;
    std::unique_ptr<Engine> engine;
private:
    void collect(OpenMM::ContextImpl& context);
    std::vector<OpenMM::Vec3> positions;
    OpenMM::Vec3 box[3];
    Engine::Result result;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_ENGINEKERNEL_H_
