#include "KernelFactory.h"
#include "NeuralForceKernel.h"
#include "RegionForceKernel.h"
#include "openmm/OpenMMException.h"

using namespace OpenMM;
using std::string;

/** The kernel of MultistepLangevinIntegrator on any platform. */
class ImpulseKernel : public OpenMMNN::ApplyImpulseKernel {
public:
    ImpulseKernel(const string& name, const Platform& platform, std::unique_ptr<OpenMMNN::Impulse> impulse) :
            ApplyImpulseKernel(name, platform), impulse(std::move(impulse)) {
    }
    void apply(double duration) override {
        impulse->apply(duration);
    }
    void keep(int number) override {
        impulse->keep(number);
    }
    bool applyKept(int number, double duration) override {
        return impulse->applyKept(number, duration);
    }
    void forget() override {
        impulse->forget();
    }
private:
    std::unique_ptr<OpenMMNN::Impulse> impulse;
};

KernelImpl* OpenMMNN::KernelFactory::createKernelImpl(string name, const Platform& platform, ContextImpl& context) const {
    if (name == CalcNeuralForceKernel::Name())
        return new NeuralForceKernel(name, platform, getAccess(context));
    if (name == CalcRegionForceKernel::Name())
        return new RegionForceKernel(name, platform, getAccess(context));
    if (name == ApplyImpulseKernel::Name())
        return new ImpulseKernel(name, platform, getAccess(context).openImpulse(context));
    throw OpenMMException("Tried to create kernel with illegal kernel name '"+name+"'");
}

void OpenMMNN::KernelFactory::registerWith(Platform& platform, const std::function<KernelFactory*()>& make) {
    // A platform deletes every factory that it was given, so each name has its own.
    platform.registerKernelFactory(CalcNeuralForceKernel::Name(), make());
    platform.registerKernelFactory(CalcRegionForceKernel::Name(), make());
    platform.registerKernelFactory(ApplyImpulseKernel::Name(), make());
}
