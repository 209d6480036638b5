#ifndef OPENMM_NN_NEURALFORCEKERNEL_H_
#define OPENMM_NN_NEURALFORCEKERNEL_H_

#include "DevicePipeline.h"
#include "ParticleAccess.h"
#include "TorchSection.h"
#include "Worker.h"
#include "openmm_nn/NeuralKernels.h"

namespace OpenMMNN {

/**
 * The kernel of NeuralForce on any platform.
 *
 * Where the platform allows it, the model runs on a thread of its own: it is started at the beginning of a time step,
 * before anything else is computed, and its result is taken when the turn of this force comes.  What it was started
 * with is compared with the state at that moment, so that a step that moves atoms in between (a barostat does) only
 * costs another evaluation.
 */
class OPENMM_EXPORT_NN_ENGINE NeuralForceKernel : public CalcNeuralForceKernel {
public:
    NeuralForceKernel(const std::string& name, const OpenMM::Platform& platform, const PlatformAccess& access) :
            CalcNeuralForceKernel(name, platform), platformAccess(access), started(false), evaluated(false), wantForces(true), numUnused(0), numEarly(0), numNanoseconds(0) {
    }
    ~NeuralForceKernel();
    void initialize(OpenMM::ContextImpl& context, const NeuralForce& force) override;
    void prefetch(OpenMM::ContextImpl& context) override;
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) override;
    void updateModel(const NeuralForce& force) override;
    std::vector<double> getMemberEnergies(OpenMM::ContextImpl& context) override;
    std::vector<double> getForceStd(OpenMM::ContextImpl& context) override;
    std::map<std::string, long long> getStatistics() override;
private:
    /** All that an evaluation depends on. */
    struct Input {
        std::vector<OpenMM::Vec3> positions;
        OpenMM::Vec3 box[3];
        std::map<std::string, double> parameters;
        bool operator==(const Input& other) const;
    };
    TorchSection enter() const {
        return TorchSection(platformAccess.enter ? platformAccess.enter() : std::shared_ptr<void>());
    }
    bool wantsConcurrent(const NeuralForce& force) const;
    void makeWorker(const NeuralForce& force);
    void makePipeline(const NeuralForce& force);
    void collect(OpenMM::ContextImpl& context);
    void evaluate();
    void begin(bool includeForces);
    void finish();
    void discard();
    Engine::ParameterSource parameterSource() const;
    PlatformAccess platformAccess;
    std::unique_ptr<ParticleAccess> access;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<DevicePipeline> pipeline;
    Input current, input;       // of the Context now, and of the latest evaluation
    bool started, evaluated, wantForces;
    int numUnused;              // early evaluations in a row that were for nothing
    long long numEarly, numNanoseconds;
    Engine::Result result;
    std::unique_ptr<Worker> worker;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_NEURALFORCEKERNEL_H_
