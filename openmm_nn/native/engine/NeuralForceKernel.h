#ifndef OPENMM_NN_NEURALFORCEKERNEL_H_
#define OPENMM_NN_NEURALFORCEKERNEL_H_

#include "Engine.h"
#include "ParticleAccess.h"
#include "openmm_nn/NeuralKernels.h"

namespace OpenMMNN {

/** The kernel of NeuralForce on any platform. */
class OPENMM_EXPORT_NN_ENGINE NeuralForceKernel : public CalcNeuralForceKernel {
public:
    NeuralForceKernel(const std::string& name, const OpenMM::Platform& platform, const PlatformAccess& access) :
            CalcNeuralForceKernel(name, platform), platformAccess(access) {
    }
    void initialize(OpenMM::ContextImpl& context, const NeuralForce& force) override;
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) override;
    void updateModel(const NeuralForce& force) override;
    std::vector<double> getMemberEnergies(OpenMM::ContextImpl& context) override;
    std::vector<double> getForceStd(OpenMM::ContextImpl& context) override;
    std::map<std::string, long long> getStatistics() const override;
private:
    void collect(OpenMM::ContextImpl& context);
    PlatformAccess platformAccess;
    std::unique_ptr<ParticleAccess> access;
    std::unique_ptr<Engine> engine;
    std::vector<OpenMM::Vec3> positions;
    OpenMM::Vec3 box[3];
    Engine::Result result;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEURALFORCEKERNEL_H_
