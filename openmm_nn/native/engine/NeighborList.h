#ifndef OPENMM_NN_NEIGHBORLIST_H_
#define OPENMM_NN_NEIGHBORLIST_H_

#include "openmm_nn/ModelRunner.h"
#include <memory>

namespace OpenMMNN {

/** Every pair of atoms within a cutoff, in both directions and with all periodic images.  The work is vesin's. */
class NeighborList {
public:
    /** @param cutoff  in the unit of the positions that compute() is given */
    explicit NeighborList(double cutoff);
    ~NeighborList();
    NeighborList(const NeighborList&) = delete;
    NeighborList& operator=(const NeighborList&) = delete;
    /** Fill in edgeIndex and edgeShifts from the positions and the box of the inputs. */
    void compute(ModelInputs& inputs, bool periodic);
private:
    struct Storage;
    double cutoff;
    std::unique_ptr<Storage> storage;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEIGHBORLIST_H_
