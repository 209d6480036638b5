#ifndef OPENMM_NN_GEOMETRY_H_
#define OPENMM_NN_GEOMETRY_H_

#include "openmm/Vec3.h"
#include <array>
#include <utility>
#include <vector>

namespace OpenMMNN {

/** A reduced periodic box: a along x, b in the xy plane. */
struct Box {
    OpenMM::Vec3 a, b, c;
    /** The smallest distance between two opposite faces. */
    double smallestHeight() const;
    /**
     * The image of a vector by the rounding that OpenMM uses: the shortest one wherever a vector shorter than half the
     * smallest height exists.
     */
    OpenMM::Vec3 minimumImage(OpenMM::Vec3 delta) const;
    /** The shortest of all images of a vector, in a triclinic box too. */
    OpenMM::Vec3 nearestImage(const OpenMM::Vec3& delta) const;
    /** The edges of the rectangular cell into which minimumImage() brings a vector. */
    OpenMM::Vec3 edges() const {
        return OpenMM::Vec3(a[0], b[1], c[2]);
    }
};

/** How far atoms reach along an axis, and the two that are farthest apart. */
struct Extent {
    double length;
    int first, last;
};

/**
 * How far atoms reach along x, y and z.  The vectors between all of them are minimum images exactly where no extent is
 * more than half of the box's edge along that axis, since that is the cell into which minimumImage() brings a vector.
 */
std::array<Extent, 3> findExtents(const std::vector<OpenMM::Vec3>& positions);

/**
 * Makes a region whole: bonded atoms at minimum image along the region's bond graph, then every further component, as
 * a whole, at the image of its centroid that is nearest to the first component's centroid.
 */
class WholeMaker {
public:
    /**
     * @param numAtoms  the number of atoms
     * @param bonds     bonds between them, as indices into the atoms
     */
    WholeMaker(int numAtoms, const std::vector<std::pair<int, int> >& bonds);
    /**
     * Re-image positions in place.
     *
     * @return the vector from the first component's centroid to that of each component
     */
    std::vector<OpenMM::Vec3> apply(std::vector<OpenMM::Vec3>& positions, const Box& box) const;
    /** An atom and the one that it is placed next to, or -1 for the first one of a component. */
    struct Step {
        int atom, parent;
    };
    const std::vector<std::vector<Step> >& getComponents() const {
        return components;
    }
private:
    std::vector<std::vector<Step> > components;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_GEOMETRY_H_
