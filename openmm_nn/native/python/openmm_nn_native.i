%module openmm_nn_native

%include "factory.i"
%import(module="openmm") "swig/OpenMMSwigHeaders.i"
%include "swig/typemaps.i"
%include <std_string.i>

%{
#include "openmm_nn/Engines.h"
#include "openmm_nn/MultistepLangevinIntegrator.h"
#include "openmm_nn/NeuralForce.h"
#include "openmm_nn/RegionForce.h"
#include "OpenMM.h"
#include "OpenMMAmoeba.h"
#include "OpenMMDrude.h"
#include "openmm/RPMDIntegrator.h"
#include "openmm/RPMDMonteCarloBarostat.h"
#include "PythonRunner.h"

static PyObject* getOpenMMException() {
    static PyObject* type = NULL;
    if (type == NULL) {
        PyObject* module = PyImport_ImportModule("openmm");
        if (module != NULL) {
            type = PyObject_GetAttrString(module, "OpenMMException");
            Py_DECREF(module);
        }
    }
    return type == NULL ? PyExc_Exception : type;
}
%}

%exception {
    try {
        $action
    }
    catch (const std::exception& e) {
        if (!PyErr_Occurred())
            PyErr_SetString(getOpenMMException(), e.what());
        SWIG_fail;
    }
}

/* The bytes of a model. */
%typemap(in) const std::string& model (std::string temp) {
    char* data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize($input, &data, &length) != 0)
        SWIG_fail;
    temp.assign(data, length);
    $1 = &temp;
}
%typemap(freearg) const std::string& model ""
%typemap(typecheck, precedence=SWIG_TYPECHECK_POINTER) const std::string& model {
    $1 = PyBytes_Check($input);
}

%typemap(in, fragment="SWIG_AsVal_int") const std::vector<int>& (std::vector<int> temp) {
    PyObject* sequence = PySequence_Fast($input, "expected a sequence of integers");
    if (sequence == NULL)
        SWIG_fail;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); i++) {
        PyObject* number = PyNumber_Index(PySequence_Fast_GET_ITEM(sequence, i));
        if (number == NULL) {
            Py_DECREF(sequence);
            SWIG_fail;
        }
        temp.push_back((int) PyLong_AsLong(number));
        Py_DECREF(number);
    }
    Py_DECREF(sequence);
    if (PyErr_Occurred())
        SWIG_fail;
    $1 = &temp;
}
%typemap(freearg) const std::vector<int>& ""
%typemap(out) const std::vector<int>& {
    $result = PyTuple_New($1->size());
    for (size_t i = 0; i < $1->size(); i++)
        PyTuple_SET_ITEM($result, i, PyLong_FromLong((*$1)[i]));
}
%typemap(out) std::vector<double> {
    $result = PyTuple_New($1.size());
    for (size_t i = 0; i < $1.size(); i++)
        PyTuple_SET_ITEM($result, i, PyFloat_FromDouble($1[i]));
}
%typemap(in) const std::vector<std::string>& (std::vector<std::string> temp) {
    PyObject* sequence = PySequence_Fast($input, "expected a sequence of strings");
    if (sequence == NULL)
        SWIG_fail;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); i++) {
        const char* text = PyUnicode_AsUTF8(PySequence_Fast_GET_ITEM(sequence, i));
        if (text == NULL) {
            Py_DECREF(sequence);
            SWIG_fail;
        }
        temp.push_back(text);
    }
    Py_DECREF(sequence);
    $1 = &temp;
}
%typemap(freearg) const std::vector<std::string>& ""
%typemap(out) std::map<std::string, long long> {
    $result = PyDict_New();
    for (const auto& item : $1) {
        PyObject* value = PyLong_FromLongLong(item.second);
        PyDict_SetItemString($result, item.first.c_str(), value);
        Py_DECREF(value);
    }
}
%typemap(out) const std::map<std::string, std::string>& {
    $result = PyDict_New();
    for (const auto& item : *$1) {
        PyObject* value = PyUnicode_FromString(item.second.c_str());
        PyDict_SetItemString($result, item.first.c_str(), value);
        Py_DECREF(value);
    }
}

%pythoncode %{
import json as _json


class _CallableAdapter:
    """Turns the bytes that the plugin passes into arrays, and back."""

    _tensors = ("positions", "box", "atomic_numbers", "charge", "multiplicity", "edge_index", "edge_shifts")

    def __init__(self, callable, cardJson):
        self._callable = callable
        self._inputs = tuple(_json.loads(cardJson)["inputs"])
        self._parameters = [name for name in self._inputs if name not in self._tensors]

    def __call__(self, positions, box, numbers, charge, multiplicity, edges, shifts, parameters, forces, derivatives, members):
        import numpy as np

        values = dict(zip(self._parameters, np.frombuffer(parameters).tolist()))
        values["positions"] = np.frombuffer(positions).reshape(-1, 3)
        values["box"] = np.frombuffer(box).reshape(3, 3)
        values["atomic_numbers"] = np.frombuffer(numbers, dtype=np.int64)
        values["charge"], values["multiplicity"] = charge, multiplicity
        values["edge_index"] = np.frombuffer(edges, dtype=np.int64).reshape(2, -1)
        values["edge_shifts"] = np.frombuffer(shifts).reshape(-1, 3)
        names = [self._parameters[i] for i in derivatives]
        inputs = {name: values[name] for name in self._inputs}
        energies, force, gradient = self._callable(inputs, forces, names, members)
        return (
            np.ascontiguousarray(energies, dtype=np.float64).tobytes(),
            None if force is None else np.ascontiguousarray(force, dtype=np.float64).tobytes(),
            np.array([gradient[name] for name in names], dtype=np.float64).tobytes(),
        )
%}

%pythoncode %{
def _in(value, unit):
    return value.value_in_unit(unit) if openmm.unit.is_quantity(value) else value
%}

%typemap(in, fragment="SWIG_AsVal_int") const std::vector<std::pair<int, int> >& (std::vector<std::pair<int, int> > temp) {
    PyObject* sequence = PySequence_Fast($input, "expected a sequence of pairs of integers");
    if (sequence == NULL)
        SWIG_fail;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); i++) {
        int first, second;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(sequence, i), "ii", &first, &second)) {
            Py_DECREF(sequence);
            SWIG_fail;
        }
        temp.push_back({first, second});
    }
    Py_DECREF(sequence);
    $1 = &temp;
}
%typemap(freearg) const std::vector<std::pair<int, int> >& ""

%newobject OpenMMNN::NeuralForce::_fromCallable;

/* Functions that may evaluate the model let other Python threads run; the others are short. */
%nothread;
%thread OpenMMNN::NeuralForce::updateModelInContext;
%thread OpenMMNN::NeuralForce::getMemberEnergies;
%thread OpenMMNN::NeuralForce::getForceStd;
%thread OpenMMNN::MultistepLangevinIntegrator::step;

namespace OpenMMNN {

%feature("autodoc", "0");
%feature("docstring") Engines "The engines of this installation, one for each minor version of torch.";
%nodefaultctor Engines;
class Engines {
public:
    static void choose(const std::string& torch);
    static std::string getDirectory();
};

%feature("docstring") NeuralForce "A force whose energy is that of a neural potential.  Made by Potential.create_force().";
%feature("docstring") NeuralForce::trustHash "Trust a compiled model by the SHA-256 of its bytes, for this process.";
%feature("docstring") NeuralForce::isTrusted "Whether the compiled model with this SHA-256 is trusted.";
%feature("docstring") NeuralForce::getMemberEnergies "The energy of every committee member at the positions of a Context [kJ/mol].";
%feature("docstring") NeuralForce::getForceStd "The standard deviation of the members' forces on every atom that the model sees [kJ/mol/nm].";
%feature("docstring") NeuralForce::getStatistics "Counts since the Context was made: evaluations, warmup_evaluations, early_evaluations (started at the beginning of a step), atoms, edges, bytes, and nanoseconds from the gathered positions to the forces.";
%feature("docstring") NeuralForce::updateModelInContext "Hand the current model of this force to a Context that was made with an earlier one.";

class NeuralForce : public OpenMM::Force {
public:
    static void trustHash(const std::string& hash);
    static bool isTrusted(const std::string& hash);
    NeuralForce(const std::string& model, const std::string& card);
    const std::string& getCard() const;
    const std::string& getModelHash() const;
    %rename(_setModel) setModel;
    void setModel(const std::string& model, const std::string& card);
    double getEnergyOffset() const;
    void setEnergyOffset(double offset);
    const std::vector<int>& getParticles() const;
    void setParticles(const std::vector<int>& particles);
    const std::vector<int>& getAtomicNumbers() const;
    void setAtomicNumbers(const std::vector<int>& atomicNumbers);
    int getNumLinks() const;
    int getNumBonds() const;
    int addBond(int particle1, int particle2);
    int getCharge() const;
    void setCharge(int charge);
    int getMultiplicity() const;
    void setMultiplicity(int multiplicity);
    bool usesPeriodicBoundaryConditions() const;
    void setUsesPeriodicBoundaryConditions(bool periodic);
    int getNumGlobalParameters() const;
    int addGlobalParameter(const std::string& name, double defaultValue);
    const std::string& getGlobalParameterName(int index) const;
    double getGlobalParameterDefaultValue(int index) const;
    void setGlobalParameterDefaultValue(int index, double defaultValue);
    void addEnergyParameterDerivative(const std::string& name);
    int getNumEnergyParameterDerivatives() const;
    const std::string& getEnergyParameterDerivativeName(int index) const;
    void setScaleParameter(const std::string& name, double defaultValue);
    const std::string& getScaleParameter() const;
    double getScaleParameterDefaultValue() const;
    void setProperty(const std::string& name, const std::string& value);
    const std::map<std::string, std::string>& getProperties() const;
    void updateModelInContext(OpenMM::Context& context);
    std::vector<double> getMemberEnergies(OpenMM::Context& context) const;
    std::vector<double> getForceStd(OpenMM::Context& context) const;
    std::map<std::string, long long> getStatistics(OpenMM::Context& context) const;

    %extend {
        PyObject* getModel() const {
            return PyBytes_FromStringAndSize($self->getModel().data(), $self->getModel().size());
        }
        void setSignature(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs, const std::string& dtype,
                double lengthFactor, double energyFactor, double cutoff, bool invariant, int committeeSize, bool longRange) {
            OpenMMNN::ModelSignature signature;
            signature.inputs = inputs;
            signature.outputs = outputs;
            signature.dtype = dtype;
            signature.lengthFactor = lengthFactor;
            signature.energyFactor = energyFactor;
            signature.cutoff = cutoff;
            signature.invariant = invariant;
            signature.committeeSize = committeeSize;
            signature.longRange = longRange;
            $self->setSignature(signature);
        }
        int addLink(int inside, int outside, const std::string& rule, double value) {
            if (rule != "fixed" && rule != "ratio")
                throw OpenMM::OpenMMException("addLink: rule is '"+rule+"'; allowed are fixed and ratio");
            return $self->addLink(inside, outside, rule == "fixed" ? OpenMMNN::NeuralForce::Fixed : OpenMMNN::NeuralForce::Ratio, value);
        }
        PyObject* getLinkParameters(int index) const {
            int inside, outside;
            OpenMMNN::NeuralForce::LinkRule rule;
            double value;
            $self->getLinkParameters(index, inside, outside, rule, value);
            return Py_BuildValue("(iisd)", inside, outside, rule == OpenMMNN::NeuralForce::Fixed ? "fixed" : "ratio", value);
        }
        PyObject* getBondParameters(int index) const {
            int particle1, particle2;
            $self->getBondParameters(index, particle1, particle2);
            return Py_BuildValue("(ii)", particle1, particle2);
        }
        bool isCallable() const {
            return (bool) $self->getRunner();
        }
        static OpenMMNN::NeuralForce* _fromCallable(PyObject* callable, const std::string& card) {
            return new OpenMMNN::NeuralForce(std::make_shared<OpenMMNN::PythonRunner>(callable), card);
        }
        static OpenMMNN::NeuralForce& cast(OpenMM::Force& force) {
            return dynamic_cast<OpenMMNN::NeuralForce&>(force);
        }
        static bool isinstance(OpenMM::Force& force) {
            return dynamic_cast<OpenMMNN::NeuralForce*>(&force) != NULL;
        }
    }
    %pythoncode %{
        @staticmethod
        def fromCallable(callable, cardJson):
            """A force that evaluates a Python callable, see openmm_nn.engine.module_runner.ModuleRunner for its form."""
            return NeuralForce._fromCallable(_CallableAdapter(callable, cardJson), cardJson)

        def setModel(self, model, card):
            """Replace the model and what its card says.  Contexts that exist keep the old one until updateModelInContext()."""
            from openmm_nn.engine.force import replace_model

            replace_model(self, model, card)
    %}
};

%feature("docstring") RegionForce "The classical nonbonded energy of a region's own pairs, times a scale (offset + slope p).

RegionForce(force, particles) takes the parameters of the particles from a NonbondedForce. With an Ewald method it can hold
the region's interaction with its own periodic images too, or instead (setIncludesImages, setIncludesPairs).";
%feature("docstring") RegionForce::zeroPairs "Make every pair of some particles an exception of zero in a NonbondedForce; returns the number of pairs.";

class RegionForce : public OpenMM::Force {
public:
    RegionForce(const OpenMM::NonbondedForce& force, const std::vector<int>& particles);
    int getNumParticles() const;
    int getNumExceptions() const;
    void setExceptionsUsePeriodicBoundaryConditions(bool periodic);
    bool getExceptionsUsePeriodicBoundaryConditions() const;
    void setIncludesPairs(bool include);
    bool getIncludesPairs() const;
    void setIncludesImages(bool include);
    bool getIncludesImages() const;
    void setScale(double offset, double slope);
    void setScaleParameter(const std::string& name, double defaultValue);
    const std::string& getScaleParameter() const;
    void setHasScaleDerivative(bool derivative);
    bool getHasScaleDerivative() const;
    bool usesPeriodicBoundaryConditions() const;
    static int zeroPairs(OpenMM::NonbondedForce& force, const std::vector<int>& particles);

    %extend {
        PyObject* getScale() const {
            double offset, slope;
            $self->getScale(offset, slope);
            return Py_BuildValue("(dd)", offset, slope);
        }
        static OpenMMNN::RegionForce& cast(OpenMM::Force& force) {
            return dynamic_cast<OpenMMNN::RegionForce&>(force);
        }
        static bool isinstance(OpenMM::Force& force) {
            return dynamic_cast<OpenMMNN::RegionForce*>(&force) != NULL;
        }
    }
};

%feature("docstring") MultistepLangevinIntegrator "Langevin dynamics in which each force group acts at a step of its own.

MultistepLangevinIntegrator(temperature, friction, stepSize, groups) in K, 1/ps and ps; groups are pairs of a force group and how
often it is evaluated in a step, as of openmm.MTSLangevinIntegrator.";

class MultistepLangevinIntegrator : public OpenMM::Integrator {
public:
    MultistepLangevinIntegrator(double temperature, double friction, double stepSize, const std::vector<std::pair<int, int> >& groups);
    int getRandomNumberSeed() const;
    void setRandomNumberSeed(int seed);
    void step(int steps);
    %extend {
        double _getTemperature() const {
            return $self->getTemperature();
        }
        void _setTemperature(double temperature) {
            $self->setTemperature(temperature);
        }
        double _getFriction() const {
            return $self->getFriction();
        }
        void _setFriction(double friction) {
            $self->setFriction(friction);
        }
        PyObject* getGroups() const {
            PyObject* groups = PyTuple_New($self->getGroups().size());
            for (size_t i = 0; i < $self->getGroups().size(); i++)
                PyTuple_SET_ITEM(groups, i, Py_BuildValue("(ii)", $self->getGroups()[i].first, $self->getGroups()[i].second));
            return groups;
        }
    }
    %pythoncode %{
        def getTemperature(self):
            """Quantity."""
            return self._getTemperature() * openmm.unit.kelvin

        def setTemperature(self, temperature):
            """Quantity, or K."""
            self._setTemperature(_in(temperature, openmm.unit.kelvin))

        def getFriction(self):
            """Quantity."""
            return self._getFriction() / openmm.unit.picosecond

        def setFriction(self, friction):
            """Quantity, or 1/ps."""
            self._setFriction(_in(friction, openmm.unit.picosecond**-1))
    %}
};

} // namespace OpenMMNN
