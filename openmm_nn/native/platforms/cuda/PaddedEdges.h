#ifndef OPENMM_NN_PADDEDEDGES_H_
#define OPENMM_NN_PADDEDEDGES_H_

#include <ATen/ATen.h>

namespace OpenMMNN {

/**
 * Edges of a model on its own device, in tensors whose shapes do not change: so many for every atom, its nearest
 * neighbours first, and where it has fewer an edge to itself that is twice the cutoff long, which the model must not feel.
 * Pairs are counted once, at minimum image.
 */
class PaddedEdges {
public:
    /**
     * @param cutoff    in the model's unit of length
     * @param periodic  whether there is a box
     */
    PaddedEdges(double cutoff, bool periodic) : cutoff(cutoff), periodic(periodic), capacity(0) {
    }
    /** How many neighbours an atom may have. */
    int64_t getCapacity() const {
        return capacity;
    }
    void setCapacity(int64_t capacity) {
        this->capacity = capacity;
    }
    /**
     * Find the edges.  Waits for nothing.
     *
     * @param positions  (N,3)
     * @param box        (3,3), the vectors of a reduced box in rows; not read without one
     */
    void find(const at::Tensor& positions, const at::Tensor& box);
    /** The largest number of neighbours of an atom, (), even where it is more than the capacity. */
    at::Tensor largest;
    at::Tensor index, shifts; // (2,N*capacity), (N*capacity,3)
private:
    double cutoff;
    bool periodic;
    int64_t capacity;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_PADDEDEDGES_H_
