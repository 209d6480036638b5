#ifndef OPENMM_NN_COMMONNEURALKERNELS_H_
#define OPENMM_NN_COMMONNEURALKERNELS_H_

#include "EngineKernel.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"

namespace OpenMMNN {

/**
 * NeuralForce on the platforms of OpenMM's common compute layer.  Only the engine's particles are copied between the
 * device and the host.
 */
class CommonCalcNeuralForceKernel : public EngineKernel {
public:
    CommonCalcNeuralForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ComputeContext& cc) :
            EngineKernel(name, platform), cc(cc) {
    }
    void initialize(OpenMM::ContextImpl& context, const NeuralForce& force) override;
protected:
    void gather(OpenMM::ContextImpl& context, std::vector<OpenMM::Vec3>& positions) override;
    void scatter(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& forces) override;
    void addDerivative(OpenMM::ContextImpl& context, const std::string& name, double value) override;
private:
    class ReorderListener;
    /** Find where in the device's arrays the particles are. */
    void findSlots();
    OpenMM::ComputeContext& cc;
    OpenMM::ComputeArray slotArray, positionArray, forceArray;
    OpenMM::ComputeKernel gatherKernel, scatterKernel;
    std::vector<int> slots;
    std::vector<float> floatPositions;
    std::vector<double> doublePositions;
    std::vector<long long> fixedForces;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_COMMONNEURALKERNELS_H_
