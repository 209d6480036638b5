#include "CommonImpulse.h"
#include "openmm/common/ContextSelector.h"
#include <map>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;

// Forces are 64 bit fixed point numbers with 32 bits after the point; velm holds the inverse mass in w.
static const string kernelSource = R"(
KERNEL void applyImpulse(GLOBAL mixed4* RESTRICT velm, GLOBAL const mm_long* RESTRICT force, mixed scale) {
    for (int i = GLOBAL_ID; i < NUM_ATOMS; i += GLOBAL_SIZE) {
        mixed4 velocity = velm[i];
        if (velocity.w != 0) {
            velocity.x += scale*velocity.w*force[i];
            velocity.y += scale*velocity.w*force[i+PADDED_NUM_ATOMS];
            velocity.z += scale*velocity.w*force[i+2*PADDED_NUM_ATOMS];
            velm[i] = velocity;
        }
    }
}
)";

CommonImpulse::CommonImpulse(ComputeContext& cc) : cc(cc) {
    ContextSelector selector(cc);
    map<string, string> defines;
    defines["NUM_ATOMS"] = cc.intToString(cc.getNumAtoms());
    defines["PADDED_NUM_ATOMS"] = cc.intToString(cc.getPaddedNumAtoms());
    kernel = cc.compileProgram(kernelSource, defines)->createKernel("applyImpulse");
    kernel->addArg(cc.getVelm());
    kernel->addArg(cc.getLongForceBuffer());
    kernel->addArg();
}

void CommonImpulse::apply(double duration) {
    ContextSelector selector(cc);
    const double scale = duration/0x100000000;
    if (cc.getUseDoublePrecision() || cc.getUseMixedPrecision())
        kernel->setArg(2, scale);
    else
        kernel->setArg(2, (float) scale);
    kernel->execute(cc.getNumAtoms());
}
