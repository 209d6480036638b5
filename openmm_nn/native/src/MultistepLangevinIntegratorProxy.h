#ifndef OPENMM_NN_MULTISTEPLANGEVININTEGRATORPROXY_H_
#define OPENMM_NN_MULTISTEPLANGEVININTEGRATORPROXY_H_

#include "openmm/serialization/SerializationProxy.h"

namespace OpenMMNN {

/** Writes a MultistepLangevinIntegrator to XML and reads it back. */
class MultistepLangevinIntegratorProxy : public OpenMM::SerializationProxy {
public:
    MultistepLangevinIntegratorProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_MULTISTEPLANGEVININTEGRATORPROXY_H_
