#ifndef OPENMM_NN_REGIONENERGY_H_
#define OPENMM_NN_REGIONENERGY_H_

#include "Geometry.h"
#include "openmm_nn/RegionForce.h"
#include "openmm/internal/ThreadPool.h"
#include <memory>
#include <vector>

namespace OpenMMNN {

/** Computes the energy of RegionForce, scale apart, from positions of its particles.  Pairs are not stored. */
class RegionEnergy {
public:
    explicit RegionEnergy(const RegionForce& force);
    ~RegionEnergy();
    /** The particles of the System, in the order of the positions. */
    const std::vector<int>& getParticles() const {
        return particles;
    }
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
    Pair pairBeyondCutoff(double r2, double charge, double c6) const;
    Pair pairWithin(double r2, double charge, double sigma, double epsilon, double c6) const;
    /** All pairs of atom i with a higher index, less those in `excluded`. */
    double computeRow(int i, const std::vector<OpenMM::Vec3>& positions, const Box& box, const std::vector<char>& excluded, std::vector<OpenMM::Vec3>& forces) const;
    OpenMM::NonbondedForce::NonbondedMethod method;
    bool useCutoff, periodic, exceptionsPeriodic, ewald, dispersionEwald;
    double cutoff, switchingDistance, alpha, dispersionAlpha, krf, crf, shiftFactor;
    std::vector<int> particles;
    std::vector<double> charge, halfSigma, rootEpsilon, rootC6; // sigma/2, 2 sqrt(epsilon) and its C6, as OpenMM keeps them
    std::vector<Exception> exceptions;
    std::vector<std::vector<int> > partners; // of exceptions, with a higher index
    std::unique_ptr<OpenMM::ThreadPool> threads;
    std::vector<double> threadEnergy;
    std::vector<std::vector<OpenMM::Vec3> > threadForces;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONENERGY_H_
