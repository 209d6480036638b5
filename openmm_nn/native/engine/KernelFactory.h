#ifndef OPENMM_NN_KERNELFACTORY_H_
#define OPENMM_NN_KERNELFACTORY_H_

#include "ParticleAccess.h"
#include "openmm/KernelFactory.h"
#include "openmm/Platform.h"

namespace OpenMMNN {

/** Makes the kernels of this plugin; a platform says how it gives access to particles. */
class OPENMM_EXPORT_NN_ENGINE KernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform, OpenMM::ContextImpl& context) const override;
    /** Register a factory for all kernels of this plugin.  The platform takes ownership of what `make` returns. */
    static void registerWith(OpenMM::Platform& platform, const std::function<KernelFactory*()>& make);
protected:
    virtual PlatformAccess getAccess(OpenMM::ContextImpl& context) const = 0;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_KERNELFACTORY_H_
