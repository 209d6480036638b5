#ifndef OPENMM_NN_TORCHTENSORS_H_
#define OPENMM_NN_TORCHTENSORS_H_

#include "openmm_nn/ModelRunner.h"
#include "openmm_nn/ModelSignature.h"
#include "openmm_nn/windowsExportNN.h"
#include <ATen/ATen.h>
#include <map>
#include <string>
#include <vector>

namespace OpenMMNN {

/** Sets the number of threads that torch uses, and puts it back. */
class ThreadGuard {
public:
    /** @param threads  how many, or 0 to leave them alone */
    explicit ThreadGuard(int threads);
    ~ThreadGuard();
private:
    int before;
    bool changed;
};

/** What the properties of a force mean to torch. */
struct TorchOptions {
    /**
     * @param properties      see NeuralForce::setProperty()
     * @param platformDouble  whether a dtype of "platform" means double precision
     */
    TorchOptions(const ModelSignature& signature, const std::map<std::string, std::string>& properties, bool platformDouble);
    at::Device device;
    at::ScalarType dtype;
    int threads;
    bool cudaGraphs;
};

/** What the runners of torch share: inputs as tensors, outputs checked against what the card says of them. */
class TorchTensors {
public:
    TorchTensors(const ModelSignature& signature, const TorchOptions& options) : signature(signature), options(options) {
    }
    /** A tensor for every input, in the card's order. */
    std::vector<at::Tensor> inputs(const ModelInputs& inputs) const;
    /** Where in the card's order an input is. */
    size_t indexOf(const std::string& input) const;
    /** The energy as (K, terms of a member), or an error that says what is wrong with it. */
    at::Tensor energy(const at::Tensor& tensor, int64_t numAtoms) const;
    /** The forces (N, 3), or an error that says what is wrong with them. */
    at::Tensor forces(const at::Tensor& tensor, int64_t numAtoms) const;
    /** The values of a tensor. */
    static std::vector<double> values(const at::Tensor& tensor);
    /** Whole numbers as a tensor. */
    at::Tensor array(const int64_t* data, at::IntArrayRef shape) const;
    /** A number as a tensor of the model's dtype. */
    at::Tensor scalar(double value) const;
    /** What an error of torch says, without the C++ backtrace. */
    static std::string reason(const c10::Error& error);
private:
    at::Tensor array(const double* data, at::IntArrayRef shape) const;
    void checkFloating(const at::Tensor& tensor, const std::string& name) const;
    ModelSignature signature;
    TorchOptions options;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_TORCHTENSORS_H_
