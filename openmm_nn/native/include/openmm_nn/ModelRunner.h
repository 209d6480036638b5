#ifndef OPENMM_NN_MODELRUNNER_H_
#define OPENMM_NN_MODELRUNNER_H_

#include "windowsExportNN.h"
#include <cstdint>
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * What a model is given: the region's atoms and the link atoms behind them, in the model's units.  Arrays are
 * row-major and in double precision; a runner casts them to the model's dtype.
 */
struct ModelInputs {
    std::vector<double> positions;        // (N,3)
    double box[9] = {0, 0, 0, 0, 0, 0, 0, 0, 0}; // rows are the reduced box vectors, zeros when there is none
    std::vector<int64_t> atomicNumbers;   // (N,)
    int64_t charge = 0, multiplicity = 1;
    std::vector<int64_t> edgeIndex;       // (2,E): all centres i, then all neighbours j
    std::vector<double> edgeShifts;       // (E,3): r_ij = x_j - x_i + shift
    std::vector<double> parameters;       // in the order of ModelSignature::getParameters()
    int numAtoms() const {
        return (int) atomicNumbers.size();
    }
};

/** What is asked of one evaluation. */
struct ModelRequest {
    bool forces = false;                  // the force of the mean energy
    bool memberForces = false;            // the force of every member instead
    std::vector<int> derivatives;         // indices of the parameters whose dE/dp is needed
};

/** What a model returns, in its own units. */
struct ModelOutputs {
    std::vector<double> energies;         // (K,), atomic energies already summed in double
    std::vector<double> forces;           // (N,3), or (K,N,3) when memberForces was asked for
    std::vector<double> derivatives;      // in the order of ModelRequest::derivatives
};

/**
 * Something that can evaluate a model.  A new way of running models (another exported format, another language)
 * is a subclass of this.
 */
class OPENMM_EXPORT_NN ModelRunner {
public:
    virtual ~ModelRunner() {
    }
    virtual void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) = 0;
    /**
     * How many evaluations are thrown away before the first that counts.  A just-in-time compiler may change the last
     * bit of the result between its first calls.
     */
    virtual int getNumWarmupRuns() const {
        return 0;
    }
    /** Whether run() may be called from a thread that the application has not started. */
    virtual bool canRunOnAnyThread() const {
        return true;
    }
    /**
     * Called when a force that refers to this runner is about to be serialised.  A runner that lives in this process
     * only throws if the result would leave it.
     */
    virtual void checkCopy() const {
    }
};

} // namespace OpenMMNN

#endif // OPENMM_NN_MODELRUNNER_H_
