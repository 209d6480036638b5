#ifndef OPENMM_NN_HOSTMODELPIPELINE_H_
#define OPENMM_NN_HOSTMODELPIPELINE_H_

#include "DeviceGeometry.h"
#include "DevicePipeline.h"

namespace OpenMMNN {

/** The region's geometry on the device, the model wherever it runs: its inputs and its forces are copied. */
class HostModelPipeline : public DevicePipeline {
public:
    /** Whether the property "geometry" asks for it; throws if the property makes no sense. */
    static bool isAsked(const NeuralForce& force, bool byDefault);
    /** Make one if it is asked for. */
    static std::unique_ptr<DevicePipeline> open(OpenMM::ComputeContext& cc, Engine& engine, const NeuralForce& force);
    HostModelPipeline(OpenMM::ComputeContext& cc, Engine& engine);
    double execute(OpenMM::ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, bool includeEnergy) override;
private:
    OpenMM::ComputeContext& cc;
    Engine& engine;
    DeviceGeometry geometry;
    Engine::Result result;
    std::vector<double> positions;
    std::vector<float> status;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_HOSTMODELPIPELINE_H_
