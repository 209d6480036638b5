#include "CudaModelPipeline.h"
#include "openmm/common/ContextSelector.h"
#include "openmm/OpenMMException.h"
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/cuda/CUDAGuard.h>
#include <algorithm>

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::to_string;
using std::vector;

// A model whose evaluation is recorded is given all pairs of up to so many atoms, and padded edges of more.
static const int maxAllPairsAtoms = 32, maxPaddedAtoms = 4000;

static bool usesPadding(const Engine& engine) {
    return engine.getSignature().usesEdges() && (engine.isPeriodic() || engine.getInputs().numAtoms() > maxAllPairsAtoms);
}

bool CudaModelPipeline::isPossible(const Engine& engine, const TorchRunner& runner, string& reason) {
    const ModelSignature& signature = engine.getSignature();
    if (!runner.getOptions().device.is_cuda())
        reason = "the device of the model is "+runner.getOptions().device.str()+", which is no GPU";
    else if (!signature.invariant)
        reason = "the frame of the model is absolute, so it must be given the positions as the Context has them";
    else if (signature.usesEdges() && !runner.getOptions().cudaGraphs)
        reason = "the model takes edges, which are found on the host";
    else if (usesPadding(engine) && !signature.hasInput("edge_shifts"))
        reason = "the model takes edges without edge_shifts, by which those that are only there to keep their number would be told apart; up to "+to_string(maxAllPairsAtoms)+" atoms outside of a box need none";
    else if (usesPadding(engine) && engine.getInputs().numAtoms() > maxPaddedAtoms)
        reason = "the model takes edges, which are sought among all pairs where they are recorded, and "+to_string(engine.getInputs().numAtoms())+" atoms have too many pairs ("+to_string(maxPaddedAtoms)+" is the limit)";
    else
        return true;
    return false;
}

CudaModelPipeline::CudaModelPipeline(CudaContext& cu, Engine& engine, std::shared_ptr<TorchRunner> runner) : cu(cu), engine(engine), runner(runner),
        numAtoms(engine.getInputs().numAtoms()), numMembers(engine.getSignature().hasOutput("energy") ? 1 : engine.getSignature().committeeSize), numEdges(0),
        geometry(cu, engine, runner->getOptions().dtype == at::kDouble), stream(c10::cuda::getStreamFromPool(true, runner->getOptions().device.index())), hasReport(false) {
    CUcontext torchContext, context;
    checkCuda(cuCtxGetCurrent(&torchContext), "find the context that torch uses");
    const int size = (runner->getOptions().dtype == at::kDouble ? sizeof(double) : sizeof(float));
    {
        ContextSelector selector(cu);
        checkCuda(cuCtxGetCurrent(&context), "find the context that OpenMM uses");
        oneContext = (context == torchContext);
        box.initialize(cu, 9, size, "modelBox");
        parameterValues.initialize(cu, std::max((size_t) 1, engine.getSignature().getParameters().size()), size, "modelParameters");
        energies.initialize<double>(cu, numMembers, "modelEnergies");
        neighbours.initialize<float>(cu, 1, "modelNeighbours");
        derivatives.initialize<double>(cu, std::max((size_t) 1, engine.makeRequest(true).derivatives.size()), "modelDerivatives");
        checkCuda(cuEventCreate(&placed, CU_EVENT_DISABLE_TIMING), "create an event");
        checkCuda(cuEventCreate(&reported, CU_EVENT_DISABLE_TIMING), "create an event");
        checkCuda(cuMemHostAlloc((void**) &reportedStatus, (DeviceGeometry::StatusSize+1)*sizeof(float), CU_MEMHOSTALLOC_PORTABLE), "allocate memory of the host");
    }
    checkCuda(cuEventCreate(&evaluated, CU_EVENT_DISABLE_TIMING), "create an event");
    makeArguments();
}

CudaModelPipeline::~CudaModelPipeline() {
    {
        TorchScope scope(cu.getDevice());
        cuCtxSynchronize();
        graphs.clear();
        arguments.clear();
        cuEventDestroy(evaluated);
    }
    ContextSelector selector(cu);
    cuEventDestroy(placed);
    cuEventDestroy(reported);
    cuMemFreeHost(reportedStatus);
}

at::Tensor CudaModelPipeline::view(ComputeArray& array, at::IntArrayRef shape, at::ScalarType dtype) const {
    const at::Device device = runner->getOptions().device;
    void* data = (void*) cu.unwrap(array).getDevicePointer();
    return at::for_blob(data, shape).options(at::TensorOptions().dtype(dtype).device(device)).target_device(device).make_tensor();
}

void CudaModelPipeline::makeArguments() {
    const TorchTensors& tensors = runner->getTensors();
    const at::ScalarType dtype = runner->getOptions().dtype;
    const ModelInputs& inputs = engine.getInputs();
    vector<int64_t> pairs;
    if (usesPadding(engine))
        padded.reset(new PaddedEdges(engine.getSignature().cutoff/engine.getSignature().lengthFactor, engine.isPeriodic()));
    else if (engine.getSignature().usesEdges()) {
        numEdges = numAtoms*(numAtoms-1);
        pairs.resize(2*numEdges);
        for (int i = 0, k = 0; i < numAtoms; i++)
            for (int j = 0; j < numAtoms; j++)
                if (i != j) {
                    pairs[k] = i;
                    pairs[numEdges+k++] = j;
                }
    }
    boxView = view(box, {3, 3}, dtype);
    neighbourView = view(neighbours, {}, at::kFloat);
    at::Tensor parameters = view(parameterValues, {(int64_t) parameterValues.getSize()}, dtype);
    int64_t nextParameter = 0;
    for (const string& name : engine.getSignature().inputs) {
        if (name == "positions")
            arguments.push_back(view(geometry.positions, {numAtoms, 3}, dtype));
        else if (name == "box")
            arguments.push_back(boxView);
        else if (name == "atomic_numbers")
            arguments.push_back(tensors.array(inputs.atomicNumbers.data(), {numAtoms}));
        else if (name == "charge")
            arguments.push_back(tensors.scalar((double) inputs.charge));
        else if (name == "multiplicity")
            arguments.push_back(tensors.scalar((double) inputs.multiplicity));
        else if (name == "edge_index")
            arguments.push_back(tensors.array(pairs.data(), {2, numEdges}));
        else if (name == "edge_shifts")
            arguments.push_back(at::zeros({numEdges, 3}, at::TensorOptions().dtype(dtype).device(runner->getOptions().device)));
        else
            arguments.push_back(parameters.select(0, nextParameter++));
    }
    energyView = view(energies, {numMembers}, at::kDouble);
    forceView = view(geometry.forces, {numAtoms, 3}, dtype);
    derivativeView = view(derivatives, {(int64_t) derivatives.getSize()}, at::kDouble);
}

void CudaModelPipeline::updateInputs(ContextImpl& context, const Engine::ParameterSource& parameters) {
    vector<double> values;
    Vec3 vectors[3];
    context.getPeriodicBoxVectors(vectors[0], vectors[1], vectors[2]);
    for (const Vec3& v : vectors)
        for (int k = 0; k < 3; k++)
            values.push_back(v[k]/engine.getSignature().lengthFactor);
    for (const string& name : engine.getSignature().getParameters())
        values.push_back(parameters(name));
    if (values == lastInputs)
        return;
    if (hasReport)
        checkCuda(cuEventSynchronize(reported), "wait for the previous step"); // which reads what is about to change
    engine.checkBox(vectors);
    const double cutoff = engine.getSignature().cutoff;
    for (int k = 0; padded && engine.isPeriodic() && k < 3; k++)
        if (vectors[k][k] < 2*cutoff)
            throw OpenMMException("NeuralForce: the property cuda_graphs is 'true', with which a pair of atoms has one edge, and the box is "+to_string(vectors[k][k])+
                    " nm along an axis, less than twice the cutoff of "+to_string(cutoff)+" nm. Leave the property out, which counts every image, or use a larger box");
    lastInputs = values;
    box.upload(vector<double>(values.begin(), values.begin()+9), true);
    values.erase(values.begin(), values.begin()+9);
    values.resize(parameterValues.getSize());
    parameterValues.upload(values, true);
}

void CudaModelPipeline::findEdges() {
    at::NoGradGuard noGrad;
    const TorchTensors& tensors = runner->getTensors();
    padded->find(arguments[tensors.indexOf("positions")].detach(), boxView);
    neighbourView.copy_(padded->largest);
    if (padded->getCapacity() == 0)
        return;
    arguments[tensors.indexOf("edge_index")] = padded->index;
    arguments[tensors.indexOf("edge_shifts")] = padded->shifts;
}

void CudaModelPipeline::makeRoom(int64_t neighbours) {
    padded->setCapacity(std::min((int64_t) numAtoms-1, neighbours+neighbours/4+8));
    numEdges = numAtoms*padded->getCapacity();
    graphs.clear();
    warm.clear();
}

void CudaModelPipeline::evaluate(bool includeForces) {
    if (padded)
        findEdges();
    TorchRunner::Results results = runner->evaluate(arguments, engine.makeRequest(includeForces));
    at::NoGradGuard noGrad;
    energyView.copy_(results.energies);
    if (includeForces)
        forceView.copy_(results.forces);
    for (size_t i = 0; i < results.derivatives.size(); i++)
        derivativeView.select(0, i).copy_(results.derivatives[i].squeeze());
}

void CudaModelPipeline::capture(bool includeForces) {
    std::unique_ptr<at::cuda::CUDAGraph> graph(new at::cuda::CUDAGraph());
    string problem;
    // A recording is not made on the default stream, which OpenMM's may be.
    c10::cuda::getCurrentCUDAStream(stream.device_index()).synchronize();
    c10::cuda::CUDAStreamGuard guard(stream);
    graph->capture_begin();
    try {
        evaluate(includeForces);
    }
    catch (const std::exception& e) {
        problem = e.what();
    }
    try {
        graph->capture_end();
    }
    catch (const std::exception& e) {
        if (problem.empty())
            problem = e.what();
    }
    if (!problem.empty())
        throw OpenMMException("NeuralForce: the property cuda_graphs is 'true', and the model cannot be recorded as a CUDA graph: it waits for the device, or its shapes depend on its data. "
                "Leave the property out. The reason: "+problem);
    graphs[includeForces] = std::move(graph);
}

void CudaModelPipeline::checkEdgesBeyondCutoff() const {
    const ModelSignature& signature = engine.getSignature();
    const TorchTensors& tensors = runner->getTensors();
    const size_t edges = tensors.indexOf("edge_index"), shifts = tensors.indexOf("edge_shifts"), where = tensors.indexOf("positions");
    const bool hasShifts = (shifts < signature.inputs.size());
    vector<at::Tensor> all = arguments, some = arguments;
    at::Tensor positions = arguments[where].detach().clone();
    at::Tensor first = arguments[edges].select(0, 0), second = arguments[edges].select(0, 1);
    at::Tensor vectors = positions.index_select(0, second)-positions.index_select(0, first);
    if (hasShifts)
        vectors = vectors+arguments[shifts];
    at::Tensor distances = vectors.norm(2, {1});
    const double cutoff = signature.cutoff/signature.lengthFactor, largest = distances.max().item<double>();
    // Where every pair is within the cutoff, the atoms are drawn apart so that some are not.
    double stretch = (largest > 1.2*cutoff ? 1.0 : 1.5*cutoff/largest);
    at::Tensor near = (distances*stretch < cutoff).nonzero().squeeze(1);
    all[where] = positions*stretch;
    some[where] = positions*stretch;
    some[edges] = arguments[edges].index_select(1, near);
    if (hasShifts) {
        all[shifts] = arguments[shifts]*stretch;
        some[shifts] = all[shifts].index_select(0, near);
    }
    ModelRequest request;
    request.forces = true;
    TorchRunner::Results withAll = runner->evaluate(all, request), withSome = runner->evaluate(some, request);
    const double energyError = (withAll.energies-withSome.energies).abs().max().item<double>(), energyScale = withSome.energies.abs().max().item<double>();
    const double forceError = (withAll.forces-withSome.forces).abs().max().item<double>(), forceScale = withSome.forces.abs().max().item<double>();
    if (!(energyError <= 1e-5*energyScale+1e-6 && forceError <= 1e-3*forceScale+1e-5))
        throw OpenMMException("NeuralForce: the property cuda_graphs is 'true', for which a model is given edges that are longer than its cutoff, and this one feels them: its energy changes by "+
                to_string(energyError)+" and its forces by "+to_string(forceError)+" in its own units. Leave the property out, or let the model's functions vanish at the cutoff");
}

void CudaModelPipeline::runModel(bool includeForces) {
    if (!warm[includeForces]) {
        const bool first = (warm.size() == 1);
        if (padded && first && padded->getCapacity() == 0) {
            findEdges();
            makeRoom(padded->largest.item<int64_t>());
            findEdges();
        }
        if (engine.getSignature().usesEdges() && first)
            checkEdgesBeyondCutoff();
        const int count = std::max(1, runner->getNumWarmupRuns());
        for (int i = 0; i < count; i++)
            evaluate(includeForces);
        engine.count(0, count, 0, 0);
        warm[includeForces] = true;
    }
    if (runner->getOptions().cudaGraphs) {
        if (!graphs[includeForces])
            capture(includeForces);
        graphs[includeForces]->replay();
    }
    else
        evaluate(includeForces);
    engine.count(1, 0, numEdges, 0);
}

void CudaModelPipeline::checkStatus(ContextImpl& context) {
    hasReport = false;
    if (reportedStatus[DeviceGeometry::BadPosition] != 0)
        engine.throwBadPosition((int) reportedStatus[DeviceGeometry::BadPosition]-1);
    if (engine.makesWhole()) {
        Vec3 vectors[3];
        context.getPeriodicBoxVectors(vectors[0], vectors[1], vectors[2]);
        engine.checkPlaced(reportedStatus+DeviceGeometry::ExtentX, reportedStatus[DeviceGeometry::Jumped] != 0, vectors, [this] {
            ContextSelector selector(cu);
            vector<double> positions;
            geometry.positions.download(positions, true);
            return positions;
        });
    }
    if (padded) {
        const int64_t found = (int64_t) reportedStatus[DeviceGeometry::StatusSize], capacity = padded->getCapacity();
        if (found > capacity)
            throw OpenMMException("NeuralForce: an atom has "+to_string(found)+" neighbours, and there was room for "+to_string(capacity)+
                    " in what was recorded: atoms have come together in a single step. Minimise the structure, look at the last good state of the simulation, or leave the property cuda_graphs out");
        if (found+4 > capacity && capacity < numAtoms-1) {
            TorchScope scope(cu.getDevice());
            makeRoom(found);
        }
    }
    if (reportedStatus[DeviceGeometry::BadForce] != 0) {
        ModelRequest request;
        ModelOutputs outputs;
        vector<double> positions;
        request.forces = true;
        ContextSelector selector(cu);
        geometry.positions.download(positions, true);
        geometry.forces.download(outputs.forces, true);
        energies.download(outputs.energies);
        engine.checkFinite(positions, request, outputs);
        throw OpenMMException("NeuralForce: a component of a force is more than this platform can hold. Atoms are too close; minimise the structure, or look at the last good state of the simulation");
    }
}

void CudaModelPipeline::fetch(ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, Engine::Result& result) {
    ModelRequest request = engine.makeRequest(includeForces);
    ModelOutputs outputs;
    energies.download(outputs.energies);
    if (!request.derivatives.empty())
        derivatives.download(outputs.derivatives);
    ModelRequest energyOnly;
    engine.checkFinite(vector<double>(), energyOnly, outputs);
    engine.convert(request, outputs, parameters, result);
}

double CudaModelPipeline::execute(ContextImpl& context, const Engine::ParameterSource& parameters, bool includeForces, bool includeEnergy) {
    const bool first = warm.empty();
    {
        ContextSelector selector(cu);
        if (hasReport && cuEventQuery(reported) == CUDA_SUCCESS)
            checkStatus(context);
        updateInputs(context, parameters);
        geometry.place();
        if (!oneContext) {
            // A context that waits for another one on the device holds it for milliseconds.
            checkCuda(cuEventRecord(placed, cu.getCurrentStream()), "record an event");
            checkCuda(cuEventSynchronize(placed), "wait for OpenMM");
        }
    }
    {
        TorchScope scope(cu.getDevice());
        c10::cuda::CUDAStreamGuard guard(oneContext ? c10::cuda::getStreamFromExternal(cu.getCurrentStream(), stream.device_index()) : stream);
        runModel(includeForces);
        if (!oneContext)
            checkCuda(cuEventRecord(evaluated, stream.stream()), "record an event");
    }
    ContextSelector selector(cu);
    if (!oneContext)
        checkCuda(cuStreamWaitEvent(cu.getCurrentStream(), evaluated, 0), "make OpenMM wait for torch");
    if (includeForces)
        geometry.addForces(engine.getForceFactor(parameters));
    checkCuda(cuMemcpyDtoHAsync(reportedStatus, cu.unwrap(geometry.status).getDevicePointer(), DeviceGeometry::StatusSize*sizeof(float), cu.getCurrentStream()), "copy from the device");
    if (padded)
        checkCuda(cuMemcpyDtoHAsync(reportedStatus+DeviceGeometry::StatusSize, cu.unwrap(neighbours).getDevicePointer(), sizeof(float), cu.getCurrentStream()), "copy from the device");
    checkCuda(cuEventRecord(reported, cu.getCurrentStream()), "record an event");
    hasReport = true;
    if (!includeEnergy && !engine.hasDerivatives() && !first)
        return 0.0;
    checkCuda(cuEventSynchronize(reported), "wait for the device");
    checkStatus(context);
    Engine::Result result;
    fetch(context, parameters, includeForces, result);
    for (auto& derivative : result.derivatives)
        cu.getEnergyParamDerivWorkspace()[derivative.first] += derivative.second;
    return includeEnergy ? result.energy : 0.0;
}
