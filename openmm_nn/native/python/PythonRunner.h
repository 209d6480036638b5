#ifndef OPENMM_NN_PYTHONRUNNER_H_
#define OPENMM_NN_PYTHONRUNNER_H_

#include <Python.h>
#include "openmm_nn/ModelRunner.h"

namespace OpenMMNN {

/**
 * Evaluates a Python callable of the form
 *
 *     callable(inputs: dict, forces: bool, derivatives: list[int], members: bool) -> (energies, forces, derivatives)
 *
 * where arrays come and go as bytes-like objects of float64 or int64 numbers in row-major order.
 */
class PythonRunner : public ModelRunner {
public:
    explicit PythonRunner(PyObject* callable);
    ~PythonRunner();
    PythonRunner(const PythonRunner&) = delete;
    PythonRunner& operator=(const PythonRunner&) = delete;
    void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) override;
    /** The thread that waits for a callable may be the one that holds the interpreter. */
    bool canRunOnAnyThread() const override {
        return false;
    }
    void checkCopy() const override;
private:
    PyObject* callable;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_PYTHONRUNNER_H_
