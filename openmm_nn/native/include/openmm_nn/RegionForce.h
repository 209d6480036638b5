#ifndef OPENMM_NN_REGIONFORCE_H_
#define OPENMM_NN_REGIONFORCE_H_

#include "ScaleRange.h"
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
 * is no dispersion correction and no implicit solvent.
 *
 * With an Ewald method it can hold, besides the pairs or in place of them, the region's interaction with its own periodic
 * images: what the reciprocal sum, its self energy and the neutralising plasma give for the region's charges alone (with
 * LJPME for its dispersion too), less the erf(alpha r)/r of its pairs.  Pairs and images together are the energy that the
 * NonbondedForce gives the region alone in the same box, dispersion correction apart.  The sum is the one that OpenMM
 * computes, with the same alpha, the same grid (that of the Context's NonbondedForce, where there is one) or the same
 * wave vectors: so it takes out of a total exactly what is in there, grid errors included.
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
    /** The indices of the region's particles in the System, in the order in which they were added. */
    std::vector<int> getParticles() const;
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
    /** Whether the energy holds the region's pairs. */
    bool getIncludesPairs() const {
        return includesPairs;
    }
    void setIncludesPairs(bool include) {
        includesPairs = include;
    }
    /** Whether the energy holds the region's interaction with its periodic images; without an Ewald method there is none. */
    bool getIncludesImages() const {
        return includesImages;
    }
    void setIncludesImages(bool include) {
        includesImages = include;
    }
    /** The error tolerance by which OpenMM chooses grids and wave vectors that are not given. */
    double getEwaldErrorTolerance() const {
        return ewaldErrorTolerance;
    }
    void setEwaldErrorTolerance(double tolerance) {
        ewaldErrorTolerance = tolerance;
    }
    /** The grid of the charges' reciprocal sum, zeros where the tolerance chooses it. */
    void getPMEGrid(int& nx, int& ny, int& nz) const {
        nx = grid[0];
        ny = grid[1];
        nz = grid[2];
    }
    void setPMEGrid(int nx, int ny, int nz) {
        grid[0] = nx;
        grid[1] = ny;
        grid[2] = nz;
    }
    /** The grid of the dispersion's reciprocal sum, zeros where the tolerance chooses it. */
    void getLJPMEGrid(int& nx, int& ny, int& nz) const {
        nx = dispersionGrid[0];
        ny = dispersionGrid[1];
        nz = dispersionGrid[2];
    }
    void setLJPMEGrid(int nx, int ny, int nz) {
        dispersionGrid[0] = nx;
        dispersionGrid[1] = ny;
        dispersionGrid[2] = nz;
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
    void setScaleParameter(const std::string& name, double defaultValue);
    const std::string& getScaleParameter() const {
        return scaleParameter;
    }
    double getScaleParameterDefaultValue() const {
        return scaleDefault;
    }
    /** Refuse values of the scale parameter outside a range, as a default and in a Context.  Without a call, all finite values are allowed. */
    void setScaleRange(double minimum, double maximum);
    void getScaleRange(double& minimum, double& maximum) const {
        minimum = scaleRange.minimum;
        maximum = scaleRange.maximum;
    }
    /** The parameters of the Context that this force has: the scale parameter, or none. */
    int getNumGlobalParameters() const {
        return scaleParameter.empty() ? 0 : 1;
    }
    const std::string& getGlobalParameterName(int index) const;
    double getGlobalParameterDefaultValue(int index) const;
    void setGlobalParameterDefaultValue(int index, double defaultValue);
    /** Ask for the derivative of the energy by the scale parameter, as setHasScaleDerivative(true) does. */
    void addEnergyParameterDerivative(const std::string& name);
    int getNumEnergyParameterDerivatives() const {
        return scaleDerivative && !scaleParameter.empty() ? 1 : 0;
    }
    const std::string& getEnergyParameterDerivativeName(int index) const;
    /** Whether State::getEnergyParameterDerivatives() includes the derivative by the scale parameter. */
    bool getHasScaleDerivative() const {
        return scaleDerivative;
    }
    void setHasScaleDerivative(bool derivative) {
        scaleDerivative = derivative;
    }
    bool usesPeriodicBoundaryConditions() const;
    /**
     * Take the parameters of the particles, and the exceptions between them, anew from a NonbondedForce.  Contexts that
     * exist keep the old ones until updateParametersInContext() is called.  Method, cutoff and the like stay what they were.
     */
    void setParametersFrom(const OpenMM::NonbondedForce& force);
    /** Hand the present parameters of particles and exceptions to a Context that was made with earlier ones. */
    void updateParametersInContext(OpenMM::Context& context);
    /**
     * Make every pair of some particles an exception of zero in a NonbondedForce.
     *
     * @return the number of pairs
     */
    static int zeroPairs(OpenMM::NonbondedForce& force, const std::vector<int>& particles);
protected:
    OpenMM::ForceImpl* createImpl() const;
private:
    void checkParameter(const std::string& method, int index) const;
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
    double ewaldErrorTolerance = 5e-4;
    int grid[3] = {0, 0, 0}, dispersionGrid[3] = {0, 0, 0};
    bool exceptionsPeriodic = false, includesPairs = true, includesImages = false;
    double scaleOffset = 1.0, scaleSlope = 0.0, scaleDefault = 1.0;
    std::string scaleParameter;
    ScaleRange scaleRange;
    bool scaleDerivative = false;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_REGIONFORCE_H_
