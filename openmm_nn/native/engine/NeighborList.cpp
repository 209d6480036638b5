#include "NeighborList.h"
#include "openmm/OpenMMException.h"
#include "vesin.h"
#include <algorithm>
#include <string>

using namespace OpenMM;
using namespace OpenMMNN;

// In cutoffs.  Beyond, vesin's count of cells overflows, which ends the process.
static const double maxExtent = 1e4;

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
    for (size_t k = 0; !periodic && k < 3; k++) {
        double low = 0.0, high = 0.0;
        for (size_t i = k; i < inputs.positions.size(); i += 3) {
            low = i == k ? inputs.positions[i] : std::min(low, inputs.positions[i]);
            high = i == k ? inputs.positions[i] : std::max(high, inputs.positions[i]);
        }
        if (high-low > maxExtent*cutoff)
            throw OpenMMException("NeuralForce: atoms are "+std::to_string((high-low)/cutoff)+" times the potential's cutoff apart, and must be at most "+
                    std::to_string((int) maxExtent)+" times. The simulation has become unstable, or the positions that were set are wrong; look at the last good state");
    }
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
