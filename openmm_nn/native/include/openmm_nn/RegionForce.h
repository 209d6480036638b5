#ifndef OPENMM_NN_REGIONFORCE_H_
#define OPENMM_NN_REGIONFORCE_H_

#include "windowsExportNN.h"
#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmm/NonbondedForce.h"
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * The classical nonbonded energy of a region's own pairs, times a scale: exactly what leaves a System's energy when
 * every pair of the region becomes an exception of zero in its NonbondedForce.
 *
 * For a pair that is no exception this is: without a cutoff, Coulomb and Lennard-Jones; with a cutoff, both at minimum
 * image within it, the reaction field and the switch included; with an Ewald method, besides, erf(alpha r)/r for every
 * pair, which the reciprocal sum holds; with LJPME the same of the dispersion.  Exceptions are plain and uncut.  There
 * are no periodic images, no dispersion correction and no implicit solvent.
 *
 * The energy is (offset + slope p) E, where p is the scale parameter, a parameter of the Context.  Without one it is
 * offset times E.
 */
class OPENMM_EXPORT_NN RegionForce : public OpenMM::Force {
public:
    RegionForce();
    /**
     * Make the force of a region from a NonbondedForce.
     *
     * @param force      the force whose pairs are meant
     * @param particles  the region
     */
    RegionForce(const OpenMM::NonbondedForce& force, const std::vector<int>& particles);
    int getNumParticles() const {
        return (int) particles.size();
    }
    /** Add a particle of the region: its index in the System, charge in e, sigma in nm, epsilon in kJ/mol. */
    int addParticle(int particle, double charge, double sigma, double epsilon);
    void getParticleParameters(int index, int& particle, double& charge, double& sigma, double& epsilon) const;
    int getNumExceptions() const {
        return (int) exceptions.size();
    }
    /** Add an exception between two particles of the region, by their indices in the System. */
    int addException(int particle1, int particle2, double chargeProd, double sigma, double epsilon);
    void getExceptionParameters(int index, int& particle1, int& particle2, double& chargeProd, double& sigma, double& epsilon) const;
    OpenMM::NonbondedForce::NonbondedMethod getNonbondedMethod() const {
        return method;
    }
    void setNonbondedMethod(OpenMM::NonbondedForce::NonbondedMethod method) {
        this->method = method;
    }
    /** nm */
    double getCutoffDistance() const {
        return cutoff;
    }
    void setCutoffDistance(double distance) {
        cutoff = distance;
    }
    double getReactionFieldDielectric() const {
        return dielectric;
    }
    void setReactionFieldDielectric(double dielectric) {
        this->dielectric = dielectric;
    }
    /** nm, or 0 for no switch. */
    double getSwitchingDistance() const {
        return switchingDistance;
    }
    void setSwitchingDistance(double distance) {
        switchingDistance = distance;
    }
    /** 1/nm: the separation parameters of the Ewald sums of charges and of dispersion. */
    void getEwaldAlpha(double& alpha, double& dispersionAlpha) const {
        alpha = this->alpha;
        dispersionAlpha = this->dispersionAlpha;
    }
    void setEwaldAlpha(double alpha, double dispersionAlpha) {
        this->alpha = alpha;
        this->dispersionAlpha = dispersionAlpha;
    }
    bool getExceptionsUsePeriodicBoundaryConditions() const {
        return exceptionsPeriodic;
    }
    void setExceptionsUsePeriodicBoundaryConditions(bool periodic) {
        exceptionsPeriodic = periodic;
    }
    /** Set the scale: offset + slope p. */
    void setScale(double offset, double slope) {
        scaleOffset = offset;
        scaleSlope = slope;
    }
    void getScale(double& offset, double& slope) const {
        offset = scaleOffset;
        slope = scaleSlope;
    }
    /** Name the parameter p of the Context; an empty name for none. */
    void setScaleParameter(const std::string& name, double defaultValue) {
        scaleParameter = name;
        scaleDefault = defaultValue;
    }
    const std::string& getScaleParameter() const {
        return scaleParameter;
    }
    double getScaleParameterDefaultValue() const {
        return scaleDefault;
    }
    /** Whether State::getEnergyParameterDerivatives() includes the derivative by the scale parameter. */
    bool getHasScaleDerivative() const {
        return scaleDerivative;
    }
    void setHasScaleDerivative(bool derivative) {
        scaleDerivative = derivative;
    }
    bool usesPeriodicBoundaryConditions() const;
    /**
     * Make every pair of some particles an exception of zero in a NonbondedForce.
     *
     * @return the number of pairs
     */
    static int zeroPairs(OpenMM::NonbondedForce& force, const std::vector<int>& particles);
protected:
    OpenMM::ForceImpl* createImpl() const;
private:
    struct Particle {
        int index;
        double charge, sigma, epsilon;
    };
    struct Exception {
        int particle1, particle2;
        double chargeProd, sigma, epsilon;
    };
    std::vector<Particle> particles;
    std::vector<Exception> exceptions;
    OpenMM::NonbondedForce::NonbondedMethod method = OpenMM::NonbondedForce::NoCutoff;
    double cutoff = 1.0, dielectric = 78.3, switchingDistance = 0.0, alpha = 0.0, dispersionAlpha = 0.0;
    bool exceptionsPeriodic = false;
    double scaleOffset = 1.0, scaleSlope = 0.0, scaleDefault = 1.0;
    std::string scaleParameter;
    bool scaleDerivative = false;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONFORCE_H_
