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
#include <climits>

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

%{
/**
 * Read an integer of any kind that Python and NumPy have.  A truth value is none: a mask given for indices would be
 * read as 0 and 1.
 */
static bool readInteger(PyObject* object, int& value, const char* function) {
    if (PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: got a truth value; allowed: integers. To fix: give indices in place of a mask, numpy.flatnonzero(mask) for example.", function);
        return false;
    }
    PyObject* number = PyNumber_Index(object);
    if (number == NULL) {
        PyErr_Format(PyExc_TypeError, "%s: got %R; allowed: integers. To fix: convert it with int().", function, object);
        return false;
    }
    int overflow = 0;
    const long long wide = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow != 0 || wide < INT_MIN || wide > INT_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s: got %S; allowed: integers from %d to %d. To fix: correct the number.", function, number, INT_MIN, INT_MAX);
        Py_DECREF(number);
        return false;
    }
    Py_DECREF(number);
    value = (int) wide;
    return true;
}

/** Read a sequence whose items are read by a function. */
template <class Reader>
static bool readSequence(PyObject* object, const char* function, const char* expected, Reader read) {
    PyObject* sequence = PySequence_Fast(object, "");
    if (sequence == NULL) {
        PyErr_Format(PyExc_TypeError, "%s: got %R; allowed: %s. To fix: give a list.", function, object, expected);
        return false;
    }
    bool good = true;
    for (Py_ssize_t i = 0; good && i < PySequence_Fast_GET_SIZE(sequence); i++)
        good = read(PySequence_Fast_GET_ITEM(sequence, i));
    Py_DECREF(sequence);
    return good;
}
%}

%typemap(in) int {
    if (!readInteger($input, $1, "$symname"))
        SWIG_fail;
}
%typemap(in) const std::vector<int>& (std::vector<int> temp) {
    if (!readSequence($input, "$symname", "a sequence of integers", [&](PyObject* item) {
            temp.push_back(0);
            return readInteger(item, temp.back(), "$symname");
        }))
        SWIG_fail;
    $1 = &temp;
}
%typemap(freearg) const std::vector<int>& ""
%typemap(out) const std::vector<int>& {
    $result = PyTuple_New($1->size());
    for (size_t i = 0; i < $1->size(); i++)
        PyTuple_SET_ITEM($result, i, PyLong_FromLong((*$1)[i]));
}
%typemap(out) std::vector<int> {
    $result = PyTuple_New($1.size());
    for (size_t i = 0; i < $1.size(); i++)
        PyTuple_SET_ITEM($result, i, PyLong_FromLong($1[i]));
}
%typemap(out) std::vector<double> {
    $result = PyTuple_New($1.size());
    for (size_t i = 0; i < $1.size(); i++)
        PyTuple_SET_ITEM($result, i, PyFloat_FromDouble($1[i]));
}
%typemap(in) const std::vector<std::string>& (std::vector<std::string> temp) {
    if (!readSequence($input, "$symname", "a sequence of strings", [&](PyObject* item) {
            const char* text = PyUnicode_AsUTF8(item);
            if (text != NULL)
                temp.push_back(text);
            return text != NULL;
        }))
        SWIG_fail;
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
    """A number in a unit: a Quantity is converted, and one of another dimension is a TypeError."""
    return value.value_in_unit(unit) if openmm.unit.is_quantity(value) else value
%}

%typemap(in) const std::vector<std::pair<int, int> >& (std::vector<std::pair<int, int> > temp) {
    if (!readSequence($input, "$symname", "a sequence of pairs of integers", [&](PyObject* item) {
            std::vector<int> pair;
            if (!readSequence(item, "$symname", "a sequence of pairs of integers, [(0, 1), (1, 4)] for example", [&](PyObject* member) {
                    pair.push_back(0);
                    return readInteger(member, pair.back(), "$symname");
                }))
                return false;
            if (pair.size() != 2) {
                PyErr_Format(PyExc_ValueError, "$symname: got an item of %zd integers; allowed: pairs of integers. To fix: give [(0, 1), (1, 4)] for example.", (Py_ssize_t) pair.size());
                return false;
            }
            temp.push_back({pair[0], pair[1]});
            return true;
        }))
        SWIG_fail;
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

%feature("docstring") NeuralForce %{
A force whose energy is that of a neural potential.

E = s (u E_model(x) + E_0), in kJ/mol: u converts the model's energy unit, E_0 is the energy offset (the reference energies of
the atoms), and s is the scale parameter of the Context, or 1 if there is none.  Forces are -dE/dx, or what the model returns as
forces.  The model sees the particles in the order given, then one hydrogen for each link.

Made by Potential.create_force(), add_neural_force(), create_system() or create_hybrid_system().  A force that is in a System
comes back from System.getForces() as a NeuralForce.

Examples
--------
>>> import openmm
>>> from openmm_nn import load_potential
>>> potential = load_potential(lambda positions: (positions**2).sum())
>>> system = openmm.System()
>>> for index in range(3):
...     particle = system.addParticle(1.0)
>>> number = system.addForce(potential.create_force(region=[0, 2]))
>>> force = system.getForce(0)
>>> type(force).__name__, force.getParticles()
('NeuralForce', (0, 2))
%}
%feature("docstring") NeuralForce::NeuralForce "Make a force from the bytes of an exported model and its card as JSON.  Potential.create_force() does it with all checks.";
%feature("docstring") NeuralForce::trustHash "Trust a compiled model by the SHA-256 of its bytes, in hexadecimal, for this process.";
%feature("docstring") NeuralForce::isTrusted "Whether the compiled model with this SHA-256 is trusted.";
%feature("docstring") NeuralForce::getModel "The bytes of the model; empty if it is a Python callable.";
%feature("docstring") NeuralForce::getCard "The card of the model, as JSON.";
%feature("docstring") NeuralForce::getModelHash "The SHA-256 of the model's bytes, in hexadecimal; empty if it is a Python callable.";
%feature("docstring") NeuralForce::isCallable "Whether the model is a Python callable, which exists in this process only.";
%feature("docstring") NeuralForce::setSignature "Say how the engine calls the model, from its card: inputs and outputs by name, dtype, nm per length unit, kJ/mol per energy unit, cutoff in nm, whether the energy is independent of where the origin is, and the number of committee members.";
%feature("docstring") NeuralForce::getEnergyOffset "The constant E_0 that is added to the energy, in kJ/mol.";
%feature("docstring") NeuralForce::setEnergyOffset "Set the constant E_0 that is added to the energy: a Quantity, or kJ/mol.";
%feature("docstring") NeuralForce::getParticles "The indices of the particles that the model sees, in its order.  Empty means all particles of the System.";
%feature("docstring") NeuralForce::setParticles "Set the particles that the model sees, in its order, by their indices in the System.  An empty list means all.";
%feature("docstring") NeuralForce::getAtomicNumbers "The atomic numbers of the particles, in the same order.";
%feature("docstring") NeuralForce::setAtomicNumbers "Set the atomic numbers of the particles, in the same order.";
%feature("docstring") NeuralForce::getNumLinks "The number of link atoms.";
%feature("docstring") NeuralForce::addLink %{
Cap a cut bond with a hydrogen that exists inside this force only; return the index of the link.

Parameters
----------
inside : int
    The particle of the region.
outside : int
    The particle of the environment to which it is bonded.
rule : str
    ``"fixed"``: at a fixed distance from `inside`; ``"ratio"``: at a fixed fraction of the bond.
value : float or Quantity
    The distance (a Quantity, or nm), or the fraction between 0 and 1.
%}
%feature("docstring") NeuralForce::getLinkParameters "The inside particle, the outside particle, the rule ('fixed' or 'ratio') and the value (nm, or a fraction) of a link.";
%feature("docstring") NeuralForce::getNumBonds "The number of bonds.";
%feature("docstring") NeuralForce::addBond "Add a bond between two particles of the System; return its index.  Bonds define molecules, and how a region is made whole.";
%feature("docstring") NeuralForce::getBondParameters "The two particles of a bond.";
%feature("docstring") NeuralForce::getCharge "The total charge that the model is told, in e.";
%feature("docstring") NeuralForce::setCharge "Set the total charge that the model is told, a whole number of e.";
%feature("docstring") NeuralForce::getMultiplicity "The spin multiplicity that the model is told.";
%feature("docstring") NeuralForce::setMultiplicity "Set the spin multiplicity that the model is told.";
%feature("docstring") NeuralForce::usesPeriodicBoundaryConditions "Whether the model is given the periodic box.";
%feature("docstring") NeuralForce::setUsesPeriodicBoundaryConditions "Say whether the model is given the periodic box.";
%feature("docstring") NeuralForce::getNumGlobalParameters "The number of parameters of the Context that this force has: those that the model takes, then the scale parameter if there is one.";
%feature("docstring") NeuralForce::addGlobalParameter "Add a parameter of the Context that the model takes, with its default; return its index.";
%feature("docstring") NeuralForce::getGlobalParameterName "The name of a parameter of the Context.";
%feature("docstring") NeuralForce::getGlobalParameterDefaultValue "The default of a parameter of the Context.";
%feature("docstring") NeuralForce::setGlobalParameterDefaultValue "Set the default of a parameter of the Context.  Contexts that exist keep their value: they have setParameter().";
%feature("docstring") NeuralForce::addEnergyParameterDerivative "Ask for dE/dp of a parameter, which State.getEnergyParameterDerivatives() then has.";
%feature("docstring") NeuralForce::getNumEnergyParameterDerivatives "The number of parameters by which the energy is differentiated.";
%feature("docstring") NeuralForce::getEnergyParameterDerivativeName "The name of a parameter by which the energy is differentiated.";
%feature("docstring") NeuralForce::setScaleParameter "Multiply the energy by a parameter of the Context with this name and default; an empty name for none.";
%feature("docstring") NeuralForce::getScaleParameter "The name of the parameter that multiplies the energy; empty if there is none.";
%feature("docstring") NeuralForce::getScaleParameterDefaultValue "The default of the scale parameter.";
%feature("docstring") NeuralForce::setScaleRange "Refuse values of the scale parameter outside minimum to maximum, as a default and when the energy is evaluated.  A hybrid made with interpolate allows 0 to 1; to extrapolate, widen the range of every force that has the parameter.";
%feature("docstring") NeuralForce::getScaleRange "The smallest and the largest value of the scale parameter.";
%feature("docstring") NeuralForce::setProperty %{
Set how the model is run.

Parameters
----------
name, value : str
    ``device``: ``"cpu"``, ``"cuda:0"``; ``precision``: ``"model"``, ``"single"``, ``"double"``; ``threads``: a whole number, 0
    leaves torch its own; ``concurrent`` and ``cuda_graphs``: ``"true"`` or ``"false"``; ``geometry``: ``"host"`` or ``"device"``.
    See `openmm_nn.Potential.create_force`.
%}
%feature("docstring") NeuralForce::getProperties "The properties that have been set, by name.";
%feature("docstring") NeuralForce::updateModelInContext "Hand the current model of this force to a Context that was made with an earlier one.";
%feature("docstring") NeuralForce::getMemberEnergies "The energy of every committee member at the positions of a Context, in kJ/mol, with offset and scale.";
%feature("docstring") NeuralForce::getForceStd "The sample standard deviation of the members' forces at the positions of a Context, for every atom that the model sees, in kJ/mol/nm: the square root of the sum over x, y and z of the variances.";
%feature("docstring") NeuralForce::getStatistics "Counts since the Context was made: evaluations, warmup_evaluations, early_evaluations (started at the beginning of a step), atoms, edges, bytes, and nanoseconds from the gathered positions to the forces.";
%feature("docstring") NeuralForce::cast "The NeuralForce that a force is.  System.getForces() gives it already.";
%feature("docstring") NeuralForce::isinstance "Whether a force is a NeuralForce.  isinstance(force, NeuralForce) says the same.";

%pythonprepend NeuralForce::setEnergyOffset %{
    offset = _in(offset, openmm.unit.kilojoule_per_mole)
%}
%pythonprepend NeuralForce::addLink %{
    value = _in(value, openmm.unit.dimensionless if rule == "ratio" else openmm.unit.nanometer)
%}

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
    void setScaleRange(double minimum, double maximum);
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
                throw OpenMM::OpenMMException("addLink: got the rule '"+rule+"'; allowed: fixed and ratio. To fix: correct the rule.");
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
        PyObject* getScaleRange() const {
            double minimum, maximum;
            $self->getScaleRange(minimum, maximum);
            return Py_BuildValue("(dd)", minimum, maximum);
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

%feature("docstring") RegionForce %{
The classical nonbonded energy of a region's own pairs, times a scale.

E = (offset + slope p) E_MM(R), in kJ/mol, with p a parameter of the Context: exactly what leaves a System's energy when every
pair of the region becomes an exception of zero in its NonbondedForce.  Pairs are not stored.  With an Ewald method it can hold
the region's interaction with its own periodic images too, or instead (setIncludesImages, setIncludesPairs).  A hybrid made with
``interpolate`` adds (1 - lambda) E_MM(R) by it, and large regions have E_MM(R) subtracted by it.

Parameters
----------
force : openmm.NonbondedForce
    Whose parameters, method, cutoff and exceptions are taken.
particles : sequence of int
    The region.

Examples
--------
Two opposite charges at 1 nm:

>>> import openmm
>>> from openmm_nn.native import RegionForce
>>> nonbonded, system = openmm.NonbondedForce(), openmm.System()
>>> for charge in (1.0, -1.0):
...     indices = nonbonded.addParticle(charge, 0.3, 0.0), system.addParticle(1.0)
>>> number = system.addForce(RegionForce(nonbonded, [0, 1]))
>>> context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
>>> context.setPositions([[0, 0, 0], [1, 0, 0]])
>>> print(context.getState(energy=True).getPotentialEnergy().format("%.3f"))
-138.935 kJ/mol
%}
%feature("docstring") RegionForce::setParametersFrom "Take the parameters of the particles, and the exceptions between them, anew from a NonbondedForce.  Contexts that exist keep the old ones until updateParametersInContext().";
%feature("docstring") RegionForce::updateParametersInContext "Hand the present parameters of particles and exceptions to a Context that was made with earlier ones.";
%feature("docstring") RegionForce::zeroPairs "Make every pair of some particles an exception of zero in a NonbondedForce; return the number of pairs.";
%feature("docstring") RegionForce::getNumParticles "The number of particles of the region.";
%feature("docstring") RegionForce::getParticles "The indices of the region's particles in the System.";
%feature("docstring") RegionForce::getParticleParameters "The index in the System, charge (e), sigma (nm) and epsilon (kJ/mol) of a particle of the region.";
%feature("docstring") RegionForce::getNumExceptions "The number of pairs of the region with parameters of their own.";
%feature("docstring") RegionForce::getExceptionParameters "The two particles, charge product (e^2), sigma (nm) and epsilon (kJ/mol) of a pair with parameters of its own.";
%feature("docstring") RegionForce::getNonbondedMethod "The method, by the numbers of openmm.NonbondedForce.";
%feature("docstring") RegionForce::getCutoffDistance "The cutoff, in nm.";
%feature("docstring") RegionForce::getExceptionsUsePeriodicBoundaryConditions "Whether exceptions are taken at minimum image.";
%feature("docstring") RegionForce::setExceptionsUsePeriodicBoundaryConditions "Say whether exceptions are taken at minimum image.";
%feature("docstring") RegionForce::getIncludesPairs "Whether the energy holds the region's pairs.";
%feature("docstring") RegionForce::setIncludesPairs "Say whether the energy holds the region's pairs.";
%feature("docstring") RegionForce::getIncludesImages "Whether the energy holds the region's interaction with its periodic images.";
%feature("docstring") RegionForce::setIncludesImages "Say whether the energy holds the region's interaction with its periodic images; without an Ewald method there is none.";
%feature("docstring") RegionForce::getScale "The offset and the slope of the scale.";
%feature("docstring") RegionForce::setScale "Set the scale, offset + slope p.";
%feature("docstring") RegionForce::getScaleParameter "The name of the parameter p of the Context; empty if there is none.";
%feature("docstring") RegionForce::setScaleParameter "Name the parameter p of the Context and give its default; an empty name for none.";
%feature("docstring") RegionForce::getScaleParameterDefaultValue "The default of the parameter p.";
%feature("docstring") RegionForce::getScaleRange "The smallest and the largest value of the parameter p.";
%feature("docstring") RegionForce::setScaleRange "Refuse values of the parameter p outside minimum to maximum, as a default and when the energy is evaluated.";
%feature("docstring") RegionForce::getNumGlobalParameters "The number of parameters of the Context that this force has: the scale parameter, or none.";
%feature("docstring") RegionForce::getGlobalParameterName "The name of a parameter of the Context.";
%feature("docstring") RegionForce::getGlobalParameterDefaultValue "The default of a parameter of the Context.";
%feature("docstring") RegionForce::setGlobalParameterDefaultValue "Set the default of a parameter of the Context.  Contexts that exist keep their value: they have setParameter().";
%feature("docstring") RegionForce::addEnergyParameterDerivative "Ask for dE/dp, which State.getEnergyParameterDerivatives() then has.";
%feature("docstring") RegionForce::getNumEnergyParameterDerivatives "The number of parameters by which the energy is differentiated.";
%feature("docstring") RegionForce::getEnergyParameterDerivativeName "The name of a parameter by which the energy is differentiated.";
%feature("docstring") RegionForce::getHasScaleDerivative "Whether State.getEnergyParameterDerivatives() has dE/dp.";
%feature("docstring") RegionForce::setHasScaleDerivative "Say whether State.getEnergyParameterDerivatives() has dE/dp.";
%feature("docstring") RegionForce::usesPeriodicBoundaryConditions "Whether the nonbonded method is periodic.";
%feature("docstring") RegionForce::cast "The RegionForce that a force is.  System.getForces() gives it already.";
%feature("docstring") RegionForce::isinstance "Whether a force is a RegionForce.  isinstance(force, RegionForce) says the same.";

class RegionForce : public OpenMM::Force {
public:
    RegionForce(const OpenMM::NonbondedForce& force, const std::vector<int>& particles);
    int getNumParticles() const;
    std::vector<int> getParticles() const;
    int getNumExceptions() const;
    double getCutoffDistance() const;
    void setExceptionsUsePeriodicBoundaryConditions(bool periodic);
    bool getExceptionsUsePeriodicBoundaryConditions() const;
    void setIncludesPairs(bool include);
    bool getIncludesPairs() const;
    void setIncludesImages(bool include);
    bool getIncludesImages() const;
    void setScale(double offset, double slope);
    void setScaleParameter(const std::string& name, double defaultValue);
    const std::string& getScaleParameter() const;
    double getScaleParameterDefaultValue() const;
    void setScaleRange(double minimum, double maximum);
    int getNumGlobalParameters() const;
    const std::string& getGlobalParameterName(int index) const;
    double getGlobalParameterDefaultValue(int index) const;
    void setGlobalParameterDefaultValue(int index, double defaultValue);
    void addEnergyParameterDerivative(const std::string& name);
    int getNumEnergyParameterDerivatives() const;
    const std::string& getEnergyParameterDerivativeName(int index) const;
    void setHasScaleDerivative(bool derivative);
    bool getHasScaleDerivative() const;
    bool usesPeriodicBoundaryConditions() const;
    void setParametersFrom(const OpenMM::NonbondedForce& force);
    void updateParametersInContext(OpenMM::Context& context);
    static int zeroPairs(OpenMM::NonbondedForce& force, const std::vector<int>& particles);

    %extend {
        int getNonbondedMethod() const {
            return (int) $self->getNonbondedMethod();
        }
        PyObject* getParticleParameters(int index) const {
            int particle;
            double charge, sigma, epsilon;
            $self->getParticleParameters(index, particle, charge, sigma, epsilon);
            return Py_BuildValue("(iddd)", particle, charge, sigma, epsilon);
        }
        PyObject* getExceptionParameters(int index) const {
            int particle1, particle2;
            double chargeProd, sigma, epsilon;
            $self->getExceptionParameters(index, particle1, particle2, chargeProd, sigma, epsilon);
            return Py_BuildValue("(iiddd)", particle1, particle2, chargeProd, sigma, epsilon);
        }
        PyObject* getScale() const {
            double offset, slope;
            $self->getScale(offset, slope);
            return Py_BuildValue("(dd)", offset, slope);
        }
        PyObject* getScaleRange() const {
            double minimum, maximum;
            $self->getScaleRange(minimum, maximum);
            return Py_BuildValue("(dd)", minimum, maximum);
        }
        static OpenMMNN::RegionForce& cast(OpenMM::Force& force) {
            return dynamic_cast<OpenMMNN::RegionForce&>(force);
        }
        static bool isinstance(OpenMM::Force& force) {
            return dynamic_cast<OpenMMNN::RegionForce*>(&force) != NULL;
        }
    }
};

%feature("docstring") MultistepLangevinIntegrator %{
Langevin dynamics in which each force group acts at a step of its own.

Reversible RESPA (Tuckerman, Berne and Martyna, J. Chem. Phys. 97, 1990 (1992), https://doi.org/10.1063/1.463137).  The innermost
steps are those of openmm.LangevinMiddleIntegrator, by that platform's own kernel; a group that is evaluated every n of them acts
as impulses F n dt between them, half of one at either end of a step.  With every group evaluated in every step this is
LangevinMiddleIntegrator.  Made by `openmm_nn.dynamics.multistep_integrator`.

Parameters
----------
temperature : float or Quantity
    A Quantity, or K.
friction : float or Quantity
    A Quantity, or 1/ps.
stepSize : float or Quantity
    Of the slowest group: a Quantity, or ps.
groups : sequence of (int, int)
    A force group and how often it is evaluated in a step, as of openmm.MTSLangevinIntegrator.  Each number divides the next
    larger one.  Forces of other groups do not act.

Examples
--------
Group 0 every 2 fs, group 1 every 1 fs:

>>> from openmm import unit
>>> from openmm_nn.native import MultistepLangevinIntegrator
>>> integrator = MultistepLangevinIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 2 * unit.femtosecond, [(0, 1), (1, 2)])
>>> integrator.getGroups()
((0, 1), (1, 2))
>>> print(integrator.getTemperature())
300.0 K
%}
%feature("docstring") MultistepLangevinIntegrator::getRandomNumberSeed "The seed of the random forces; 0 stands for another in every Context.";
%feature("docstring") MultistepLangevinIntegrator::setRandomNumberSeed "Set the seed of the random forces; 0 stands for another in every Context.";
%feature("docstring") MultistepLangevinIntegrator::step "Advance by a number of steps of the slowest group.";
%feature("docstring") MultistepLangevinIntegrator::getGroups "The force groups, each with how often it is evaluated in a step.";
%feature("docstring") MultistepLangevinIntegrator::cast "The MultistepLangevinIntegrator that an integrator is.";
%feature("docstring") MultistepLangevinIntegrator::isinstance "Whether an integrator is a MultistepLangevinIntegrator.";

%pythonprepend MultistepLangevinIntegrator::MultistepLangevinIntegrator %{
    temperature = _in(temperature, openmm.unit.kelvin)
    friction = _in(friction, openmm.unit.picosecond**-1)
    stepSize = _in(stepSize, openmm.unit.picosecond)
%}

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
        static OpenMMNN::MultistepLangevinIntegrator& cast(OpenMM::Integrator& integrator) {
            return dynamic_cast<OpenMMNN::MultistepLangevinIntegrator&>(integrator);
        }
        static bool isinstance(OpenMM::Integrator& integrator) {
            return dynamic_cast<OpenMMNN::MultistepLangevinIntegrator*>(&integrator) != NULL;
        }
    }
    %pythoncode %{
        def getTemperature(self):
            """The temperature of the heat bath, a Quantity."""
            return self._getTemperature() * openmm.unit.kelvin

        def setTemperature(self, temperature):
            """Set the temperature of the heat bath: a Quantity, or K."""
            self._setTemperature(_in(temperature, openmm.unit.kelvin))

        def getFriction(self):
            """The friction coefficient, a Quantity."""
            return self._getFriction() / openmm.unit.picosecond

        def setFriction(self, friction):
            """Set the friction coefficient: a Quantity, or 1/ps."""
            self._setFriction(_in(friction, openmm.unit.picosecond**-1))
    %}
};

} // namespace OpenMMNN

%pythoncode %{
def _specialise(proxy, base, kinds):
    """Make a proxy that has just been given its pointer one of the class that the object has."""
    object.__setattr__(proxy, "__class__", base)
    for kind in kinds:
        if kind.isinstance(proxy):
            special = kind.cast(proxy).this
            if proxy.this.own():
                proxy.this.disown()
                special.acquire()
            object.__setattr__(proxy, "__class__", kind)
            proxy.this = special
            return


class _AnyForce(openmm.Force):
    """What OpenMM's wrapper makes of a force of a class that it has not heard of: one of ours, or an openmm.Force.

    The wrapper makes a proxy of the class that is registered for the C++ class, and then sets its attribute `this`.
    """

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        _specialise(self, openmm.Force, (NeuralForce, RegionForce))


class _AnyIntegrator(openmm.Integrator):
    """The same of integrators."""

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        _specialise(self, openmm.Integrator, (MultistepLangevinIntegrator,))


# As openmm.py registers openmm.Force: so System.getForces(), copies, pickles and XML give our classes.
openmm.openmm._openmm.Force_swigregister(_AnyForce)
openmm.openmm._openmm.Integrator_swigregister(_AnyIntegrator)
%}
