#ifndef OPENMM_NN_NEURALFORCEPROXY_H_
#define OPENMM_NN_NEURALFORCEPROXY_H_

#include "openmm/serialization/SerializationProxy.h"

namespace OpenMMNN {

/** Writes a NeuralForce, model inside, to XML and reads it back. */
class NeuralForceProxy : public OpenMM::SerializationProxy {
public:
    NeuralForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEURALFORCEPROXY_H_
