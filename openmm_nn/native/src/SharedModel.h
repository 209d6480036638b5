#ifndef OPENMM_NN_SHAREDMODEL_H_
#define OPENMM_NN_SHAREDMODEL_H_

#include "openmm_nn/ModelRunner.h"
#include <memory>
#include <string>

namespace OpenMMNN {

struct SharedModel {
    std::shared_ptr<const std::string> bytes;
    std::string hash;
};

/** Get the one copy of these bytes that this process holds, and their SHA-256. */
SharedModel shareModel(const std::string& bytes);

/** Register a runner under a token by which it can be found again in this process, as long as it lives. */
std::string registerRunner(const std::shared_ptr<ModelRunner>& runner);

/** Find a runner by its token.  Returns null if this process does not know it. */
std::shared_ptr<ModelRunner> findRunner(const std::string& token);

} // namespace OpenMMNN

#endif // OPENMM_NN_SHAREDMODEL_H_
