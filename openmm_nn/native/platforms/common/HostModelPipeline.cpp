#include "HostModelPipeline.h"
#include "openmm/common/ContextSelector.h"
#include "openmm/OpenMMException.h"

using namespace OpenMM;
using namespace OpenMMNN;

bool HostModelPipeline::isAsked(const NeuralForce& force, bool byDefault) {
    auto properties = force.getProperties();
    const std::string value = properties.insert({"geometry", byDefault ? "device" : "host"}).first->second;
    if (value != "host" && value != "device")
        throw OpenMMException("NeuralForce: the property geometry is '"+value+"'; allowed are 'host' and 'device'. Leave it out to use the platform's own choice");
    return value == "device";
}

std::unique_ptr<DevicePipeline> HostModelPipeline::open(ComputeContext& cc, Engine& engine, const NeuralForce& force) {
    std::unique_ptr<DevicePipeline> pipeline;
    if (!isAsked(force, false))
        return pipeline;
    if (!engine.getSignature().invariant)
        throw OpenMMException("NeuralForce: the property geometry is 'device', but the frame of the model is absolute, so it must be given the positions as the Context has them. Leave the property out");
    pipeline.reset(new HostModelPipeline(cc, engine));
    return pipeline;
}

HostModelPipeline::HostModelPipeline(ComputeContext& cc, Engine& engine) : cc(cc), engine(engine), geometry(cc, engine, cc.getUseDoublePrecision()) {
}

double HostModelPipeline::execute(ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, bool includeEnergy) {
    ContextSelector selector(cc);
    geometry.place();
    geometry.positions.download(positions, true);
    geometry.status.download(status);
    if (status[DeviceGeometry::BadPosition] != 0)
        engine.throwBadPosition((int) status[DeviceGeometry::BadPosition]-1);
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    if (engine.makesWhole())
        engine.checkPlaced(&status[DeviceGeometry::ExtentX], status[DeviceGeometry::Jumped] != 0, box, [this] { return positions; });
    const std::vector<double>& forces = engine.evaluatePlaced(positions, box, parameters, includeForces, result);
    if (includeForces) {
        geometry.forces.upload(forces, true);
        geometry.addForces(engine.getForceFactor(parameters));
    }
    for (auto& derivative : result.derivatives)
        cc.getEnergyParamDerivWorkspace()[derivative.first] += derivative.second;
    return includeEnergy ? result.energy : 0.0;
}
