#include "TorchScope.h"
#include "openmm/OpenMMException.h"
#include <string>

using namespace OpenMM;
using namespace OpenMMNN;

void OpenMMNN::checkCuda(CUresult result, const char* what) {
    if (result == CUDA_SUCCESS)
        return;
    const char* name = NULL;
    cuGetErrorName(result, &name);
    throw OpenMMException("NeuralForce: CUDA could not "+std::string(what)+": "+(name == NULL ? std::to_string(result) : name));
}

TorchScope::TorchScope(CUdevice device) : device(device) {
    CUcontext context;
    checkCuda(cuDevicePrimaryCtxRetain(&context, device), "find the context that torch uses");
    CUresult result = cuCtxPushCurrent(context);
    if (result != CUDA_SUCCESS) {
        cuDevicePrimaryCtxRelease(device);
        checkCuda(result, "make the context that torch uses current");
    }
}

TorchScope::~TorchScope() {
    CUcontext context;
    cuCtxPopCurrent(&context);
    cuDevicePrimaryCtxRelease(device);
}
