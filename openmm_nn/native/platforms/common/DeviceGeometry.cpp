#include "DeviceGeometry.h"
#include "openmm/common/ContextSelector.h"
#include <algorithm>
#include <map>
#include <sstream>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::vector;

// One thread block does all of it: a region is small, and steps follow each other.
static const string kernelSource = R"(
#define BOX_TYPES mixed ax, mixed bx, mixed by, mixed cx, mixed cy, mixed cz
#define BOX ax, bx, by, cx, cy, cz
#ifdef USE_MIXED_PRECISION
    #define POSQ_TYPES GLOBAL const real4* RESTRICT posq, GLOBAL const int* RESTRICT slots, GLOBAL const real4* RESTRICT posqCorrection
    #define POSQ posq, slots, posqCorrection
#else
    #define POSQ_TYPES GLOBAL const real4* RESTRICT posq, GLOBAL const int* RESTRICT slots
    #define POSQ posq, slots
#endif

DEVICE mixed3 positionOf(int particle, POSQ_TYPES) {
    real4 pos = posq[slots[particle]];
#ifdef USE_MIXED_PRECISION
    real4 correction = posqCorrection[slots[particle]];
    return make_mixed3(pos.x+(mixed) correction.x, pos.y+(mixed) correction.y, pos.z+(mixed) correction.z);
#else
    return make_mixed3(pos.x, pos.y, pos.z);
#endif
}

DEVICE mixed3 minimumImage(mixed3 delta, BOX_TYPES) {
    mixed k = floor(delta.z/cz+0.5f);
    delta.x -= k*cx;
    delta.y -= k*cy;
    delta.z -= k*cz;
    k = floor(delta.y/by+0.5f);
    delta.x -= k*bx;
    delta.y -= k*by;
    delta.x -= floor(delta.x/ax+0.5f)*ax;
    return delta;
}

DEVICE mixed square(mixed3 v) {
    return v.x*v.x+v.y*v.y+v.z*v.z;
}

DEVICE mixed3 nearestImage(mixed3 delta, BOX_TYPES) {
    mixed3 rounded = minimumImage(delta, BOX);
    mixed3 best = rounded;
    if (bx == 0 && cx == 0 && cy == 0)
        return best;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            for (int k = -1; k <= 1; k++) {
                mixed3 image = make_mixed3(rounded.x+i*ax+j*bx+k*cx, rounded.y+j*by+k*cy, rounded.z+k*cz);
                if (square(image) < square(best))
                    best = image;
            }
    return best;
}

KERNEL void placeAtoms(BOX_TYPES, POSQ_TYPES, GLOBAL const int* RESTRICT parents, GLOBAL const int* RESTRICT componentStarts,
        GLOBAL const int* RESTRICT componentAtoms, GLOBAL const int2* RESTRICT linkAtoms, GLOBAL const mixed* RESTRICT linkValues,
        GLOBAL mixed4* RESTRICT places, GLOBAL mixed4* RESTRICT centroids, GLOBAL mixed4* RESTRICT offsets,
        GLOBAL mixed4* RESTRICT linkFrames, GLOBAL model* RESTRICT positions, GLOBAL float* RESTRICT status) {
    LOCAL mixed sums[3*BLOCK_SIZE];
    LOCAL mixed ends[6*BLOCK_SIZE];
    LOCAL int bad, jumped;
    if (LOCAL_ID == 0) {
        bad = 0;
        jumped = 0;
        status[BAD_FORCE] = 0;
    }
    SYNC_THREADS

    // Bonded atoms at minimum image: every atom follows the chain of its parents to the first atom of its component.

    for (int i = LOCAL_ID; i < NUM_INSIDE; i += LOCAL_SIZE) {
        mixed3 here = positionOf(i, POSQ);
        if (!(square(here) < FLT_MAX))
            bad = i+1;
        mixed4 place = make_mixed4(here.x, here.y, here.z, 0);
#ifdef MAKE_WHOLE
        mixed3 offset = make_mixed3(0, 0, 0);
        for (int parent = parents[i]; parent != -1; parent = parents[parent]) {
            mixed3 up = positionOf(parent, POSQ);
            mixed3 bond = minimumImage(make_mixed3(here.x-up.x, here.y-up.y, here.z-up.z), BOX);
            offset.x += bond.x;
            offset.y += bond.y;
            offset.z += bond.z;
            here = up;
        }
        place = make_mixed4(here.x+offset.x, here.y+offset.y, here.z+offset.z, 0);
#endif
        places[i] = place;
    }
    SYNC_THREADS
#if NUM_COMPONENTS > 1

    // Every further component at the image that is nearest to the first one.

    for (int c = LOCAL_ID; c < NUM_COMPONENTS; c += LOCAL_SIZE) {
        mixed4 sum = make_mixed4(0, 0, 0, 0);
        for (int k = componentStarts[c]; k < componentStarts[c+1]; k++) {
            mixed4 place = places[componentAtoms[k]];
            sum.x += place.x;
            sum.y += place.y;
            sum.z += place.z;
        }
        mixed count = componentStarts[c+1]-componentStarts[c];
        centroids[c] = make_mixed4(sum.x/count, sum.y/count, sum.z/count, 0);
    }
    SYNC_THREADS
    mixed4 first = centroids[0];
    SYNC_THREADS
    for (int c = LOCAL_ID; c < NUM_COMPONENTS; c += LOCAL_SIZE)
        if (c > 0) {
            mixed4 centroid = centroids[c];
            mixed3 delta = nearestImage(make_mixed3(centroid.x-first.x, centroid.y-first.y, centroid.z-first.z), BOX);
            mixed4 before = offsets[c];
            mixed far = 0.5f*min(ax, min(by, cz));
            if (before.w != 0 && square(make_mixed3(delta.x-before.x, delta.y-before.y, delta.z-before.z)) > far*far)
                jumped = 1;
            offsets[c] = make_mixed4(delta.x, delta.y, delta.z, 1);
            mixed3 shift = make_mixed3(first.x+delta.x-centroid.x, first.y+delta.y-centroid.y, first.z+delta.z-centroid.z);
            for (int k = componentStarts[c]; k < componentStarts[c+1]; k++) {
                mixed4 place = places[componentAtoms[k]];
                places[componentAtoms[k]] = make_mixed4(place.x+shift.x, place.y+shift.y, place.z+shift.z, 0);
            }
        }
    SYNC_THREADS
#endif
#ifdef MAKE_WHOLE

    // How far the region reaches along x, y and z.

    mixed4 low = places[0], high = low;
    for (int i = LOCAL_ID; i < NUM_INSIDE; i += LOCAL_SIZE) {
        mixed4 place = places[i];
        low = make_mixed4(min(low.x, place.x), min(low.y, place.y), min(low.z, place.z), 0);
        high = make_mixed4(max(high.x, place.x), max(high.y, place.y), max(high.z, place.z), 0);
    }
    ends[6*LOCAL_ID] = low.x;
    ends[6*LOCAL_ID+1] = low.y;
    ends[6*LOCAL_ID+2] = low.z;
    ends[6*LOCAL_ID+3] = high.x;
    ends[6*LOCAL_ID+4] = high.y;
    ends[6*LOCAL_ID+5] = high.z;
    SYNC_THREADS
    if (LOCAL_ID < 3) {
        mixed first = ends[LOCAL_ID], last = ends[LOCAL_ID+3];
        for (int i = 1; i < LOCAL_SIZE; i++) {
            first = min(first, ends[6*i+LOCAL_ID]);
            last = max(last, ends[6*i+LOCAL_ID+3]);
        }
        status[EXTENT+LOCAL_ID] = (float) (last-first);
    }
#endif

    // Link atoms.

    for (int i = LOCAL_ID; i < NUM_LINKS; i += LOCAL_SIZE) {
        int2 atoms = linkAtoms[i];
        mixed3 inside = positionOf(atoms.x, POSQ);
        mixed3 outside = positionOf(atoms.y, POSQ);
        mixed3 bond = make_mixed3(outside.x-inside.x, outside.y-inside.y, outside.z-inside.z);
#ifdef MINIMUM_IMAGE
        bond = minimumImage(bond, BOX);
#endif
        mixed length = sqrt(square(bond));
        if (!(length < FLT_MAX))
            bad = atoms.y+1;
        mixed4 frame = make_mixed4(bond.x/length, bond.y/length, bond.z/length, length);
        linkFrames[i] = frame;
        // A negative value is a ratio of lengths.
        mixed distance = (linkValues[i] < 0 ? -linkValues[i]*length : linkValues[i]);
        mixed4 place = places[atoms.x];
        places[NUM_INSIDE+i] = make_mixed4(place.x+distance*frame.x, place.y+distance*frame.y, place.z+distance*frame.z, 0);
    }
    SYNC_THREADS

    // Near the origin, where a single precision number is most precise.

#ifdef PERIODIC
    for (int i = LOCAL_ID; i < NUM_ATOMS; i += LOCAL_SIZE) {
        mixed4 place = places[i];
        mixed3 image = minimumImage(make_mixed3(place.x, place.y, place.z), BOX);
        positions[3*i] = image.x*UNIT;
        positions[3*i+1] = image.y*UNIT;
        positions[3*i+2] = image.z*UNIT;
    }
#else
    mixed3 sum = make_mixed3(0, 0, 0);
    for (int i = LOCAL_ID; i < NUM_ATOMS; i += LOCAL_SIZE) {
        mixed4 place = places[i];
        sum.x += place.x;
        sum.y += place.y;
        sum.z += place.z;
    }
    sums[3*LOCAL_ID] = sum.x;
    sums[3*LOCAL_ID+1] = sum.y;
    sums[3*LOCAL_ID+2] = sum.z;
    SYNC_THREADS
    if (LOCAL_ID < 3) {
        mixed total = 0;
        for (int i = 0; i < LOCAL_SIZE; i++)
            total += sums[3*i+LOCAL_ID];
        sums[LOCAL_ID] = total/NUM_ATOMS;
    }
    SYNC_THREADS
    for (int i = LOCAL_ID; i < NUM_ATOMS; i += LOCAL_SIZE) {
        mixed4 place = places[i];
        positions[3*i] = (place.x-sums[0])*UNIT;
        positions[3*i+1] = (place.y-sums[1])*UNIT;
        positions[3*i+2] = (place.z-sums[2])*UNIT;
    }
#endif
    if (LOCAL_ID == 0) {
        status[JUMPED] = jumped;
        status[BAD_POSITION] = bad;
    }
}

KERNEL void addForces(mixed factor, GLOBAL const model* RESTRICT forces, GLOBAL const int2* RESTRICT linkAtoms, GLOBAL const mixed* RESTRICT linkValues,
        GLOBAL const mixed4* RESTRICT linkFrames, GLOBAL const int* RESTRICT slots, GLOBAL mm_long* RESTRICT forceBuffers, GLOBAL float* RESTRICT status) {
    for (int i = GLOBAL_ID; i < NUM_PARTICLES; i += GLOBAL_SIZE) {
        mixed3 total = make_mixed3(0, 0, 0);
        if (i < NUM_INSIDE)
            total = make_mixed3(factor*forces[3*i], factor*forces[3*i+1], factor*forces[3*i+2]);
        for (int k = 0; k < NUM_LINKS; k++) {
            int2 atoms = linkAtoms[k];
            if (atoms.x == i || atoms.y == i) {
                int atom = NUM_INSIDE+k;
                mixed3 force = make_mixed3(factor*forces[3*atom], factor*forces[3*atom+1], factor*forces[3*atom+2]);
                mixed4 frame = linkFrames[k];
                mixed value = linkValues[k], along = 0, ratio = -value;
                if (value > 0) {
                    ratio = value/frame.w;
                    along = force.x*frame.x+force.y*frame.y+force.z*frame.z;
                }
                mixed3 onOutside = make_mixed3(ratio*(force.x-along*frame.x), ratio*(force.y-along*frame.y), ratio*(force.z-along*frame.z));
                if (atoms.y == i) {
                    total.x += onOutside.x;
                    total.y += onOutside.y;
                    total.z += onOutside.z;
                }
                else {
                    total.x += force.x-onOutside.x;
                    total.y += force.y-onOutside.y;
                    total.z += force.z-onOutside.z;
                }
            }
        }
        if (!(square(total) < (mixed) FORCE_LIMIT*FORCE_LIMIT))
            status[BAD_FORCE] = 1;
        else {
            int slot = slots[i];
            forceBuffers[slot] += (mm_long) (total.x*0x100000000);
            forceBuffers[slot+PADDED_NUM_ATOMS] += (mm_long) (total.y*0x100000000);
            forceBuffers[slot+2*PADDED_NUM_ATOMS] += (mm_long) (total.z*0x100000000);
        }
    }
}
)";

/** An array of at least one element, which OpenMM asks for, filled from a vector. */
template <class T>
static void fill(ComputeContext& cc, ComputeArray& array, vector<T> values, const string& name) {
    values.resize(std::max(values.size(), (size_t) 1));
    array.initialize<T>(cc, values.size(), name);
    array.upload(values);
}

static string exact(double value) {
    std::stringstream stream;
    stream.precision(17);
    stream << std::scientific << value;
    return stream.str();
}

DeviceGeometry::DeviceGeometry(ComputeContext& cc, const Engine& engine, bool doubleModel) : cc(cc),
        mixedIsDouble(cc.getUseDoublePrecision() || cc.getUseMixedPrecision()), numParticles(engine.getParticles().size()), slots(cc, engine.getParticles()) {
    ContextSelector selector(cc);
    const int numInside = engine.getNumInside(), numLinks = engine.getLinks().size(), numAtoms = numInside+numLinks;
    vector<int> parentOf(numInside, -1), starts = {0}, atoms;
    for (auto& component : engine.getWholeMaker().getComponents()) {
        for (auto& step : component) {
            parentOf[step.atom] = step.parent;
            atoms.push_back(step.atom);
        }
        starts.push_back(atoms.size());
    }
    vector<mm_int2> ends;
    vector<double> values;
    for (auto& link : engine.getLinks()) {
        ends.push_back(mm_int2(link.inside, link.outside));
        values.push_back(link.rule == NeuralForce::Fixed ? link.value : -link.value);
    }
    fill(cc, parents, parentOf, "regionParents");
    fill(cc, componentStarts, starts, "regionComponentStarts");
    fill(cc, componentAtoms, atoms, "regionComponentAtoms");
    fill(cc, linkAtoms, ends, "regionLinkAtoms");
    const int mixedSize = (mixedIsDouble ? sizeof(double) : sizeof(float));
    if (mixedIsDouble)
        fill(cc, linkValues, values, "regionLinkValues");
    else
        fill(cc, linkValues, vector<float>(values.begin(), values.end()), "regionLinkValues");
    places.initialize(cc, numAtoms, 4*mixedSize, "regionPlaces");
    centroids.initialize(cc, starts.size(), 4*mixedSize, "regionCentroids");
    offsets.initialize(cc, starts.size(), 4*mixedSize, "regionOffsets");
    cc.clearBuffer(offsets);
    linkFrames.initialize(cc, std::max(numLinks, 1), 4*mixedSize, "regionLinkFrames");
    const int modelSize = (doubleModel ? sizeof(double) : sizeof(float));
    positions.initialize(cc, 3*numAtoms, modelSize, "modelPositions");
    forces.initialize(cc, 3*numAtoms, modelSize, "modelForces");
    status.initialize<float>(cc, StatusSize, "regionStatus");

    // Where the region is whole by its own choice of images, a component is moved as one.

    const bool makeWhole = engine.makesWhole();
    blockSize = (numAtoms <= 64 ? 64 : 256);
    map<string, string> defines;
    defines["model"] = (doubleModel ? "double" : "float");
    defines["NUM_INSIDE"] = cc.intToString(numInside);
    defines["NUM_LINKS"] = cc.intToString(numLinks);
    defines["NUM_ATOMS"] = cc.intToString(numAtoms);
    defines["NUM_PARTICLES"] = cc.intToString(numParticles);
    defines["NUM_COMPONENTS"] = cc.intToString(makeWhole ? starts.size()-1 : 0);
    defines["BLOCK_SIZE"] = cc.intToString(blockSize);
    defines["PADDED_NUM_ATOMS"] = cc.intToString(cc.getPaddedNumAtoms());
    defines["UNIT"] = "((mixed) "+exact(1.0/engine.getSignature().lengthFactor)+(mixedIsDouble ? "" : "f")+")";
    defines["FORCE_LIMIT"] = "2147483647.0f"; // OpenMM accumulates forces as 64 bit fixed point numbers with 32 bits after the point
    defines["EXTENT"] = cc.intToString(ExtentX);
    defines["JUMPED"] = cc.intToString(Jumped);
    defines["BAD_POSITION"] = cc.intToString(BadPosition);
    defines["BAD_FORCE"] = cc.intToString(BadForce);
    if (makeWhole)
        defines["MAKE_WHOLE"] = "";
    if (engine.isPeriodic())
        defines["PERIODIC"] = "";
    if (makeWhole || engine.isPeriodic())
        defines["MINIMUM_IMAGE"] = "";
    ComputeProgram program = cc.compileProgram(kernelSource, defines);
    placeKernel = program->createKernel("placeAtoms");
    for (int i = 0; i < 6; i++)
        placeKernel->addArg();
    placeKernel->addArg(cc.getPosq());
    placeKernel->addArg(slots.getArray());
    if (cc.getUseMixedPrecision())
        placeKernel->addArg(cc.getPosqCorrection());
    for (ComputeArray* array : {&parents, &componentStarts, &componentAtoms, &linkAtoms, &linkValues, &places, &centroids, &offsets, &linkFrames, &positions, &status})
        placeKernel->addArg(*array);
    addKernel = program->createKernel("addForces");
    addKernel->addArg();
    for (ComputeArray* array : {&forces, &linkAtoms, &linkValues, &linkFrames, &slots.getArray()})
        addKernel->addArg(*array);
    addKernel->addArg(cc.getLongForceBuffer());
    addKernel->addArg(status);
}

template <class T>
void DeviceGeometry::setBox() {
    Vec3 a, b, c;
    cc.getPeriodicBoxVectors(a, b, c);
    const T values[] = {(T) a[0], (T) b[0], (T) b[1], (T) c[0], (T) c[1], (T) c[2]};
    for (int i = 0; i < 6; i++)
        placeKernel->setArg(i, values[i]);
}

void DeviceGeometry::place() {
    ContextSelector selector(cc);
    if (mixedIsDouble)
        setBox<double>();
    else
        setBox<float>();
    placeKernel->execute(blockSize, blockSize);
}

void DeviceGeometry::addForces(double factor) {
    ContextSelector selector(cc);
    if (mixedIsDouble)
        addKernel->setArg(0, factor);
    else
        addKernel->setArg(0, (float) factor);
    addKernel->execute(numParticles);
}
