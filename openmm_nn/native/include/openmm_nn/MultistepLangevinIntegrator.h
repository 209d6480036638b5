#ifndef OPENMM_NN_MULTISTEPLANGEVININTEGRATOR_H_
#define OPENMM_NN_MULTISTEPLANGEVININTEGRATOR_H_

#include "windowsExportNN.h"
#include "openmm/Integrator.h"
#include "openmm/Kernel.h"
#include "openmm/LangevinMiddleIntegrator.h"
#include <memory>
#include <utility>
#include <vector>

namespace OpenMMNN {

/**
 * Multiple time steps with Langevin dynamics: each force group acts at a step of its own (reversible RESPA, Tuckerman,
 * Berne and Martyna, J. Chem. Phys. 97, 1990 (1992)).
 *
 * The innermost steps are those of OpenMM's LangevinMiddleIntegrator, by that platform's own kernel.  A group that is
 * evaluated every n of them acts as impulses of n times the innermost step between them, half of one at either end of a
 * step; with every group evaluated in every step this is LangevinMiddleIntegrator.  Forces at the end of a step are kept for
 * the beginning of the next.  OpenMM's MTSLangevinIntegrator does much the same as a CustomIntegrator, which costs more on
 * a CPU than many a force.
 *
 * Without friction the energy is conserved but for the errors of a finite step.
 */
class OPENMM_EXPORT_NN MultistepLangevinIntegrator : public OpenMM::Integrator {
public:
    /**
     * @param temperature  K
     * @param friction     1/ps
     * @param stepSize     of the slowest group, ps
     * @param groups       force groups and how often each is evaluated in a step.  Each number divides the next larger one.
     *                     Forces of other groups do not act.
     */
    MultistepLangevinIntegrator(double temperature, double friction, double stepSize, const std::vector<std::pair<int, int> >& groups);
    /** K */
    double getTemperature() const {
        return inner.getTemperature();
    }
    void setTemperature(double temperature);
    /** 1/ps */
    double getFriction() const {
        return inner.getFriction();
    }
    void setFriction(double friction);
    /** Zero, the default, stands for another seed in every Context. */
    int getRandomNumberSeed() const {
        return inner.getRandomNumberSeed();
    }
    void setRandomNumberSeed(int seed) {
        inner.setRandomNumberSeed(seed);
    }
    const std::vector<std::pair<int, int> >& getGroups() const {
        return groups;
    }
    void setStepSize(double size) override;
    void setConstraintTolerance(double tol) override;
    void step(int steps) override;
protected:
    void initialize(OpenMM::ContextImpl& context) override;
    void cleanup() override;
    std::vector<std::string> getKernelNames() override;
    void stateChanged(OpenMM::State::DataType changed) override;
    void loadCheckpoint(std::istream& stream) override;
    double computeKineticEnergy() override;
    bool kineticEnergyRequiresForce() const override {
        return false;
    }
    double getVelocityTimeOffset() const override {
        return inner.getStepSize()/2;
    }
private:
    void startPotentials();
    void impulse(size_t level, double share);
    struct Level {
        int every, groups;
    };
    std::vector<std::pair<int, int> > groups;
    std::vector<Level> levels; // from the fastest to the slowest
    int numInner;
    OpenMM::LangevinMiddleIntegrator inner;
    OpenMM::Kernel innerKernel, impulseKernel;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_MULTISTEPLANGEVININTEGRATOR_H_
