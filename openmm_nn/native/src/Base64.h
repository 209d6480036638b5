#ifndef OPENMM_NN_BASE64_H_
#define OPENMM_NN_BASE64_H_

#include <string>

namespace OpenMMNN {

/** Encode bytes as base64 (RFC 4648), with padding and without line breaks. */
std::string base64Encode(const std::string& bytes);
/** Decode base64.  Throws an OpenMMException where the text is not base64. */
std::string base64Decode(const std::string& text);

} // namespace OpenMMNN

#endif // OPENMM_NN_BASE64_H_
