#include "RegionEnergy.h"
#include "openmm/OpenMMException.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <cmath>
#include <map>

using namespace OpenMM;
using namespace OpenMMNN;
using std::vector;

static const double TWO_OVER_ROOT_PI = 1.1283791670955126;

// With fewer particles than this, waking threads costs more than they save.
static const int threadedParticles = 300;

RegionEnergy::RegionEnergy(const RegionForce& force) : method(force.getNonbondedMethod()), cutoff(force.getCutoffDistance()),
        switchingDistance(force.getSwitchingDistance()) {
    useCutoff = (method != NonbondedForce::NoCutoff);
    periodic = force.usesPeriodicBoundaryConditions();
    exceptionsPeriodic = (periodic && force.getExceptionsUsePeriodicBoundaryConditions());
    ewald = (method == NonbondedForce::Ewald || method == NonbondedForce::PME || method == NonbondedForce::LJPME);
    dispersionEwald = (method == NonbondedForce::LJPME);
    force.getEwaldAlpha(alpha, dispersionAlpha);
    if (ewald && !(alpha > 0))
        throw OpenMMException("RegionForce: the method is an Ewald sum, so alpha must be positive (1/nm); call setEwaldAlpha()");
    double dielectric = force.getReactionFieldDielectric();
    krf = std::pow(cutoff, -3.0)*(dielectric-1.0)/(2.0*dielectric+1.0);
    crf = (1.0/cutoff)*(3.0*dielectric)/(2.0*dielectric+1.0);
    double x2 = std::pow(dispersionAlpha*cutoff, 2.0);
    shiftFactor = std::pow(cutoff, -6.0)*(1.0-std::exp(-x2)*(1.0+x2+0.5*x2*x2));
    std::map<int, int> indexOf;
    for (int i = 0; i < force.getNumParticles(); i++) {
        int particle;
        double q, sigma, epsilon;
        force.getParticleParameters(i, particle, q, sigma, epsilon);
        indexOf[particle] = i;
        particles.push_back(particle);
        charge.push_back(q);
        halfSigma.push_back(0.5*sigma);
        rootEpsilon.push_back(2.0*std::sqrt(epsilon));
        rootC6.push_back(8.0*std::pow(halfSigma[i], 3.0)*rootEpsilon[i]);
    }
    partners.resize(particles.size());
    for (int i = 0; i < force.getNumExceptions(); i++) {
        int particle1, particle2;
        double q, sigma, epsilon;
        force.getExceptionParameters(i, particle1, particle2, q, sigma, epsilon);
        int first = std::min(indexOf.at(particle1), indexOf.at(particle2)), second = std::max(indexOf.at(particle1), indexOf.at(particle2));
        partners[first].push_back(second);
        if (q != 0.0 || epsilon != 0.0)
            exceptions.push_back({first, second, q, sigma, epsilon});
    }
    if ((int) particles.size() >= threadedParticles)
        threads.reset(new ThreadPool());
    size_t count = (threads ? threads->getNumThreads() : 1);
    threadEnergy.resize(count);
    threadForces.resize(count);
}

RegionEnergy::~RegionEnergy() {
}

RegionEnergy::Pair RegionEnergy::pairBeyondCutoff(double r2, double charge, double c6) const {
    // What the reciprocal sums hold of a pair.
    double r = std::sqrt(r2), x = alpha*r, qq = ONE_4PI_EPS0*charge/r;
    Pair pair;
    if (x > 6.0) { // erf(6) is 1 in double precision
        pair.energy = qq;
        pair.derivative = qq/r2;
    }
    else {
        double erfx = std::erf(x);
        pair.energy = qq*erfx;
        pair.derivative = qq*(erfx-TWO_OVER_ROOT_PI*x*std::exp(-x*x))/r2;
    }
    if (dispersionEwald) {
        double y2 = dispersionAlpha*dispersionAlpha*r2, inverse6 = 1.0/(r2*r2*r2), e = std::exp(-y2);
        pair.energy -= c6*inverse6*(1.0-e*(1.0+y2+0.5*y2*y2));
        pair.derivative -= 6.0*c6*inverse6*(1.0-e*(1.0+y2+0.5*y2*y2+y2*y2*y2/6.0))/r2;
    }
    return pair;
}

RegionEnergy::Pair RegionEnergy::pairWithin(double r2, double charge, double sigma, double epsilon, double c6) const {
    double inverse2 = 1.0/r2, r = std::sqrt(r2), qq = ONE_4PI_EPS0*charge;
    double sigma6 = sigma*sigma*inverse2;
    sigma6 = sigma6*sigma6*sigma6;
    double lj = epsilon*(sigma6-1.0)*sigma6, ljDerivative = epsilon*(12.0*sigma6-6.0)*sigma6*inverse2;
    if (dispersionEwald) {
        // Within the cutoff the multiplicative dispersion of the reciprocal sum is taken out again; its difference to
        // the combination rule at the cutoff is a shift.
        double atCutoff = std::pow(sigma/cutoff, 6.0);
        lj += epsilon*(1.0-atCutoff)*atCutoff-c6*shiftFactor;
    }
    if (switchingDistance > 0.0 && r > switchingDistance) {
        double width = cutoff-switchingDistance, t = (r-switchingDistance)/width;
        double value = 1.0+t*t*t*(-10.0+t*(15.0-t*6.0)), slope = t*t*(-30.0+t*(60.0-t*30.0))/width;
        ljDerivative = value*ljDerivative-lj*slope/r;
        lj *= value;
    }
    Pair pair;
    if (useCutoff && !ewald) {
        pair.energy = qq*(1.0/r+krf*r2-crf)+lj;
        pair.derivative = qq*(1.0/r-2.0*krf*r2)*inverse2+ljDerivative;
    }
    else {
        // erfc in direct space and erf in the reciprocal sum add up to one.
        pair.energy = qq/r+lj;
        pair.derivative = qq/r*inverse2+ljDerivative;
    }
    return pair;
}

double RegionEnergy::computeRow(int i, const vector<Vec3>& positions, const Box& box, const vector<char>& excluded, vector<Vec3>& forces) const {
    const double cutoff2 = cutoff*cutoff;
    double energy = 0.0;
    Vec3 onFirst;
    for (int j = i+1; j < (int) particles.size(); j++) {
        if (excluded[j])
            continue;
        Vec3 delta = positions[i]-positions[j];
        if (periodic)
            delta = box.minimumImage(delta);
        double r2 = delta.dot(delta);
        Pair pair;
        if (!useCutoff || r2 < cutoff2)
            pair = pairWithin(r2, charge[i]*charge[j], halfSigma[i]+halfSigma[j], rootEpsilon[i]*rootEpsilon[j], rootC6[i]*rootC6[j]);
        else if (ewald)
            pair = pairBeyondCutoff(r2, charge[i]*charge[j], rootC6[i]*rootC6[j]);
        else
            continue;
        energy += pair.energy;
        Vec3 force = delta*pair.derivative;
        onFirst += force;
        forces[j] -= force;
    }
    forces[i] += onFirst;
    return energy;
}

double RegionEnergy::compute(const vector<Vec3>& positions, const Box& box, vector<Vec3>& forces) {
    const int count = (int) particles.size(), numThreads = (int) threadEnergy.size();
    auto rows = [&](int thread) {
        threadForces[thread].assign(count, Vec3());
        double energy = 0.0;
        vector<char> excluded(count, 0);
        for (int i = thread; i < count; i += numThreads) {
            for (int partner : partners[i])
                excluded[partner] = 1;
            energy += computeRow(i, positions, box, excluded, threadForces[thread]);
            for (int partner : partners[i])
                excluded[partner] = 0;
        }
        threadEnergy[thread] = energy;
    };
    if (threads) {
        threads->execute([&](ThreadPool& pool, int thread) {
            rows(thread);
        });
        threads->waitForThreads();
    }
    else
        rows(0);
    double energy = 0.0;
    forces.assign(count, Vec3());
    for (int thread = 0; thread < numThreads; thread++) {
        energy += threadEnergy[thread];
        for (int i = 0; i < count; i++)
            forces[i] += threadForces[thread][i];
    }
    for (const Exception& e : exceptions) {
        Vec3 delta = positions[e.i]-positions[e.j];
        if (exceptionsPeriodic)
            delta = box.minimumImage(delta);
        double inverse2 = 1.0/delta.dot(delta), sigma6 = std::pow(e.sigma*e.sigma*inverse2, 3.0), qq = ONE_4PI_EPS0*e.charge*std::sqrt(inverse2);
        energy += 4.0*e.epsilon*(sigma6-1.0)*sigma6+qq;
        Vec3 force = delta*((4.0*e.epsilon*(12.0*sigma6-6.0)*sigma6+qq)*inverse2);
        forces[e.i] += force;
        forces[e.j] -= force;
    }
    return energy;
}
