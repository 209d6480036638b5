#include "Engine.h"
#include "RunnerFactory.h"
#include "openmm/OpenMMException.h"
#include <ATen/Parallel.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <sstream>
#ifdef __GLIBC__
#include <malloc.h>
#endif

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

// A box is narrower than the shortest bond between two atoms of one element that are heavier than hydrogen (nm), or holds
// more atoms in a cubic nanometre than hydrogen does at the highest pressure of experiments: geometry.py has the sources.
static const double smallestBoxHeight = 0.109, densestMatter = 700.0;

// Below this many atoms a second thread costs more than it saves, since torch's threads wait by spinning on the cores
// that OpenMM's threads want.  A larger model that runs beside them leaves them one core.  The property "threads"
// overrides both.
static const int singleThreadAtoms = 100;

/**
 * Let the allocator keep the memory that an evaluation frees.  By default glibc gives it back to the system after every
 * evaluation and has it mapped in again, page by page, in the next: 4,225 page faults a step for 202 atoms, a quarter of
 * the time.  Whoever has chosen these settings through the environment keeps them.
 */
static void keepFreedMemory() {
#ifdef __GLIBC__
    static std::once_flag once;
    std::call_once(once, [] {
        for (const char* name : {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"})
            if (std::getenv(name) != NULL)
                return;
        mallopt(M_MMAP_THRESHOLD, 32<<20);
        mallopt(M_TRIM_THRESHOLD, 512<<20);
        mallopt(M_TOP_PAD, 64<<20); // else a thread's heap that is empty for a moment is unmapped, whatever the threshold
    });
#endif
}

static string formatted(const Vec3& v) {
    std::stringstream stream;
    stream << "(" << v[0] << ", " << v[1] << ", " << v[2] << ")";
    return stream.str();
}

static bool isFinite(const Vec3& v) {
    return std::isfinite(v[0]) && std::isfinite(v[1]) && std::isfinite(v[2]);
}

Engine::Engine(const NeuralForce& force, const System& system, bool platformDouble, bool concurrent, const string& device) :
        platformDouble(platformDouble), concurrent(concurrent), device(device), firstEvaluation(true), warnedOfExtent(false), warnedOfJump(false), warm(false), numMassive(0), numEvaluations(0), numWarmups(0), numAtoms(0), numEdges(0), numBytes(0) {
    keepFreedMemory();
    for (int i = 0; i < system.getNumParticles(); i++)
        numMassive += (system.getParticleMass(i) > 0.0 ? 1 : 0);
    particles = force.getParticles();
    if (particles.empty())
        for (int i = 0; i < system.getNumParticles(); i++)
            particles.push_back(i);
    numInside = (int) particles.size();
    vector<int> indexOf(system.getNumParticles(), -1);
    for (int i = 0; i < numInside; i++)
        indexOf[particles[i]] = i;
    for (int i = 0; i < force.getNumLinks(); i++) {
        Link link;
        int inside, outside;
        force.getLinkParameters(i, inside, outside, link.rule, link.value);
        link.inside = indexOf[inside];
        if (indexOf[outside] == -1) {
            // Two links may share an outside atom.
            indexOf[outside] = (int) particles.size();
            particles.push_back(outside);
        }
        link.outside = indexOf[outside];
        links.push_back(link);
    }
    vector<int64_t>& atomicNumbers = inputs.atomicNumbers;
    atomicNumbers.assign(force.getAtomicNumbers().begin(), force.getAtomicNumbers().end());
    atomicNumbers.resize(numInside, 0); // a model that takes no atomic numbers may have been given none
    atomicNumbers.resize(numInside+links.size(), 1);
    inputs.charge = force.getCharge();
    inputs.multiplicity = force.getMultiplicity();
    inputs.positions.resize(3*atomicNumbers.size());
    scaleParameter = force.getScaleParameter();
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        derivativeNames.push_back(force.getEnergyParameterDerivativeName(i));
    periodic = force.usesPeriodicBoundaryConditions();
    makeWhole = (!periodic && system.usesPeriodicBoundaryConditions());
    for (int i = 0; i < force.getNumBonds(); i++) {
        int a, b;
        force.getBondParameters(i, a, b);
        a = indexOf[a];
        b = indexOf[b];
        if (a != -1 && a < numInside && b != -1 && b < numInside)
            bonds.push_back(std::make_pair(a, b));
    }
    wholeMaker.reset(new WholeMaker(numInside, bonds));
    setModel(force);
}

Engine::~Engine() {
}

void Engine::setModel(const NeuralForce& force) {
    ModelSignature newSignature = force.getSignature();
    newSignature.validate();
    std::shared_ptr<ModelRunner> newRunner = force.getRunner();
    if (!newRunner) {
        map<string, string> properties = force.getProperties();
        if (inputs.numAtoms() < singleThreadAtoms)
            properties.insert({"threads", "1"});
        else if (concurrent)
            properties.insert({"threads", to_string(std::max(1, at::get_num_threads()-1))});
        newRunner = createRunner(force, inputs.atomicNumbers, properties, platformDouble, device);
    }
    signature = newSignature;
    runner = newRunner;
    energyOffset = force.getEnergyOffset();
    modelParameters = signature.getParameters();
    neighborList.reset(signature.usesEdges() ? new NeighborList(signature.cutoff/signature.lengthFactor) : NULL);
    warm = false;
}

vector<string> Engine::getParameterNames() const {
    vector<string> names = modelParameters;
    if (!scaleParameter.empty())
        names.push_back(scaleParameter);
    return names;
}

bool Engine::canRunOnAnyThread() const {
    return runner->canRunOnAnyThread();
}

string Engine::describeAtom(int modelAtom) const {
    if (modelAtom < numInside)
        return "particle "+to_string(particles[modelAtom])+" (atom "+to_string(modelAtom)+" of the potential)";
    const Link& link = links[modelAtom-numInside];
    return "the link atom on the bond of particles "+to_string(particles[link.inside])+" and "+to_string(particles[link.outside]);
}

void Engine::throwBadPosition(int particle) const {
    throw OpenMMException("NeuralForce: the position of particle "+to_string(particles[particle])+" is not finite. "
            "The simulation has become unstable, or the positions that were set are not numbers; look at the last good state");
}

void Engine::checkExtents(const vector<Vec3>& whole, const Box& box) {
    // Positions in single precision, and atoms exactly half an edge apart, are no reason to stop.
    const double tolerance = 1e-6;
    const std::array<Extent, 3> extents = findExtents(whole);
    int axis = -1;
    for (int k = 0; k < 3 && axis == -1; k++)
        if (!(extents[k].length <= 0.5*box.edges()[k]*(1.0+tolerance)))
            axis = k;
    if (axis == -1 || warnedOfExtent)
        return;
    std::stringstream message;
    auto isTorn = [&](const std::pair<int, int>& bond) {
        Vec3 vector = whole[bond.first]-whole[bond.second], rest = vector-box.minimumImage(vector);
        return rest.dot(rest) > tolerance;
    };
    const auto torn = std::find_if(bonds.begin(), bonds.end(), isTorn);
    if (torn != bonds.end())
        message << "NeuralForce: the region is bonded to its own periodic image, as a polymer, a sheet or a crystal is: the bond of "
                << describeAtom(torn->first) << " and " << describeAtom(torn->second) << " leads to the next box, so the region cannot be a cluster. "
                "Give the potential the box with periodic=True";
    else
        message << "NeuralForce: the region reaches " << extents[axis].length << " nm along " << "xyz"[axis] << ", from " << describeAtom(extents[axis].first) << " to "
                << describeAtom(extents[axis].last) << ", which is more than half the box (" << box.edges()[axis] << " nm): the potential sees these two where they are, "
                "and the other forces act between nearer images of them. Use a larger box, a smaller region, or give the potential the box with periodic=True";
    if (firstEvaluation)
        throw OpenMMException(message.str());
    std::cerr << "WARNING: " << message.str() << "." << std::endl;
    warnedOfExtent = true;
}

bool Engine::hasJumped(const vector<Vec3>& offsets, const Box& box) {
    const Vec3 edges = box.edges();
    const double far = 0.5*std::min({edges[0], edges[1], edges[2]});
    bool jumped = false;
    for (size_t i = 0; i < lastOffsets.size() && !jumped; i++) {
        Vec3 change = offsets[i]-lastOffsets[i];
        jumped = (change.dot(change) > far*far);
    }
    lastOffsets = offsets;
    return jumped;
}

void Engine::checkJump(bool jumped, const Box& box) {
    const Vec3 edges = box.edges();
    const bool reaches = (signature.longRange || signature.cutoff == 0.0 || signature.cutoff > 0.5*std::min({edges[0], edges[1], edges[2]}));
    firstEvaluation = false;
    if (!jumped || !reaches || warnedOfJump)
        return;
    std::cerr << "WARNING: NeuralForce: a molecule of the region has passed half the box from its first one (that of " << describeAtom(0) << "), so the potential, "
            "which reaches as far, sees another of its images from now on, and its forces have jumped. Use a larger box, hold the region together, "
            "or give the potential the box with periodic=True." << std::endl;
    warnedOfJump = true;
}

void Engine::checkPlaced(const float* extents, bool jumped, const Vec3* boxVectors, const std::function<vector<double>()>& positions) {
    const Box box = {boxVectors[0], boxVectors[1], boxVectors[2]};
    bool tooLong = false;
    for (int k = 0; k < 3; k++)
        tooLong |= !(extents[k] <= 0.5*box.edges()[k]);
    if (tooLong && !warnedOfExtent) {
        const vector<double> x = positions();
        vector<Vec3> whole(numInside);
        for (int i = 0; i < numInside; i++)
            whole[i] = Vec3(x[3*i], x[3*i+1], x[3*i+2])*signature.lengthFactor;
        checkExtents(whole, box);
    }
    checkJump(jumped, box);
}

void Engine::prepare(vector<Vec3> positions, const Vec3* boxVectors, const ParameterSource& parameters) {
    for (size_t i = 0; i < positions.size(); i++)
        if (!isFinite(positions[i]))
            throwBadPosition(i);
    Box box = {boxVectors[0], boxVectors[1], boxVectors[2]};

    // Re-image.  A model whose frame is absolute gets positions as they are.

    if (makeWhole && signature.invariant) {
        vector<Vec3> outside(positions.begin()+numInside, positions.end());
        positions.resize(numInside);
        vector<Vec3> offsets = wholeMaker->apply(positions, box);
        checkExtents(positions, box);
        checkJump(hasJumped(offsets, box), box);
        positions.insert(positions.end(), outside.begin(), outside.end());
    }

    // Place the link atoms.

    for (Link& link : links) {
        Vec3 bond = positions[link.outside]-positions[link.inside];
        if (makeWhole || periodic)
            bond = box.minimumImage(bond);
        link.length = std::sqrt(bond.dot(bond));
        link.direction = bond/link.length;
    }
    vector<Vec3>& atoms = positions;
    atoms.resize(numInside);
    for (const Link& link : links)
        atoms.push_back(atoms[link.inside]+link.direction*(link.rule == NeuralForce::Fixed ? link.value : link.value*link.length));

    // Bring the atoms near the origin, where a single precision number is most precise.

    if (signature.invariant && periodic) {
        for (Vec3& atom : atoms)
            atom = box.minimumImage(atom);
    }
    else if (signature.invariant) {
        Vec3 center;
        for (const Vec3& atom : atoms)
            center += atom;
        center /= (double) atoms.size();
        for (Vec3& atom : atoms)
            atom -= center;
    }

    // Convert units.

    const double unit = 1.0/signature.lengthFactor;
    for (size_t i = 0; i < atoms.size(); i++)
        for (int k = 0; k < 3; k++)
            inputs.positions[3*i+k] = atoms[i][k]*unit;
    prepareModel(boxVectors, parameters);
}

void Engine::prepareModel(const Vec3* boxVectors, const ParameterSource& parameters) {
    checkBox(boxVectors);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            inputs.box[3*i+k] = (periodic ? boxVectors[i][k]/signature.lengthFactor : 0.0);
    inputs.parameters.resize(modelParameters.size());
    for (size_t i = 0; i < modelParameters.size(); i++)
        inputs.parameters[i] = parameters(modelParameters[i]);

    if (neighborList)
        neighborList->compute(inputs, periodic);
}

void Engine::checkBox(const Vec3* boxVectors) const {
    if (!periodic && !makesWhole())
        return;
    const double height = Box({boxVectors[0], boxVectors[1], boxVectors[2]}).smallestHeight();
    const double volume = boxVectors[0][0]*boxVectors[1][1]*boxVectors[2][2];
    if (!(height >= smallestBoxHeight && volume*densestMatter >= numMassive))
        throw OpenMMException("NeuralForce: the periodic box is "+formatted(boxVectors[0])+", "+formatted(boxVectors[1])+", "+formatted(boxVectors[2])+
                " nm for "+to_string(numMassive)+" atoms, which is no box that they fit into. Set the box of the structure, or make the System without one");
    if (periodic && !signature.usesEdges() && signature.cutoff > 0.5*height)
        throw OpenMMException("NeuralForce: the potential's cutoff is "+to_string(signature.cutoff)+" nm, more than half the smallest height of the periodic box ("+
                to_string(height)+" nm), and it finds its own neighbours among nearest images only. Use a larger box, or a potential that takes edges");
}

void Engine::run(const ModelRequest& request) {
    if (!warm) {
        for (int i = 0; i < runner->getNumWarmupRuns(); i++) {
            ModelRequest everything = request;
            everything.forces = !request.memberForces;
            runner->run(inputs, everything, outputs);
            numWarmups++;
        }
        warm = true;
    }
    runner->run(inputs, request, outputs);
    count(1, 0, inputs.edgeIndex.size()/2, sizeof(double)*(inputs.positions.size()+inputs.edgeShifts.size()+outputs.forces.size()+outputs.energies.size())+
            sizeof(int64_t)*(inputs.edgeIndex.size()+inputs.atomicNumbers.size()));
    checkFinite(inputs.positions, request, outputs);
}

void Engine::count(long long evaluations, long long warmups, long long edges, long long bytes) {
    numEvaluations += evaluations;
    numWarmups += warmups;
    numAtoms += evaluations*inputs.numAtoms();
    numEdges += edges;
    numBytes += bytes;
}

void Engine::checkFinite(const vector<double>& positions, const ModelRequest& request, const ModelOutputs& outputs) const {
    size_t n = inputs.numAtoms(), members = (request.memberForces ? outputs.energies.size() : 1);
    if (outputs.energies.empty() || ((request.forces || request.memberForces) && outputs.forces.size() != 3*n*members))
        throw OpenMMException("NeuralForce: the runner of the model returned "+to_string(outputs.energies.size())+" energies and "+
                to_string(outputs.forces.size())+" force components for "+to_string(n)+" atoms");
    for (double energy : outputs.energies)
        if (!std::isfinite(energy))
            throw OpenMMException("NeuralForce: the energy of the potential is "+to_string(energy)+
                    ". Atoms may be too close or too far apart for it; look at the last good state of the simulation");
    for (size_t i = 0; i < outputs.forces.size(); i++)
        if (!std::isfinite(outputs.forces[i])) {
            int atom = (int) (i/3%n);
            const double* x = &positions[3*atom];
            double unit = signature.lengthFactor;
            throw OpenMMException("NeuralForce: the force of the potential on "+describeAtom(atom)+" is "+to_string(outputs.forces[i])+", its position "+
                    formatted(Vec3(x[0], x[1], x[2])*unit)+" nm in the potential's frame. Atoms may be too close or too far apart for it; look at the last good state of the simulation");
        }
}

double Engine::getScale(const ParameterSource& parameters) const {
    return scaleParameter.empty() ? 1.0 : parameters(scaleParameter);
}

void Engine::projectLinkForces(const vector<double>& modelForces, double factor, vector<Vec3>& forces) const {
    forces.assign(particles.size(), Vec3());
    for (int i = 0; i < numInside; i++)
        forces[i] = Vec3(modelForces[3*i], modelForces[3*i+1], modelForces[3*i+2])*factor;
    for (size_t i = 0; i < links.size(); i++) {
        const Link& link = links[i];
        const double* f = &modelForces[3*(numInside+i)];
        Vec3 force = Vec3(f[0], f[1], f[2])*factor, onOutside;
        if (link.rule == NeuralForce::Fixed)
            onOutside = (force-link.direction*force.dot(link.direction))*(link.value/link.length);
        else
            onOutside = force*link.value;
        forces[link.outside] += onOutside;
        forces[link.inside] += force-onOutside;
    }
}

static double mean(const vector<double>& values) {
    double sum = 0.0;
    for (double value : values)
        sum += value;
    return sum/values.size();
}

ModelRequest Engine::makeRequest(bool includeForces) const {
    ModelRequest request;
    request.forces = includeForces;
    for (const string& name : derivativeNames)
        for (size_t i = 0; i < modelParameters.size(); i++)
            if (modelParameters[i] == name)
                request.derivatives.push_back((int) i);
    return request;
}

void Engine::convert(const ModelRequest& request, const ModelOutputs& outputs, const ParameterSource& parameters, Result& result) const {
    double scale = getScale(parameters);
    double energy = signature.energyFactor*mean(outputs.energies)+energyOffset;
    result.energy = scale*energy;
    result.derivatives.clear();
    for (const string& name : derivativeNames)
        result.derivatives[name] = (name == scaleParameter ? energy : 0.0);
    for (size_t i = 0; i < request.derivatives.size(); i++)
        result.derivatives[modelParameters[request.derivatives[i]]] += scale*signature.energyFactor*outputs.derivatives[i];
}

double Engine::getForceFactor(const ParameterSource& parameters) const {
    return getScale(parameters)*signature.energyFactor/signature.lengthFactor;
}

void Engine::evaluate(const vector<Vec3>& positions, const Vec3* box, const ParameterSource& parameters, bool includeForces, Result& result) {
    prepare(positions, box, parameters);
    ModelRequest request = makeRequest(includeForces);
    run(request);
    convert(request, outputs, parameters, result);
    if (includeForces)
        projectLinkForces(outputs.forces, getForceFactor(parameters), result.forces);
}

const vector<double>& Engine::evaluatePlaced(const vector<double>& positions, const Vec3* box, const ParameterSource& parameters,
        bool includeForces, Result& result) {
    inputs.positions = positions;
    prepareModel(box, parameters);
    ModelRequest request = makeRequest(includeForces);
    run(request);
    convert(request, outputs, parameters, result);
    return outputs.forces;
}

vector<double> Engine::getMemberEnergies(const vector<Vec3>& positions, const Vec3* box, const ParameterSource& parameters) {
    prepare(positions, box, parameters);
    run(ModelRequest());
    vector<double> energies;
    for (double energy : outputs.energies)
        energies.push_back(getScale(parameters)*(signature.energyFactor*energy+energyOffset));
    return energies;
}

vector<double> Engine::getForceStd(const vector<Vec3>& positions, const Vec3* box, const ParameterSource& parameters) {
    prepare(positions, box, parameters);
    ModelRequest request;
    request.memberForces = true;
    run(request);
    size_t members = outputs.energies.size(), n = 3*inputs.numAtoms();
    if (members < 2)
        throw OpenMMException("getForceStd: the potential has one member, and a standard deviation needs two or more; use a committee");
    double factor = std::fabs(getScale(parameters))*signature.energyFactor/signature.lengthFactor;
    vector<double> result(inputs.numAtoms());
    for (size_t i = 0; i < n; i++) {
        double average = 0.0, variance = 0.0;
        for (size_t k = 0; k < members; k++)
            average += outputs.forces[k*n+i]/members;
        for (size_t k = 0; k < members; k++)
            variance += std::pow(outputs.forces[k*n+i]-average, 2)/(members-1);
        result[i/3] += variance;
    }
    for (double& value : result)
        value = factor*std::sqrt(value);
    return result;
}

map<string, long long> Engine::getStatistics() const {
    return {{"evaluations", numEvaluations}, {"warmup_evaluations", numWarmups}, {"atoms", numAtoms}, {"edges", numEdges}, {"bytes", numBytes}};
}
