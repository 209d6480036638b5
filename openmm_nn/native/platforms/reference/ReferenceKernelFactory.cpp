#include "KernelFactory.h"
#include "ReferenceParticleAccess.h"
#include "openmm/reference/ReferencePlatform.h"

using namespace OpenMM;
using std::string;
using std::vector;

class ReferenceFactory : public OpenMMNN::KernelFactory {
protected:
    OpenMMNN::PlatformAccess getAccess(ContextImpl& context) const override {
        OpenMMNN::PlatformAccess access = {true, true, [](const vector<int>& particles, const vector<string>& derivatives) {
            return std::unique_ptr<OpenMMNN::ParticleAccess>(new OpenMMNN::ReferenceParticleAccess(particles));
        }};
        access.openImpulse = [](ContextImpl& context) {
            return std::unique_ptr<OpenMMNN::Impulse>(new OpenMMNN::ReferenceImpulse(context));
        };
        return access;
    }
};

extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
    for (int i = 0; i < Platform::getNumPlatforms(); i++) {
        Platform& platform = Platform::getPlatform(i);
        if (dynamic_cast<ReferencePlatform*>(&platform) != NULL)
            OpenMMNN::KernelFactory::registerWith(platform, [] { return new ReferenceFactory(); });
    }
}
