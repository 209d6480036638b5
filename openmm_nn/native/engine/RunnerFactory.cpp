#include "RunnerFactory.h"
#include "AOTInductorRunner.h"
#include "Package.h"
#include "TorchScriptRunner.h"
#include "openmm/OpenMMException.h"
#include <ATen/Context.h>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;

std::shared_ptr<ModelRunner> OpenMMNN::createRunner(const NeuralForce& force, const std::vector<int64_t>& atomicNumbers,
        map<string, string> properties, bool platformDouble, const string& device) {
    const bool compiled = AOTInductorRunner::recognize(force.getModel());
    // Code fits one kind of device: on another one than the Context's it runs beside it.
    const string madeFor = (compiled ? Package(force.getModel()).get("AOTI_DEVICE_KEY") : "");
    const bool elsewhere = (madeFor == "cpu" || (madeFor == "cuda" && device == "cpu" && at::hasCUDA()));
    properties.insert({"device", elsewhere ? madeFor : device});
    if (!compiled)
        return std::make_shared<TorchScriptRunner>(force.getModel(), force.getSignature(), atomicNumbers, properties, platformDouble);
    const string& hash = force.getModelHash();
    if (!NeuralForce::isTrusted(hash))
        throw OpenMMException("NeuralForce: the model of the force named '"+force.getName()+"' is a compiled package (.pt2). It holds machine code, which can do whatever you can do, "
                "so it is run only when its hash is trusted, and this one is not: "+hash+". If you know where it comes from, call openmm_nn.trust_hash('"+hash+
                "') before the Context is made, or set the environment variable OPENMM_NN_TRUST to that hash. If you do not, do not run it");
    return std::make_shared<AOTInductorRunner>(force.getModel(), force.getSignature(), properties, platformDouble);
}
