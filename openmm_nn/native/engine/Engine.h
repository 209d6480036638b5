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

    /**
     * @param platformDouble  whether a model whose dtype follows the platform runs in double precision
     * @param concurrent      whether the model runs beside the platform's own threads
     */
    Engine(const NeuralForce& force, const OpenMM::System& system, bool platformDouble, bool concurrent);
    ~Engine();
    /**
     * The particles whose positions are needed and which forces act on: those that the model sees, then the outside
     * atoms of the links.
     */
    const std::vector<int>& getParticles() const {
        return particles;
    }
    /** The parameters of the Context that the energy depends on. */
    std::vector<std::string> getParameterNames() const;
    /** Whether evaluate() may be called from any thread, one at a time. */
    bool canRunOnAnyThread() const;
    /** Take over the model of the force again. */
    void setModel(const NeuralForce& force);
    void evaluate(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters,
            bool includeForces, Result& result);
    std::vector<double> getMemberEnergies(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters);
    std::vector<double> getForceStd(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, const ParameterSource& parameters);
    std::map<std::string, long long> getStatistics() const;
private:
    struct Link {
        int inside, outside;    // indices into the particles of the engine
        NeuralForce::LinkRule rule;
        double value;
        OpenMM::Vec3 direction; // unit vector from the inside to the outside atom
        double length;          // of the bond
    };
    void prepare(std::vector<OpenMM::Vec3> positions, const OpenMM::Vec3* box, const ParameterSource& parameters);
    void checkCluster(double spread, double height);
    void run(const ModelRequest& request);
    void checkFinite(const ModelRequest& request) const;
    std::string describeAtom(int modelAtom) const;
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
    bool periodic, makeWhole, platformDouble, concurrent, firstEvaluation, warnedOfSpread, warm;
    std::unique_ptr<WholeMaker> wholeMaker;
    std::unique_ptr<NeighborList> neighborList;
    std::shared_ptr<ModelRunner> runner;
    ModelInputs inputs;
    ModelOutputs outputs;
    long long numEvaluations, numWarmups, numAtoms, numEdges, numBytes;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_ENGINE_H_
