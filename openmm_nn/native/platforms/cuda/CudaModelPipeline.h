#ifndef OPENMM_NN_CUDAMODELPIPELINE_H_
#define OPENMM_NN_CUDAMODELPIPELINE_H_

#include "DeviceGeometry.h"
#include "DevicePipeline.h"
#include "PaddedEdges.h"
#include "TorchRunner.h"
#include "TorchScope.h"
#include "openmm/cuda/CudaContext.h"
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>

namespace OpenMMNN {

/**
 * Positions, model and forces on one GPU.  The model's tensors lie over OpenMM's arrays.  Where OpenMM works in torch's
 * CUDA context (see SharedContext.h) the model runs on OpenMM's stream, and the host only waits where an energy or a
 * derivative is asked for.  What goes wrong on the device is noticed there, or else one step later.
 *
 * With CUDA graphs the whole evaluation is recorded once for every combination of what is asked for, and replayed.
 * A model that takes edges is then given all pairs of a few atoms, or a fixed number of edges for every one of more, so that
 * its shapes do not change: it must not feel those beyond its cutoff, which is checked before the first evaluation.  Before
 * an atom has more neighbours than that, all is recorded again with room for more.
 */
class CudaModelPipeline : public DevicePipeline {
public:
    /** Whether a model can be evaluated like this; if not, why. */
    static bool isPossible(const Engine& engine, const TorchRunner& runner, std::string& reason);
    /** Called with torch's context current. */
    CudaModelPipeline(OpenMM::CudaContext& cu, Engine& engine, std::shared_ptr<TorchRunner> runner);
    ~CudaModelPipeline();
    double execute(OpenMM::ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, bool includeEnergy) override;
private:
    at::Tensor view(OpenMM::ComputeArray& array, at::IntArrayRef shape, at::ScalarType dtype) const;
    void makeArguments();
    void updateInputs(OpenMM::ContextImpl& context, const Engine::ParameterSource& parameters);
    void evaluate(bool includeForces);
    void runModel(bool includeForces);
    void capture(bool includeForces);
    void findEdges();
    void makeRoom(int64_t neighbours);
    void checkEdgesBeyondCutoff() const;
    void checkStatus(OpenMM::ContextImpl& context);
    void fetch(OpenMM::ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, Engine::Result& result);
    OpenMM::CudaContext& cu;
    Engine& engine;
    std::shared_ptr<TorchRunner> runner;
    const int numAtoms, numMembers;
    int numEdges;
    DeviceGeometry geometry;
    std::unique_ptr<PaddedEdges> padded;
    OpenMM::ComputeArray box, parameterValues, energies, derivatives, neighbours;
    std::vector<double> lastInputs;
    bool oneContext;
    c10::cuda::CUDAStream stream;
    CUevent placed, evaluated, reported; // the first two where contexts differ
    float* reportedStatus;
    bool hasReport;
    std::vector<at::Tensor> arguments;
    at::Tensor energyView, forceView, derivativeView, boxView, neighbourView;
    std::map<bool, std::unique_ptr<at::cuda::CUDAGraph> > graphs;
    std::map<bool, bool> warm;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_CUDAMODELPIPELINE_H_
