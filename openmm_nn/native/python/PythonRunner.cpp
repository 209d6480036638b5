#include "PythonRunner.h"
#include "openmm/OpenMMException.h"
#include <cstring>
#include <string>

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::vector;

namespace {

/** Holds the interpreter's lock. */
class InterpreterLock {
public:
    InterpreterLock() : state(PyGILState_Ensure()) {
    }
    ~InterpreterLock() {
        PyGILState_Release(state);
    }
private:
    PyGILState_STATE state;
};

/** Owns a reference. */
class Reference {
public:
    explicit Reference(PyObject* object) : object(object) {
    }
    ~Reference() {
        Py_XDECREF(object);
    }
    Reference(const Reference&) = delete;
    Reference& operator=(const Reference&) = delete;
    PyObject* get() const {
        return object;
    }
private:
    PyObject* object;
};

/** Turn the exception that Python has raised into a C++ one. */
[[noreturn]] void throwPythonError() {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Reference ownedType(type), ownedValue(value), ownedTraceback(traceback);
    Reference text(value == NULL ? NULL : PyObject_Str(value));
    const char* message = (text.get() == NULL ? NULL : PyUnicode_AsUTF8(text.get()));
    string name = (type == NULL ? "error" : ((PyTypeObject*) type)->tp_name);
    PyErr_Clear();
    throw OpenMMException("NeuralForce: the Python callable failed with "+name+": "+(message == NULL ? "" : message));
}

template <class T>
PyObject* toBytes(const vector<T>& values) {
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(values.data()), values.size()*sizeof(T));
}

void fromBytes(PyObject* object, vector<double>& values) {
    values.clear();
    if (object == Py_None)
        return;
    char* data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(object, &data, &length) != 0)
        throwPythonError();
    values.resize(length/sizeof(double));
    memcpy(values.data(), data, values.size()*sizeof(double));
}

} // namespace

PythonRunner::PythonRunner(PyObject* callable) : callable(callable) {
    InterpreterLock lock;
    if (!PyCallable_Check(callable))
        throw OpenMMException("NeuralForce: the potential is not callable");
    Py_INCREF(callable);
}

PythonRunner::~PythonRunner() {
    if (Py_IsInitialized()) {
        InterpreterLock lock;
        Py_DECREF(callable);
    }
}

void PythonRunner::run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) {
    InterpreterLock lock;
    Reference derivatives(PyTuple_New(request.derivatives.size()));
    for (size_t i = 0; i < request.derivatives.size(); i++)
        PyTuple_SET_ITEM(derivatives.get(), i, PyLong_FromLong(request.derivatives[i]));
    vector<double> box(inputs.box, inputs.box+9);
    // "N" hands the new references over.
    Reference arguments(Py_BuildValue("(NNNLLNNNOOO)", toBytes(inputs.positions), toBytes(box), toBytes(inputs.atomicNumbers),
            (long long) inputs.charge, (long long) inputs.multiplicity, toBytes(inputs.edgeIndex), toBytes(inputs.edgeShifts), toBytes(inputs.parameters),
            request.forces ? Py_True : Py_False, derivatives.get(), request.memberForces ? Py_True : Py_False));
    if (arguments.get() == NULL)
        throwPythonError();
    Reference result(PyObject_CallObject(callable, arguments.get()));
    if (result.get() == NULL)
        throwPythonError();
    PyObject *energies, *forces, *gradients;
    if (!PyTuple_Check(result.get()) || !PyArg_ParseTuple(result.get(), "OOO", &energies, &forces, &gradients))
        throwPythonError();
    fromBytes(energies, outputs.energies);
    fromBytes(forces, outputs.forces);
    fromBytes(gradients, outputs.derivatives);
}

void PythonRunner::checkCopy() const {
    // Copying within the process is fine; text that may end up in a file is not.  OpenMM does both through the same
    // proxy, so what tells them apart is who called.
    InterpreterLock lock;
    PyFrameObject* frame = PyEval_GetFrame();
    if (frame == NULL)
        return;
    Reference code((PyObject*) PyFrame_GetCode(frame));
    Reference name(PyObject_GetAttrString(code.get(), "co_name"));
    const char* function = (name.get() == NULL ? NULL : PyUnicode_AsUTF8(name.get()));
    if (function != NULL && (strcmp(function, "serializeSystem") == 0 || strcmp(function, "_serializeForce") == 0))
        throw OpenMMException("NeuralForce: its potential is a Python callable, which cannot be written to XML. "
                "Write the potential to a file with export_potential(), and make the force from that file");
}
