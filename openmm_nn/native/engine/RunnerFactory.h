#ifndef OPENMM_NN_RUNNERFACTORY_H_
#define OPENMM_NN_RUNNERFACTORY_H_

#include "openmm_nn/NeuralForce.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * Make the runner of a force's model, which is a file.
 *
 * @param atomicNumbers   of the atoms that the model sees
 * @param properties      of the force, with what the engine adds to them
 * @param platformDouble  whether a dtype of "platform" means double precision
 * @param device          where it runs if the properties do not say; a compiled package only runs on the processor
 */
std::shared_ptr<ModelRunner> createRunner(const NeuralForce& force, const std::vector<int64_t>& atomicNumbers,
        std::map<std::string, std::string> properties, bool platformDouble, const std::string& device);

} // namespace OpenMMNN

#endif // OPENMM_NN_RUNNERFACTORY_H_
