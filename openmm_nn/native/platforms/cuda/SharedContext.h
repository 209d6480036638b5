#ifndef OPENMM_NN_SHAREDCONTEXT_H_
#define OPENMM_NN_SHAREDCONTEXT_H_

namespace OpenMMNN {

/**
 * Let the OpenMM Contexts that are made from now on work in the CUDA context that torch uses, the primary one of their
 * device.
 *
 * OpenMM makes a CUDA context for every Context, and has no option for this.  A GPU runs one context at a time, and takes
 * 0.14 ms to change to another one, twice a step, on an H200.  So the entries for cuCtxCreate and cuCtxDestroy in the table
 * of imports of OpenMM's CUDA library are set to functions that retain and release the primary context.  Where the table is
 * not found (it is looked for in ELF files), or the environment variable OPENMM_NN_CUDA_CONTEXT is "separate", OpenMM keeps
 * contexts of its own, and everything works but for that time.
 */
void shareContextWithTorch();

} // namespace OpenMMNN

#endif // OPENMM_NN_SHAREDCONTEXT_H_
