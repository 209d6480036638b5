#ifndef OPENMM_NN_REGIONFORCEPROXY_H_
#define OPENMM_NN_REGIONFORCEPROXY_H_

#include "openmm/serialization/SerializationProxy.h"

namespace OpenMMNN {

/** Writes a RegionForce to XML and reads it back. */
class RegionForceProxy : public OpenMM::SerializationProxy {
public:
    RegionForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONFORCEPROXY_H_
