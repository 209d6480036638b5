#ifndef OPENMM_NN_ENGINE_H_
#define OPENMM_NN_ENGINE_H_

#include "Geometry.h"
#include "NeighborList.h"
#include "openmm_nn/NeuralForce.h"
#include "openmm/System.h"
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * Evaluates a NeuralForce for the positions of a few particles, on any platform.
 *
 * The steps, in order: make whole or wrap, place link atoms, centre, convert units, find edges, run the model, check
 * that everything is finite, convert back, project the forces on link atoms.
 */
class OPENMM_EXPORT_NN_ENGINE Engine {
public:
    /** What one evaluation gives back: kJ/mol and nm. */
    struct Result {
        double energy = 0.0;
        std::vector<OpenMM::Vec3> forces;               // of the particles of getParticles()
        std::map<std::string, double> derivatives;      // dE/dp
    };
    typedef std::function<double(const std::string&)> ParameterSource;
    struct Link {
        int inside, outside;    // indices into the particles of the engine
        NeuralForce::LinkRule rule;
        double value;
        OpenMM::Vec3 direction; // unit vector from the inside to the outside atom
        double length;          // of the bond
    };

    /**
     * @param platformDouble  whether a model whose dtype follows the platform runs in double precision
     * @param concurrent      whether the model runs beside the platform's own threads
     * @param device          of the platform, where models run unless a property says otherwise
     */
    Engine(const NeuralForce& force, const OpenMM::System& system, bool platformDouble, bool concurrent, const std::string& device);
    ~Engine();
    /**
     * The particles whose positions are needed and which forces act on: those that the model sees, then the outside
     * atoms of the links.
     */
    const std::vector<int>& getParticles() const {
        return particles;
    }
    /** How many of them the model sees. */
    int getNumInside() const {
        return numInside;
    }
    const std::vector<Link>& getLinks() const {
        return links;
    }
    const ModelSignature& getSignature() const {
        return signature;
    }
    const std::shared_ptr<ModelRunner>& getRunner() const {
        return runner;
    }
    /** The model's inputs: those that do not change hold for every evaluation. */
    const ModelInputs& getInputs() const {
        return inputs;
    }
    const WholeMaker& getWholeMaker() const {
        return *wholeMaker;
    }
    /** Whether molecules are made whole before the model sees them. */
    bool makesWhole() const {
        return makeWhole && signature.invariant;
    }
    /** Whether the model sees the periodic box. */
    bool isPeriodic() const {
        return periodic;
    }
    /** The parameters of the Context that the energy depends on. */
    std::vector<std::string> getParameterNames() const;
    /** Whether evaluate() may be called from any thread, one at a time. */
    bool canRunOnAnyThread() const;
    /** Take over the model of the force again. */
    void setModel(const NeuralForce& force);
    void evaluate(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters,
            bool includeForces, Result& result);
    /**
     * Evaluate the model for atoms that a device has placed.
     *
     * @param positions  (N,3), of the model's atoms in its units
     * @return the forces (N,3) of the model in its units; energy and derivatives go to the result
     */
    const std::vector<double>& evaluatePlaced(const std::vector<double>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters,
            bool includeForces, Result& result);
    /** Which derivatives by parameters are needed, and whether forces are. */
    ModelRequest makeRequest(bool includeForces) const;
    /** Convert energies and derivatives to what the platform takes. */
    void convert(const ModelRequest& request, const ModelOutputs& outputs, const ParameterSource& parameters, Result& result) const;
    /** From the model's unit of force to kJ/mol/nm, the scale included. */
    double getForceFactor(const ParameterSource& parameters) const;
    /** Whether any derivative by a parameter is wanted. */
    bool hasDerivatives() const {
        return !derivativeNames.empty();
    }
    /** Throw because the position of a particle, by its index among those of the engine, is not finite. */
    void throwBadPosition(int particle) const;
    /**
     * Throw, or later in a run warn once, if a device has made a region whole in which a vector between two atoms is not
     * its minimum image.
     *
     * @param extents    how far the region reaches along x, y and z, nm
     * @param jumped     whether a component is at another image than before
     * @param positions  gives positions (N,3) of the model's atoms in its units
     */
    void checkPlaced(const float* extents, bool jumped, const OpenMM::Vec3* box, const std::function<std::vector<double>()>& positions);
    /** Throw if the box cannot be one, or is too small for a model that finds its own neighbours. */
    void checkBox(const OpenMM::Vec3* box) const;
    /** Throw if anything is not finite, with the atom that it is about. */
    void checkFinite(const std::vector<double>& positions, const ModelRequest& request, const ModelOutputs& outputs) const;
    /** Add what a device has evaluated by itself to the statistics. */
    void count(long long evaluations, long long warmups, long long edges, long long bytes);
    std::vector<double> getMemberEnergies(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters);
    std::vector<double> getForceStd(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters);
    std::map<std::string, long long> getStatistics() const;
private:
    void prepare(std::vector<OpenMM::Vec3> positions, const OpenMM::Vec3* box, const ParameterSource& parameters);
    void prepareModel(const OpenMM::Vec3* box, const ParameterSource& parameters);
    void run(const ModelRequest& request);
    std::string describeAtom(int modelAtom) const;
    void checkExtents(const std::vector<OpenMM::Vec3>& whole, const Box& box);
    void checkJump(bool jumped, const Box& box);
    bool hasJumped(const std::vector<OpenMM::Vec3>& offsets, const Box& box);
    double getScale(const ParameterSource& parameters) const;
    void projectLinkForces(const std::vector<double>& modelForces, double factor, std::vector<OpenMM::Vec3>& forces) const;

    ModelSignature signature;
    std::vector<int> particles;
    int numInside;              // how many of them the model sees
    std::vector<Link> links;
    double energyOffset;
    std::string scaleParameter;
    std::vector<std::string> modelParameters;
    std::vector<std::string> derivativeNames;
    bool periodic, makeWhole, platformDouble, concurrent;
    std::string device;
    bool firstEvaluation, warnedOfExtent, warnedOfJump, warm;
    int numMassive;             // particles of the System that have a mass
    std::vector<std::pair<int, int> > bonds; // inside the region
    std::vector<OpenMM::Vec3> lastOffsets;   // of its components
    std::unique_ptr<WholeMaker> wholeMaker;
    std::unique_ptr<NeighborList> neighborList;
    std::shared_ptr<ModelRunner> runner;
    ModelInputs inputs;
    ModelOutputs outputs;
    long long numEvaluations, numWarmups, numAtoms, numEdges, numBytes;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_ENGINE_H_
