#ifndef OPENMM_NN_SCRIPTCHECK_H_
#define OPENMM_NN_SCRIPTCHECK_H_

#include <torch/csrc/jit/api/module.h>
#include <string>

namespace OpenMMNN {

/**
 * Examine the bytes of a TorchScript file before torch's own reader, which trusts what they say: sizes of tensors, nesting
 * of pickles and of code, code that writes files or runs while it is loaded.  A System's XML may come from anywhere.
 * openmm_nn/scriptcheck.py does the same, and more, for files that are loaded in Python.
 *
 * @param model   the bytes of a file that torch.jit.save() wrote
 * @throws OpenMMException  that names what is wrong
 */
void checkScript(const std::string& model);

/**
 * Refuse kinds of numbers (dtypes) that torch does not have, as constants or attributes of a module: torch does not look, and
 * reads beyond its table of kinds.  openmm_nn/scriptcheck.py does the same for models that are run in Python.
 *
 * @param graph   of one of the module's methods, inlined
 * @param module  the module
 * @throws OpenMMException  that names the number
 */
void checkKinds(const torch::jit::Graph& graph, const torch::jit::Module& module);

/** A text with what is no plain letter replaced: names in a damaged file are bytes, which no Python exception can hold. */
std::string printable(const std::string& text);

} // namespace OpenMMNN

#endif // OPENMM_NN_SCRIPTCHECK_H_
