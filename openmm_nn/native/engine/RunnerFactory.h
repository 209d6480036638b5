#ifndef OPENMM_NN_RUNNERFACTORY_H_
#define OPENMM_NN_RUNNERFACTORY_H_

#include "openmm_nn/NeuralForce.h"
#include <memory>

namespace OpenMMNN {

/**
 * Make the runner of a force's model.
 *
 * @param numAtoms        how many atoms the model sees
 * @param platformDouble  whether a dtype of "platform" means double precision
 */
std::shared_ptr<ModelRunner> createRunner(const NeuralForce& force, int numAtoms, bool platformDouble);

} // namespace OpenMMNN

#endif // OPENMM_NN_RUNNERFACTORY_H_
