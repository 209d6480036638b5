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

/** Forces that were kept are in the order that the particles had then. */
class CommonImpulse::Listener : public ComputeContext::ReorderListener {
public:
    explicit Listener(std::shared_ptr<std::set<int> > valid) : valid(valid) {
    }
    void execute() override {
        valid->clear();
    }
private:
    std::shared_ptr<std::set<int> > valid;
};

CommonImpulse::CommonImpulse(ComputeContext& cc) : cc(cc), valid(std::make_shared<std::set<int> >()) {
    ContextSelector selector(cc);
    map<string, string> defines;
    defines["NUM_ATOMS"] = cc.intToString(cc.getNumAtoms());
    defines["PADDED_NUM_ATOMS"] = cc.intToString(cc.getPaddedNumAtoms());
    kernel = cc.compileProgram(kernelSource, defines)->createKernel("applyImpulse");
    kernel->addArg(cc.getVelm());
    kernel->addArg(cc.getLongForceBuffer());
    kernel->addArg();
    cc.addReorderListener(new Listener(valid));
}

void CommonImpulse::add(ArrayInterface& forces, double duration) {
    const double scale = duration/0x100000000;
    kernel->setArg(1, forces);
    if (cc.getUseDoublePrecision() || cc.getUseMixedPrecision())
        kernel->setArg(2, scale);
    else
        kernel->setArg(2, (float) scale);
    kernel->execute(cc.getNumAtoms());
}

void CommonImpulse::apply(double duration) {
    ContextSelector selector(cc);
    add(cc.getLongForceBuffer(), duration);
}

void CommonImpulse::keep(int number) {
    ContextSelector selector(cc);
    ArrayInterface& forces = cc.getLongForceBuffer();
    ComputeArray& array = kept[number];
    if (!array.isInitialized())
        array.initialize<long long>(cc, forces.getSize(), "keptForces");
    forces.copyTo(array);
    valid->insert(number);
}

bool CommonImpulse::applyKept(int number, double duration) {
    if (valid->count(number) == 0)
        return false;
    ContextSelector selector(cc);
    add(kept[number], duration);
    return true;
}

void CommonImpulse::forget() {
    valid->clear();
}
