#ifndef OPENMM_NN_DEVICEGEOMETRY_H_
#define OPENMM_NN_DEVICEGEOMETRY_H_

#include "Engine.h"
#include "ParticleSlots.h"
#include "openmm/common/ComputeKernel.h"

namespace OpenMMNN {

/**
 * What Engine does to positions before a model sees them and to forces afterwards, as two kernels on the device: make
 * whole or wrap, place link atoms, centre, convert units; project the forces on link atoms, add.  For models whose frame
 * is invariant.
 */
class DeviceGeometry {
public:
    /** @param doubleModel  whether the numbers of the model are in double precision */
    DeviceGeometry(OpenMM::ComputeContext& cc, const Engine& engine, bool doubleModel);
    /** Place the model's atoms in `positions`. */
    void place();
    /**
     * Add the model's forces, which are in `forces`, to those on the particles.
     *
     * @param factor  from the model's unit to kJ/mol/nm
     */
    void addForces(double factor);
    /** What the kernels found, as single precision numbers. */
    enum StatusField {
        ExtentX, ExtentY, ExtentZ, // of the region made whole, nm
        Jumped,         // 1 where a component of the region is at another image than before
        BadPosition,    // one more than the index of a particle whose position is not finite, or 0
        BadForce,       // 1 where a force is not finite, or more than the platform can hold; it was not added
        StatusSize
    };
    OpenMM::ComputeArray positions, forces; // (N,3), the model's dtype and units
    OpenMM::ComputeArray status;            // of the latest place() and addForces()
private:
    template <class T>
    void setBox();
    OpenMM::ComputeContext& cc;
    const bool mixedIsDouble;
    int numParticles, blockSize;
    ParticleSlots slots;
    OpenMM::ComputeArray parents, componentStarts, componentAtoms, linkAtoms, linkValues, places, centroids, offsets, linkFrames;
    OpenMM::ComputeKernel placeKernel, addKernel;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_DEVICEGEOMETRY_H_
