#ifndef OPENMM_NN_PARTICLEACCESS_H_
#define OPENMM_NN_PARTICLEACCESS_H_

#include "openmm_nn/windowsExportNN.h"
#include "openmm/internal/ContextImpl.h"
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * How a platform hands over the positions of a few particles and takes forces on them.  This is all that a platform
 * has to implement for the forces of this plugin.
 */
class OPENMM_EXPORT_NN_ENGINE ParticleAccess {
public:
    virtual ~ParticleAccess() {
    }
    /** Get the unwrapped positions of the particles. */
    virtual void gather(OpenMM::ContextImpl& context, std::vector<OpenMM::Vec3>& positions) = 0;
    /** Add to the forces on the particles. */
    virtual void scatter(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& forces) = 0;
    /** Add to dE/dp of a parameter. */
    virtual void addDerivative(OpenMM::ContextImpl& context, const std::string& name, double value) = 0;
};

/** How a platform adds forces to velocities; see ApplyImpulseKernel. */
class OPENMM_EXPORT_NN_ENGINE Impulse {
public:
    virtual ~Impulse() {
    }
    virtual void apply(double duration) = 0;
    virtual void keep(int number) = 0;
    virtual bool applyKept(int number, double duration) = 0;
    virtual void forget() = 0;
};

class DevicePipeline;
class Engine;
class NeuralForce;

/** What a platform's kernel factory gives to the kernels. */
struct PlatformAccess {
    /** Whether the platform computes in double precision. */
    bool doublePrecision;
    /** Whether a model may run beside the platform's own work: positions can be read at the beginning of a step at no cost. */
    bool concurrent;
    /** Make the access to some particles, and announce the derivatives that will be added. */
    std::function<std::unique_ptr<ParticleAccess>(const std::vector<int>& particles, const std::vector<std::string>& derivatives)> open;
    /** Make what adds forces, times a duration in ps, to all velocities. */
    std::function<std::unique_ptr<Impulse>(OpenMM::ContextImpl& context)> openImpulse;
    /** Where models run unless a property says otherwise, in torch's words. */
    std::string device = "cpu";
    /** Make that device current for torch, until the object is destroyed; may be empty. */
    std::function<std::shared_ptr<void>()> enter;
    /** Make what keeps positions and forces on the device, or nothing where that is not possible or not asked for. */
    std::function<std::unique_ptr<DevicePipeline>(Engine& engine, const NeuralForce& force)> openPipeline;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_PARTICLEACCESS_H_
