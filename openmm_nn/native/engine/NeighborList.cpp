#include "NeighborList.h"
#include "openmm/OpenMMException.h"
#include "vesin.h"
#include <string>

using namespace OpenMM;
using namespace OpenMMNN;

struct NeighborList::Storage {
    VesinNeighborList list;
    ~Storage() {
        vesin_free(&list);
    }
};

NeighborList::NeighborList(double cutoff) : cutoff(cutoff), storage(new Storage()) {
}

NeighborList::~NeighborList() {
}

void NeighborList::compute(ModelInputs& inputs, bool periodic) {
    VesinOptions options = {};
    options.cutoff = cutoff;
    options.full = true;
    options.algorithm = VesinAutoAlgorithm;
    options.n_threads = 1;
    options.return_shifts = true;
    const bool directions[3] = {periodic, periodic, periodic};
    const char* error = NULL;
    VesinNeighborList& list = storage->list;
    int status = vesin_neighbors(reinterpret_cast<const double(*)[3]>(inputs.positions.data()), inputs.numAtoms(),
            reinterpret_cast<const double(*)[3]>(inputs.box), directions, {VesinCPU, 0}, options, &list, &error);
    if (status != 0)
        throw OpenMMException("NeuralForce: the neighbour list could not be made: "+std::string(error == NULL ? "unknown reason" : error));
    size_t count = list.length;
    inputs.edgeIndex.resize(2*count);
    inputs.edgeShifts.assign(3*count, 0.0);
    for (size_t e = 0; e < count; e++) {
        inputs.edgeIndex[e] = (int64_t) list.pairs[e][0];
        inputs.edgeIndex[count+e] = (int64_t) list.pairs[e][1];
        if (periodic)
            for (int k = 0; k < 3; k++)
                inputs.edgeShifts[3*e+k] = list.shifts[e][0]*inputs.box[k]+list.shifts[e][1]*inputs.box[3+k]+list.shifts[e][2]*inputs.box[6+k];
    }
}
