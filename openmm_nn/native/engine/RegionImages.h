#ifndef OPENMM_NN_REGIONIMAGES_H_
#define OPENMM_NN_REGIONIMAGES_H_

#include "Geometry.h"
#include "openmm_nn/RegionForce.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/reference/ReferencePME.h"
#include <complex>
#include <memory>
#include <vector>

namespace OpenMMNN {

/**
 * The reciprocal sums of Ewald methods over the charges (and, with LJPME, the dispersion coefficients) of a region alone,
 * with their self energies and the neutralising plasma.  They are OpenMM's own sums: smooth particle mesh Ewald on the
 * same grid, or the same wave vectors.
 */
class RegionImages {
public:
    /**
     * @param force   an Ewald method
     * @param system  what the default grid and wave vectors follow
     */
    RegionImages(const RegionForce& force, const OpenMM::System& system);
    /** Use the grid that the Context's own NonbondedForce uses, which some platforms enlarge. */
    void takeGridOf(OpenMM::ContextImpl& context);
    /** The energy in kJ/mol; forces in kJ/mol/nm are overwritten. */
    double compute(const std::vector<OpenMM::Vec3>& positions, const Box& box, std::vector<OpenMM::Vec3>& forces);
private:
    void makeMeshes();
    double sumWaves(const std::vector<OpenMM::Vec3>& positions, const Box& box, std::vector<OpenMM::Vec3>& forces);
    OpenMM::NonbondedForce::NonbondedMethod method;
    double alpha, dispersionAlpha, selfEnergy, totalCharge;
    int grid[3], dispersionGrid[3], waves[3];
    std::vector<double> charge, rootC6;
    std::unique_ptr<OpenMM::ReferencePME> mesh, dispersionMesh;
    std::vector<OpenMM::Vec3> meshForces;
    std::vector<std::complex<double> > phases[3], planes, products;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONIMAGES_H_
