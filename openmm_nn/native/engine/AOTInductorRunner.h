#ifndef OPENMM_NN_AOTINDUCTORRUNNER_H_
#define OPENMM_NN_AOTINDUCTORRUNNER_H_

#include "openmm_nn/ModelRunner.h"
#include "openmm_nn/ModelSignature.h"
#include <map>
#include <memory>

namespace OpenMMNN {

/**
 * Runs a model that AOTInductor compiled to machine code, with energy and forces in one graph.
 *
 * Beyond the inputs of the card the graph may take "member_weights" (K,), the weights w of the members in the energy
 * whose gradient it returns: F = -d(sum_k w_k E_k)/dx.  Beyond the outputs of the card it may return "forces" (N,3) and
 * "derivative:p" (), d(sum_k w_k E_k)/dp, for every parameter p.  The package's description lists both.
 */
class AOTInductorRunner : public ModelRunner {
public:
    /** Whether these are the bytes of such a model. */
    static bool recognize(const std::string& model);
    /**
     * The library is unpacked in a private directory, loaded, and removed again.
     *
     * @param model           the bytes of a package (.pt2), which must be trusted: it is code
     * @param properties      see NeuralForce::setProperty()
     * @param platformDouble  whether a dtype of "platform" means double precision
     */
    AOTInductorRunner(const std::string& model, const ModelSignature& signature, const std::map<std::string, std::string>& properties, bool platformDouble);
    ~AOTInductorRunner();
    void run(const ModelInputs& inputs, const ModelRequest& request, ModelOutputs& outputs) override;
private:
    class Implementation;
    std::unique_ptr<Implementation> implementation;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_AOTINDUCTORRUNNER_H_
