#ifndef OPENMM_NN_MODELSIGNATURE_H_
#define OPENMM_NN_MODELSIGNATURE_H_

#include "windowsExportNN.h"
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * What the engine must know of a model to call it: the part of a model card that is not prose.
 */
class OPENMM_EXPORT_NN ModelSignature {
public:
    std::vector<std::string> inputs = {"positions"};
    std::vector<std::string> outputs = {"energy"};
    std::string dtype = "platform";       // float32, float64 or platform
    double lengthFactor = 1.0;            // nm per length unit of the model
    double energyFactor = 1.0;            // kJ/mol per energy unit of the model
    double cutoff = 0.0;                  // nm, 0 for none
    bool longRange = false;               // it reaches beyond its cutoff
    bool invariant = false;               // the energy does not depend on where the origin is
    int committeeSize = 1;

    bool hasInput(const std::string& name) const;
    bool hasOutput(const std::string& name) const;
    bool usesEdges() const {
        return hasInput("edge_index");
    }
    bool returnsForces() const {
        return hasOutput("forces");
    }
    /** The inputs that are parameters of the Context, in order. */
    std::vector<std::string> getParameters() const;
    /** Throws an OpenMMException if an entry is not one that the engine knows. */
    void validate() const;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_MODELSIGNATURE_H_
