#ifndef OPENMM_NN_TORCHSCOPE_H_
#define OPENMM_NN_TORCHSCOPE_H_

#include <cuda.h>

namespace OpenMMNN {

/**
 * Makes the CUDA context of torch current for a while.  OpenMM works in a context of its own; torch uses the device's
 * primary one, but takes any context that happens to be current for it.
 */
class TorchScope {
public:
    explicit TorchScope(CUdevice device);
    ~TorchScope();
    TorchScope(const TorchScope&) = delete;
    TorchScope& operator=(const TorchScope&) = delete;
private:
    CUdevice device;
};

/** Throw an exception that says what failed, if it did. */
void checkCuda(CUresult result, const char* what);

} // namespace OpenMMNN

#endif // OPENMM_NN_TORCHSCOPE_H_
