#include "RegionEnergy.h"
#include "openmm/OpenMMException.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <algorithm>
#include <cmath>
#include <map>

using namespace OpenMM;
using namespace OpenMMNN;
using std::vector;

// With fewer particles than this, waking threads costs more than they save.
static const int threadedParticles = 300;

RegionEnergy::RegionEnergy(const RegionForce& force, const System& system, int maxThreads) : method(force.getNonbondedMethod()),
        includesPairs(force.getIncludesPairs()), cutoff(force.getCutoffDistance()), switchingDistance(force.getSwitchingDistance()) {
    useCutoff = (method != NonbondedForce::NoCutoff);
    periodic = force.usesPeriodicBoundaryConditions();
    exceptionsPeriodic = (periodic && force.getExceptionsUsePeriodicBoundaryConditions());
    ewald = (method == NonbondedForce::Ewald || method == NonbondedForce::PME || method == NonbondedForce::LJPME);
    dispersionEwald = (method == NonbondedForce::LJPME);
    force.getEwaldAlpha(alpha, dispersionAlpha);
    if (ewald && !(alpha > 0))
        throw OpenMMException("RegionForce: the method is an Ewald sum, so alpha must be positive (1/nm); call setEwaldAlpha()");
    includesImages = (ewald && force.getIncludesImages());
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
    if (includesImages)
        images.reset(new RegionImages(force, system));
    const size_t count = particles.size();
    if ((int) count >= threadedParticles && maxThreads != 1)
        threads.reset(new ThreadPool(maxThreads));
    scratches.resize(threads ? threads->getNumThreads() : 1);
    for (Scratch& scratch : scratches) {
        for (auto* values : {&scratch.x, &scratch.y, &scratch.z, &scratch.r2, &scratch.derivative, &scratch.forceX, &scratch.forceY, &scratch.forceZ})
            values->resize(count);
        scratch.excluded.assign(count, 0);
    }
    for (auto* values : {&x, &y, &z})
        values->resize(count);
}

RegionEnergy::~RegionEnergy() {
}

void RegionEnergy::takeGridOf(ContextImpl& context) {
    if (images)
        images->takeGridOf(context);
}

RegionEnergy::Pair RegionEnergy::pairInReciprocalSum(double r2, double charge, double c6) const {
    const double u = alpha*alpha*r2, qq = ONE_4PI_EPS0*charge;
    Pair pair;
    if (u >= ErfTable::end) {
        pair.energy = qq/std::sqrt(r2);
        pair.derivative = pair.energy/r2;
    }
    else {
        double value, slope;
        erfTable.evaluate(u, value, slope);
        pair.energy = qq*alpha*value;
        pair.derivative = -2.0*qq*alpha*alpha*alpha*slope;
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

// The nearest integer for any number below 2^51, in a form that compilers turn into vector instructions.
static inline double nearest(double value) {
    const double large = 6755399441055744.0; // 1.5*2^52
    return (value+large)-large;
}

void RegionEnergy::computeRow(int i, const Box& box, Scratch& scratch) const {
    const int count = (int) particles.size();
    double *dx = scratch.x.data(), *dy = scratch.y.data(), *dz = scratch.z.data(), *r2 = scratch.r2.data();
    const double xi = x[i], yi = y[i], zi = z[i];
    if (periodic) {
        const double ax = box.a[0], bx = box.b[0], by = box.b[1], cx = box.c[0], cy = box.c[1], cz = box.c[2];
        const double inverseX = 1.0/ax, inverseY = 1.0/by, inverseZ = 1.0/cz;
        for (int j = i+1; j < count; j++) {
            double deltaX = xi-x[j], deltaY = yi-y[j], deltaZ = zi-z[j];
            const double alongC = nearest(deltaZ*inverseZ);
            deltaX -= alongC*cx;
            deltaY -= alongC*cy;
            deltaZ -= alongC*cz;
            const double alongB = nearest(deltaY*inverseY);
            deltaX -= alongB*bx;
            deltaY -= alongB*by;
            deltaX -= nearest(deltaX*inverseX)*ax;
            dx[j] = deltaX;
            dy[j] = deltaY;
            dz[j] = deltaZ;
            r2[j] = deltaX*deltaX+deltaY*deltaY+deltaZ*deltaZ;
        }
    }
    else
        for (int j = i+1; j < count; j++) {
            dx[j] = xi-x[j];
            dy[j] = yi-y[j];
            dz[j] = zi-z[j];
            r2[j] = dx[j]*dx[j]+dy[j]*dy[j]+dz[j]*dz[j];
        }

    const double cutoff2 = cutoff*cutoff;
    double energy = 0.0, *derivative = scratch.derivative.data();
    for (int j = i+1; j < count; j++) {
        const bool direct = (includesPairs && !scratch.excluded[j]), within = (!useCutoff || r2[j] < cutoff2);
        derivative[j] = 0.0;
        if (direct && within) {
            const Pair pair = pairWithin(r2[j], charge[i]*charge[j], halfSigma[i]+halfSigma[j], rootEpsilon[i]*rootEpsilon[j], rootC6[i]*rootC6[j]);
            energy += pair.energy;
            derivative[j] += pair.derivative;
        }
        // Beyond the cutoff a pair is what the reciprocal sum holds of it; the images are that sum less all its pairs.
        const int times = (ewald && direct && !within ? 1 : 0)-(includesImages ? 1 : 0);
        if (times != 0) {
            const Pair pair = pairInReciprocalSum(r2[j], charge[i]*charge[j], rootC6[i]*rootC6[j]);
            energy += times*pair.energy;
            derivative[j] += times*pair.derivative;
        }
    }
    scratch.energy += energy;

    double onX = 0.0, onY = 0.0, onZ = 0.0;
    double *forceX = scratch.forceX.data(), *forceY = scratch.forceY.data(), *forceZ = scratch.forceZ.data();
    for (int j = i+1; j < count; j++) {
        const double fx = dx[j]*derivative[j], fy = dy[j]*derivative[j], fz = dz[j]*derivative[j];
        forceX[j] -= fx;
        forceY[j] -= fy;
        forceZ[j] -= fz;
        onX += fx;
        onY += fy;
        onZ += fz;
    }
    forceX[i] += onX;
    forceY[i] += onY;
    forceZ[i] += onZ;
}

void RegionEnergy::computeRows(int first, int step, const Box& box, Scratch& scratch) const {
    for (auto* values : {&scratch.forceX, &scratch.forceY, &scratch.forceZ})
        std::fill(values->begin(), values->end(), 0.0);
    scratch.energy = 0.0;
    for (int i = first; i < (int) particles.size(); i += step) {
        for (int partner : partners[i])
            scratch.excluded[partner] = 1;
        computeRow(i, box, scratch);
        for (int partner : partners[i])
            scratch.excluded[partner] = 0;
    }
}

double RegionEnergy::computeExceptions(const vector<Vec3>& positions, const Box& box, vector<Vec3>& forces) const {
    double energy = 0.0;
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

double RegionEnergy::compute(const vector<Vec3>& positions, const Box& box, vector<Vec3>& forces) {
    const int count = (int) particles.size();
    for (int i = 0; i < count; i++) {
        x[i] = positions[i][0];
        y[i] = positions[i][1];
        z[i] = positions[i][2];
    }
    double energy = 0.0;
    if (images)
        energy += images->compute(positions, box, imageForces);
    if (threads) {
        threads->execute([&](ThreadPool& pool, int thread) {
            computeRows(thread, pool.getNumThreads(), box, scratches[thread]);
        });
        threads->waitForThreads();
    }
    else
        computeRows(0, 1, box, scratches[0]);
    forces.assign(count, Vec3());
    for (const Scratch& scratch : scratches) {
        energy += scratch.energy;
        for (int i = 0; i < count; i++)
            forces[i] += Vec3(scratch.forceX[i], scratch.forceY[i], scratch.forceZ[i]);
    }
    if (images)
        for (int i = 0; i < count; i++)
            forces[i] += imageForces[i];
    return energy+(includesPairs ? computeExceptions(positions, box, forces) : 0.0);
}
