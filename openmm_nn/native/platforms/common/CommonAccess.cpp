#include "CommonAccess.h"
#include "CommonImpulse.h"
#include "CommonParticleAccess.h"
#include "HostModelPipeline.h"

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::vector;

PlatformAccess OpenMMNN::commonAccess(ComputeContext& cc) {
    PlatformAccess access = {cc.getUseDoublePrecision(), false, [&cc](const vector<int>& particles, const vector<string>& derivatives) {
        return std::unique_ptr<ParticleAccess>(new CommonParticleAccess(cc, particles, derivatives));
    }};
    access.openImpulse = [&cc](ContextImpl&) {
        return std::unique_ptr<Impulse>(new CommonImpulse(cc));
    };
    access.openPipeline = [&cc](Engine& engine, const NeuralForce& force) {
        return HostModelPipeline::open(cc, engine, force);
    };
    return access;
}
