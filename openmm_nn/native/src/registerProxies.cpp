#include "MultistepLangevinIntegratorProxy.h"
#include "NeuralForceProxy.h"
#include "RegionForceProxy.h"
#include "openmm_nn/MultistepLangevinIntegrator.h"
#include "openmm_nn/NeuralForce.h"
#include "openmm_nn/RegionForce.h"

using namespace OpenMM;
using namespace OpenMMNN;

/** Loading the library is enough to read and write what it defines. */
static struct ProxyRegistration {
    ProxyRegistration() {
        SerializationProxy::registerProxy(typeid(NeuralForce), new NeuralForceProxy());
        SerializationProxy::registerProxy(typeid(RegionForce), new RegionForceProxy());
        SerializationProxy::registerProxy(typeid(MultistepLangevinIntegrator), new MultistepLangevinIntegratorProxy());
    }
} registration;

// OpenMM's plugin loader looks these up in every library that it opens.
extern "C" OPENMM_EXPORT_NN void registerPlatforms() {
}

extern "C" OPENMM_EXPORT_NN void registerKernelFactories() {
}
