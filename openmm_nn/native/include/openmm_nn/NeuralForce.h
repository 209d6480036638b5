#ifndef OPENMM_NN_NEURALFORCE_H_
#define OPENMM_NN_NEURALFORCE_H_

#include "ModelRunner.h"
#include "ModelSignature.h"
#include "ScaleRange.h"
#include "openmm/Context.h"
#include "openmm/Force.h"
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace OpenMMNN {

/**
 * A force whose energy is that of a neural potential.
 *
 * The force holds the potential itself, as the bytes of an exported file with its card, and everything that is needed
 * to evaluate it: which particles it acts on and in what order, their atomic numbers and bonds, the link atoms that
 * cap cut bonds, the total charge and spin multiplicity, and the parameters it takes from the Context.
 *
 * The model sees the particles in the order given, then one hydrogen for every link.  Its energy is
 *
 *     E = s (u E_model + E_0)
 *
 * where u converts the model's energy unit to kJ/mol, E_0 is the energy offset, and s is the scale parameter (1 if
 * there is none).  Forces are -dE/dx, or what the model returns as forces.
 */
class OPENMM_EXPORT_NN NeuralForce : public OpenMM::Force {
public:
    /** How a link atom is placed on the bond that it caps. */
    enum LinkRule {
        /** At a fixed distance from the inside atom, along the bond. */
        Fixed = 0,
        /** At a fixed fraction of the bond, from the inside atom. */
        Ratio = 1
    };
    /** Properties that setProperty() accepts. */
    static const std::vector<std::string>& getPropertyNames();
    /**
     * Trust a model that holds machine code (a compiled package, .pt2), for this process.  No other is run.  The
     * environment variable OPENMM_NN_TRUST lists more hashes, separated by spaces, commas or colons.
     *
     * @param hash  the SHA-256 of the model's bytes, in hexadecimal
     */
    static void trustHash(const std::string& hash);
    /** Whether the model with this hash is trusted. */
    static bool isTrusted(const std::string& hash);
    /**
     * Create a NeuralForce.
     *
     * @param model   the bytes of an exported model
     * @param card    its card, as JSON
     */
    NeuralForce(const std::string& model, const std::string& card);
    /**
     * Create a NeuralForce that evaluates something that lives in this process only.
     */
    NeuralForce(std::shared_ptr<ModelRunner> runner, const std::string& card);
    /** The bytes of the model; empty if it is a callable. */
    const std::string& getModel() const {
        return *model;
    }
    /** The card of the model, as JSON. */
    const std::string& getCard() const {
        return card;
    }
    /** The SHA-256 of the model's bytes, in hexadecimal; empty if it is a callable. */
    const std::string& getModelHash() const {
        return hash;
    }
    /** Replace the model.  Contexts that exist already keep the old one until updateModelInContext() is called. */
    void setModel(const std::string& model, const std::string& card);
    /** The runner of a callable, or null. */
    std::shared_ptr<ModelRunner> getRunner() const {
        return runner;
    }
    const ModelSignature& getSignature() const {
        return signature;
    }
    void setSignature(const ModelSignature& signature);
    /** A constant added to the energy, in kJ/mol (reference energies of the atoms, link atoms included). */
    double getEnergyOffset() const {
        return energyOffset;
    }
    void setEnergyOffset(double offset);
    /** The particles that the model sees, in order.  Empty means all particles of the System. */
    const std::vector<int>& getParticles() const {
        return particles;
    }
    void setParticles(const std::vector<int>& particles);
    /** The atomic numbers of the particles, in the same order. */
    const std::vector<int>& getAtomicNumbers() const {
        return atomicNumbers;
    }
    void setAtomicNumbers(const std::vector<int>& atomicNumbers);
    int getNumLinks() const {
        return (int) links.size();
    }
    /**
     * Cap a cut bond with a hydrogen that exists inside this force only.
     *
     * @param inside     the particle of the region (Q)
     * @param outside    the particle of the environment (M)
     * @param rule       how the link atom is placed on the bond
     * @param value      the distance in nm (Fixed) or the fraction of the bond (Ratio)
     * @return the index of the link
     */
    int addLink(int inside, int outside, LinkRule rule, double value);
    void getLinkParameters(int index, int& inside, int& outside, LinkRule& rule, double& value) const;
    int getNumBonds() const {
        return (int) bonds.size();
    }
    /** Add a bond between two particles of the System.  Bonds define molecules, and how a region is made whole. */
    int addBond(int particle1, int particle2);
    void getBondParameters(int index, int& particle1, int& particle2) const;
    int getCharge() const {
        return charge;
    }
    void setCharge(int charge) {
        this->charge = charge;
    }
    int getMultiplicity() const {
        return multiplicity;
    }
    void setMultiplicity(int multiplicity) {
        this->multiplicity = multiplicity;
    }
    /** Whether the model is given the periodic box, and edges across it. */
    bool usesPeriodicBoundaryConditions() const {
        return periodic;
    }
    void setUsesPeriodicBoundaryConditions(bool periodic) {
        this->periodic = periodic;
    }
    /** The parameters of the Context that this force has: those that the model takes, then the scale parameter if there is one. */
    int getNumGlobalParameters() const {
        return (int) globalParameters.size()+(scaleParameter.empty() ? 0 : 1);
    }
    /** Add a parameter that the model takes. */
    int addGlobalParameter(const std::string& name, double defaultValue);
    const std::string& getGlobalParameterName(int index) const;
    double getGlobalParameterDefaultValue(int index) const;
    void setGlobalParameterDefaultValue(int index, double defaultValue);
    /** Request dE/dp of a global parameter or of the scale parameter, for State::getEnergyParameterDerivatives(). */
    void addEnergyParameterDerivative(const std::string& name);
    int getNumEnergyParameterDerivatives() const {
        return (int) derivatives.size();
    }
    const std::string& getEnergyParameterDerivativeName(int index) const;
    /** Multiply the energy by a parameter of the Context; an empty name for none. */
    void setScaleParameter(const std::string& name, double defaultValue);
    const std::string& getScaleParameter() const {
        return scaleParameter;
    }
    double getScaleParameterDefaultValue() const {
        return scaleDefault;
    }
    /** Refuse values of the scale parameter outside a range, as a default and in a Context.  Without a call, all finite values are allowed. */
    void setScaleRange(double minimum, double maximum);
    void getScaleRange(double& minimum, double& maximum) const {
        minimum = scaleRange.minimum;
        maximum = scaleRange.maximum;
    }
    /**
     * Set a property:
     * "device": where the model runs, "cpu" or "cuda:0" and so on; by default the GPU of a CUDA Context, else "cpu".
     * "precision": "model", "single", "double".
     * "threads": an integer; 0 leaves torch its own number; by default 1 for fewer than 100 atoms, and else 0, or one
     * less where the model runs beside the other forces.
     * "concurrent": "true", where the platform allows it the model runs beside the other forces; "false".
     * "cuda_graphs": "true", on the CUDA platform the evaluation is recorded once and replayed; "false", the default.
     * "geometry": "host" or "device", where the region is made whole and link atoms are placed; by default on the device
     * of a CUDA Context if the model takes no edges or is replayed, else on the host.
     */
    void setProperty(const std::string& name, const std::string& value);
    const std::map<std::string, std::string>& getProperties() const {
        return properties;
    }
    /** Hand the current model of this force to a Context that was made with an earlier one. */
    void updateModelInContext(OpenMM::Context& context);
    /** The energy of every committee member at the positions of a Context, in kJ/mol, offset and scale included. */
    std::vector<double> getMemberEnergies(OpenMM::Context& context) const;
    /**
     * The sample standard deviation of the members' forces at the positions of a Context, for every atom that the
     * model sees, in kJ/mol/nm: the square root of the sum over x, y and z of the variances.
     */
    std::vector<double> getForceStd(OpenMM::Context& context) const;
    /** Counts since the Context was made: evaluations, warmup_evaluations, atoms, edges, bytes. */
    std::map<std::string, long long> getStatistics(OpenMM::Context& context) const;
protected:
    OpenMM::ForceImpl* createImpl() const;
private:
    bool isScale(int index) const;
    struct Link {
        int inside, outside;
        LinkRule rule;
        double value;
    };
    std::shared_ptr<const std::string> model;
    std::string card, hash;
    std::shared_ptr<ModelRunner> runner;
    ModelSignature signature;
    double energyOffset = 0.0;
    std::vector<int> particles, atomicNumbers;
    std::vector<Link> links;
    std::vector<std::pair<int, int> > bonds;
    int charge = 0, multiplicity = 1;
    bool periodic = false;
    std::vector<std::pair<std::string, double> > globalParameters;
    std::vector<std::string> derivatives;
    std::string scaleParameter;
    double scaleDefault = 1.0;
    ScaleRange scaleRange;
    std::map<std::string, std::string> properties;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEURALFORCE_H_
