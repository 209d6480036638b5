#include "RegionImages.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/NonbondedForceImpl.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <algorithm>
#include <cmath>
#include <typeinfo>

using namespace OpenMM;
using namespace OpenMMNN;
using std::complex;
using std::vector;

// The interpolation order of OpenMM's meshes.
static const int meshOrder = 5;

RegionImages::RegionImages(const RegionForce& force, const System& system) : method(force.getNonbondedMethod()), totalCharge(0.0) {
    force.getEwaldAlpha(alpha, dispersionAlpha);
    force.getPMEGrid(grid[0], grid[1], grid[2]);
    force.getLJPMEGrid(dispersionGrid[0], dispersionGrid[1], dispersionGrid[2]);
    double squares = 0.0, c6 = 0.0;
    for (int i = 0; i < force.getNumParticles(); i++) {
        int particle;
        double q, sigma, epsilon;
        force.getParticleParameters(i, particle, q, sigma, epsilon);
        charge.push_back(q);
        rootC6.push_back(2.0*std::sqrt(epsilon)*sigma*sigma*sigma);
        totalCharge += q;
        squares += q*q;
        c6 += rootC6[i]*rootC6[i];
    }
    selfEnergy = -ONE_4PI_EPS0*alpha/std::sqrt(M_PI)*squares;
    if (method == NonbondedForce::LJPME)
        selfEnergy += std::pow(dispersionAlpha, 6.0)*c6/12.0;

    // OpenMM's own rules for what was not given.
    NonbondedForce rules;
    rules.setNonbondedMethod(method);
    rules.setCutoffDistance(force.getCutoffDistance());
    rules.setEwaldErrorTolerance(force.getEwaldErrorTolerance());
    double ignored;
    if (method == NonbondedForce::Ewald)
        NonbondedForceImpl::calcEwaldParameters(system, rules, ignored, waves[0], waves[1], waves[2]);
    else if (grid[0] == 0)
        NonbondedForceImpl::calcPMEParameters(system, rules, ignored, grid[0], grid[1], grid[2], false);
    if (method == NonbondedForce::LJPME && dispersionGrid[0] == 0)
        NonbondedForceImpl::calcPMEParameters(system, rules, ignored, dispersionGrid[0], dispersionGrid[1], dispersionGrid[2], true);
    makeMeshes();
}

void RegionImages::makeMeshes() {
    if (method == NonbondedForce::Ewald)
        return;
    mesh.reset(new ReferencePME(alpha, (int) charge.size(), grid, meshOrder, 1.0));
    if (method == NonbondedForce::LJPME)
        dispersionMesh.reset(new ReferencePME(dispersionAlpha, (int) charge.size(), dispersionGrid, meshOrder, 1.0));
}

/**
 * Ask a NonbondedForce which grid it uses.  With LJPME some platforms of OpenMM 8.6 cannot tell (the CPU platform of
 * dispersion, the GPU platforms of charges): they throw, and the grid by the rule stays.
 */
template <class Getter>
static void askGrid(Getter getter, double alpha, int* grid) {
    try {
        double theirs;
        int size[3];
        getter(theirs, size[0], size[1], size[2]);
        if (std::fabs(theirs-alpha) < 1e-6*alpha)
            std::copy(size, size+3, grid);
    }
    catch (const std::bad_cast&) {
    }
    catch (const OpenMMException&) {
    }
}

void RegionImages::takeGridOf(ContextImpl& context) {
    if (method == NonbondedForce::Ewald)
        return;
    for (const ForceImpl* impl : context.getForceImpls()) {
        const NonbondedForceImpl* nonbonded = dynamic_cast<const NonbondedForceImpl*>(impl);
        if (nonbonded == NULL || nonbonded->getOwner().getNonbondedMethod() != method)
            continue;
        askGrid([&](double& a, int& x, int& y, int& z) { nonbonded->getPMEParameters(a, x, y, z); }, alpha, grid);
        if (method == NonbondedForce::LJPME)
            askGrid([&](double& a, int& x, int& y, int& z) { nonbonded->getLJPMEParameters(a, x, y, z); }, dispersionAlpha, dispersionGrid);
        makeMeshes();
        return;
    }
}

double RegionImages::compute(const vector<Vec3>& positions, const Box& box, vector<Vec3>& forces) {
    const double volume = box.a[0]*box.b[1]*box.c[2];
    double energy = selfEnergy-M_PI*ONE_4PI_EPS0*totalCharge*totalCharge/(2.0*volume*alpha*alpha);
    forces.assign(positions.size(), Vec3());
    if (method == NonbondedForce::Ewald)
        return energy+sumWaves(positions, box, forces);
    const Vec3 vectors[3] = {box.a, box.b, box.c};
    double reciprocal = 0.0;
    mesh->exec(positions, forces, charge, vectors, reciprocal);
    energy += reciprocal;
    if (dispersionMesh) {
        meshForces.assign(positions.size(), Vec3());
        dispersionMesh->exec_dpme(positions, meshForces, rootC6, vectors, reciprocal);
        energy += reciprocal;
        for (size_t i = 0; i < forces.size(); i++)
            forces[i] += meshForces[i];
    }
    return energy;
}

double RegionImages::sumWaves(const vector<Vec3>& positions, const Box& box, vector<Vec3>& forces) {
    if (box.b[0] != 0.0 || box.c[0] != 0.0 || box.c[1] != 0.0)
        throw OpenMMException("RegionForce: the box is triclinic and the method Ewald, whose images are summed in rectangular boxes; use PME");
    const size_t count = positions.size();
    const double unit[3] = {2.0*M_PI/box.a[0], 2.0*M_PI/box.b[1], 2.0*M_PI/box.c[2]};
    for (int axis = 0; axis < 3; axis++) {
        phases[axis].resize(waves[axis]*count);
        for (size_t i = 0; i < count; i++) {
            const complex<double> first = std::polar(1.0, unit[axis]*positions[i][axis]);
            complex<double> power = 1.0;
            for (int n = 0; n < waves[axis]; n++, power *= first)
                phases[axis][n*count+i] = power;
        }
    }
    planes.resize(count);
    products.resize(count);
    const double factor = 4.0*M_PI*ONE_4PI_EPS0/(box.a[0]*box.b[1]*box.c[2]);
    double energy = 0.0;
    // Half of all wave vectors: the other half is the same by symmetry.
    int lowY = 0, lowZ = 1;
    for (int x = 0; x < waves[0]; x++) {
        const complex<double>* phaseX = &phases[0][x*count];
        for (int y = lowY; y < waves[1]; y++) {
            const complex<double>* phaseY = &phases[1][std::abs(y)*count];
            for (size_t i = 0; i < count; i++)
                planes[i] = charge[i]*phaseX[i]*(y < 0 ? std::conj(phaseY[i]) : phaseY[i]);
            for (int z = lowZ; z < waves[2]; z++) {
                const complex<double>* phaseZ = &phases[2][std::abs(z)*count];
                complex<double> sum = 0.0;
                for (size_t i = 0; i < count; i++) {
                    products[i] = planes[i]*(z < 0 ? std::conj(phaseZ[i]) : phaseZ[i]);
                    sum += products[i];
                }
                const Vec3 k(x*unit[0], y*unit[1], z*unit[2]);
                const double k2 = k.dot(k), weight = factor*std::exp(-k2/(4.0*alpha*alpha))/k2;
                energy += weight*std::norm(sum);
                for (size_t i = 0; i < count; i++)
                    forces[i] += k*(2.0*weight*(products[i].imag()*sum.real()-products[i].real()*sum.imag()));
            }
            lowZ = 1-waves[2];
        }
        lowY = 1-waves[1];
    }
    return energy;
}
