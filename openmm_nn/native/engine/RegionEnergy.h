#ifndef OPENMM_NN_REGIONENERGY_H_
#define OPENMM_NN_REGIONENERGY_H_

#include "ErfTable.h"
#include "Geometry.h"
#include "RegionImages.h"
#include "openmm_nn/RegionForce.h"
#include "openmm/internal/ThreadPool.h"
#include <memory>
#include <vector>

namespace OpenMMNN {

/** Computes the energy of RegionForce, scale apart, from positions of its particles.  Pairs are not stored. */
class RegionEnergy {
public:
    /**
     * @param force       what is computed
     * @param system      what the grid of periodic images follows by default
     * @param maxThreads  how many threads a large region may use; 0 for all cores
     */
    RegionEnergy(const RegionForce& force, const OpenMM::System& system, int maxThreads);
    ~RegionEnergy();
    /** The particles of the System, in the order of the positions. */
    const std::vector<int>& getParticles() const {
        return particles;
    }
    /** Sum periodic images on the grid that the Context's own NonbondedForce uses. */
    void takeGridOf(OpenMM::ContextImpl& context);
    /** The energy in kJ/mol; forces in kJ/mol/nm are overwritten. */
    double compute(const std::vector<OpenMM::Vec3>& positions, const Box& box, std::vector<OpenMM::Vec3>& forces);
private:
    struct Exception {
        int i, j;
        double charge, sigma, epsilon;
    };
    struct Pair {
        double energy, derivative; // derivative: -(dE/dr)/r
    };
    /** What one thread works with: coordinates relative to an atom, and the forces of its rows. */
    struct Scratch {
        std::vector<double> x, y, z, r2, derivative, forceX, forceY, forceZ;
        std::vector<char> excluded;
        double energy;
    };
    Pair pairInReciprocalSum(double r2, double charge, double c6) const;
    Pair pairWithin(double r2, double charge, double sigma, double epsilon, double c6) const;
    /** Every so many rows. */
    void computeRows(int first, int step, const Box& box, Scratch& scratch) const;
    /** All pairs of atom i with a higher index. */
    void computeRow(int i, const Box& box, Scratch& scratch) const;
    double computeExceptions(const std::vector<OpenMM::Vec3>& positions, const Box& box, std::vector<OpenMM::Vec3>& forces) const;
    OpenMM::NonbondedForce::NonbondedMethod method;
    bool useCutoff, periodic, exceptionsPeriodic, ewald, dispersionEwald, includesPairs, includesImages;
    double cutoff, switchingDistance, alpha, dispersionAlpha, krf, crf, shiftFactor;
    std::vector<int> particles;
    std::vector<double> charge, halfSigma, rootEpsilon, rootC6; // sigma/2, 2 sqrt(epsilon) and its C6, as OpenMM keeps them
    std::vector<Exception> exceptions;
    std::vector<std::vector<int> > partners; // of exceptions, with a higher index
    std::unique_ptr<RegionImages> images;
    std::vector<OpenMM::Vec3> imageForces;
    std::unique_ptr<OpenMM::ThreadPool> threads;
    std::vector<Scratch> scratches;
    std::vector<double> x, y, z;
    ErfTable erfTable;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONENERGY_H_
