#ifndef OPENMM_NN_REGIONFORCEKERNEL_H_
#define OPENMM_NN_REGIONFORCEKERNEL_H_

#include "ParticleAccess.h"
#include "RegionEnergy.h"
#include "openmm_nn/NeuralKernels.h"

namespace OpenMMNN {

/** The kernel of RegionForce on any platform. */
class OPENMM_EXPORT_NN_ENGINE RegionForceKernel : public CalcRegionForceKernel {
public:
    RegionForceKernel(const std::string& name, const OpenMM::Platform& platform, const PlatformAccess& access) :
            CalcRegionForceKernel(name, platform), platformAccess(access) {
    }
    void initialize(OpenMM::ContextImpl& context, const RegionForce& force) override;
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) override;
    void copyParametersToContext(OpenMM::ContextImpl& context, const RegionForce& force) override;
private:
    PlatformAccess platformAccess;
    std::unique_ptr<ParticleAccess> access;
    std::unique_ptr<RegionEnergy> region;
    std::string scaleParameter;
    double scaleOffset, scaleSlope;
    bool scaleDerivative, asksForGrid;
    std::vector<OpenMM::Vec3> positions, forces;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONFORCEKERNEL_H_
