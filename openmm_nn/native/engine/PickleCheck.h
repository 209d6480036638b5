#ifndef OPENMM_NN_PICKLECHECK_H_
#define OPENMM_NN_PICKLECHECK_H_

#include <map>
#include <string>

namespace OpenMMNN {

/**
 * Walk through a pickle of a TorchScript file with inert values.
 *
 * @param data     the pickle
 * @param record   its name, for messages
 * @param sizes    bytes of every record of the file
 * @param folder   where its tensors are
 * @throws OpenMMException  if it nests too deeply, has an instruction that torch does not write, or a tensor that reaches
 *                          beyond its record
 */
void checkPickle(const std::string& data, const std::string& record, const std::map<std::string, size_t>& sizes, const std::string& folder);

} // namespace OpenMMNN

#endif // OPENMM_NN_PICKLECHECK_H_
