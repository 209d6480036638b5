#ifndef OPENMM_NN_KERNELLOADER_H_
#define OPENMM_NN_KERNELLOADER_H_

namespace OpenMMNN {

/**
 * Load the platforms' kernel libraries of this plugin, once in a process.  They bring libtorch with them, so this is
 * done when a Context first needs them.  Throws an OpenMMException if none could be loaded.
 */
void loadKernels();

} // namespace OpenMMNN

#endif // OPENMM_NN_KERNELLOADER_H_
