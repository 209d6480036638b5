#ifndef OPENMM_NN_DEVICEPIPELINE_H_
#define OPENMM_NN_DEVICEPIPELINE_H_

#include "Engine.h"
#include "openmm/internal/ContextImpl.h"

namespace OpenMMNN {

/** Evaluates a NeuralForce with positions and forces that stay on the platform's device. */
class OPENMM_EXPORT_NN_ENGINE DevicePipeline {
public:
    virtual ~DevicePipeline() {
    }
    /** Add to forces and derivatives; return the energy if it is asked for. */
    virtual double execute(OpenMM::ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, bool includeEnergy) = 0;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_DEVICEPIPELINE_H_
