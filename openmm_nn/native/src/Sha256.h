#ifndef OPENMM_NN_SHA256_H_
#define OPENMM_NN_SHA256_H_

#include <string>

namespace OpenMMNN {

/** The SHA-256 digest (FIPS 180-4) of some bytes, in lower-case hexadecimal. */
std::string sha256(const std::string& bytes);

} // namespace OpenMMNN

#endif // OPENMM_NN_SHA256_H_
