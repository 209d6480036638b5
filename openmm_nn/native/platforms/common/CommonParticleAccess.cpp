#include "CommonParticleAccess.h"
#include "openmm/common/ContextSelector.h"
#include "openmm/OpenMMException.h"
#include <cmath>
#include <map>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::vector;

static const string kernelSource = R"(
KERNEL void gatherPositions(GLOBAL const real4* RESTRICT posq, GLOBAL mixed* RESTRICT positions, GLOBAL const int* RESTRICT slots, int numParticles
#ifdef USE_MIXED_PRECISION
        , GLOBAL const real4* RESTRICT posqCorrection
#endif
        ) {
    for (int i = GLOBAL_ID; i < numParticles; i += GLOBAL_SIZE) {
        real4 pos = posq[slots[i]];
#ifdef USE_MIXED_PRECISION
        real4 correction = posqCorrection[slots[i]];
        positions[3*i] = pos.x+(mixed) correction.x;
        positions[3*i+1] = pos.y+(mixed) correction.y;
        positions[3*i+2] = pos.z+(mixed) correction.z;
#else
        positions[3*i] = pos.x;
        positions[3*i+1] = pos.y;
        positions[3*i+2] = pos.z;
#endif
    }
}

KERNEL void scatterForces(GLOBAL const mm_long* RESTRICT forces, GLOBAL mm_long* RESTRICT forceBuffers, GLOBAL const int* RESTRICT slots, int numParticles) {
    for (int i = GLOBAL_ID; i < numParticles; i += GLOBAL_SIZE) {
        int slot = slots[i];
        forceBuffers[slot] += forces[3*i];
        forceBuffers[slot+PADDED_NUM_ATOMS] += forces[3*i+1];
        forceBuffers[slot+2*PADDED_NUM_ATOMS] += forces[3*i+2];
    }
}
)";

CommonParticleAccess::CommonParticleAccess(ComputeContext& cc, const vector<int>& particles, const vector<string>& derivatives) :
        cc(cc), particles(particles), slots(cc, particles) {
    ContextSelector selector(cc);
    for (const string& name : derivatives)
        cc.addEnergyParameterDerivative(name);
    const int count = (int) particles.size();
    const bool mixedIsDouble = (cc.getUseDoublePrecision() || cc.getUseMixedPrecision());
    positionArray.initialize(cc, 3*count, mixedIsDouble ? sizeof(double) : sizeof(float), "regionPositions");
    forceArray.initialize<long long>(cc, 3*count, "regionForces");
    floatPositions.resize(mixedIsDouble ? 0 : 3*count);
    doublePositions.resize(mixedIsDouble ? 3*count : 0);
    fixedForces.resize(3*count);
    map<string, string> defines;
    defines["PADDED_NUM_ATOMS"] = cc.intToString(cc.getPaddedNumAtoms());
    ComputeProgram program = cc.compileProgram(kernelSource, defines);
    gatherKernel = program->createKernel("gatherPositions");
    gatherKernel->addArg(cc.getPosq());
    gatherKernel->addArg(positionArray);
    gatherKernel->addArg(slots.getArray());
    gatherKernel->addArg(count);
    if (cc.getUseMixedPrecision())
        gatherKernel->addArg(cc.getPosqCorrection());
    scatterKernel = program->createKernel("scatterForces");
    scatterKernel->addArg(forceArray);
    scatterKernel->addArg(cc.getLongForceBuffer());
    scatterKernel->addArg(slots.getArray());
    scatterKernel->addArg(count);
}

void CommonParticleAccess::gather(ContextImpl& context, vector<Vec3>& positions) {
    ContextSelector selector(cc);
    const int count = (int) particles.size();
    gatherKernel->execute(count);
    if (floatPositions.empty())
        positionArray.download(doublePositions);
    else {
        positionArray.download(floatPositions);
        doublePositions.assign(floatPositions.begin(), floatPositions.end());
    }

    // The device may hold a molecule in another cell than the user's.

    Vec3 box[3];
    cc.getPeriodicBoxVectors(box[0], box[1], box[2]);
    positions.resize(count);
    for (int i = 0; i < count; i++) {
        mm_int4 offset = cc.getPosCellOffsets()[slots.get()[i]];
        positions[i] = Vec3(doublePositions[3*i], doublePositions[3*i+1], doublePositions[3*i+2])-
                box[0]*offset.x-box[1]*offset.y-box[2]*offset.z;
    }
}

void CommonParticleAccess::scatter(ContextImpl& context, const vector<Vec3>& forces) {
    // OpenMM accumulates forces as 64 bit fixed point numbers with 32 bits after the point.

    const double scale = 0x100000000, limit = 0x7fffffff;
    for (size_t i = 0; i < forces.size(); i++)
        for (int k = 0; k < 3; k++) {
            if (std::fabs(forces[i][k]) > limit)
                throw OpenMMException("A component of the force on particle "+std::to_string(particles[i])+" is "+std::to_string(forces[i][k])+
                        " kJ/mol/nm, more than this platform can hold. Atoms are too close; minimise the structure, or look at the last good state of the simulation");
            fixedForces[3*i+k] = (long long) std::llround(forces[i][k]*scale);
        }
    ContextSelector selector(cc);
    forceArray.upload(fixedForces);
    scatterKernel->execute((int) particles.size());
}

void CommonParticleAccess::addDerivative(ContextImpl& context, const string& name, double value) {
    cc.getEnergyParamDerivWorkspace()[name] += value;
}
