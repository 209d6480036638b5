#ifndef OPENMM_NN_REFERENCENEURALKERNELS_H_
#define OPENMM_NN_REFERENCENEURALKERNELS_H_

#include "EngineKernel.h"

namespace OpenMMNN {

/** NeuralForce on the Reference and CPU platforms, which keep positions and forces in the same way. */
class ReferenceCalcNeuralForceKernel : public EngineKernel {
public:
    using EngineKernel::EngineKernel;
    void initialize(OpenMM::ContextImpl& context, const NeuralForce& force) override;
protected:
    void gather(OpenMM::ContextImpl& context, std::vector<OpenMM::Vec3>& positions) override;
    void scatter(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& forces) override;
    void addDerivative(OpenMM::ContextImpl& context, const std::string& name, double value) override;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REFERENCENEURALKERNELS_H_
