#ifndef OPENMM_NN_AOTINDUCTORRUNNER_H_
#define OPENMM_NN_AOTINDUCTORRUNNER_H_

#include "TorchRunner.h"

namespace torch {
namespace inductor {
class AOTIModelContainerRunner;
}
}

namespace OpenMMNN {

/**
 * Runs a model that AOTInductor compiled to machine code, with energy and forces in one graph.
 *
 * Beyond the inputs of the card the graph may take "member_weights" (K,), the weights w of the members in the energy
 * whose gradient it returns: F = -d(sum_k w_k E_k)/dx.  Beyond the outputs of the card it may return "forces" (N,3) and
 * "derivative:p" (), d(sum_k w_k E_k)/dp, for every parameter p.  The package's description lists both.
 *
 * The graph of another library may take "species" (N,) in the place of atomic_numbers, the places of the elements in a
 * list of the description, and "identity" (3,3), a cell in which shifts of edges are lengths.
 */
class AOTInductorRunner : public TorchRunner {
public:
    /** Whether these are the bytes of such a model. */
    static bool recognize(const std::string& model);
    /**
     * The library is unpacked in a private directory, loaded, and removed again: at once for a CPU, with this object for a GPU.
     *
     * @param model           the bytes of a package (.pt2), which must be trusted: it is code
     * @param properties      see NeuralForce::setProperty()
     * @param platformDouble  whether a dtype of "platform" means double precision
     */
    AOTInductorRunner(const std::string& model, const ModelSignature& signature, const std::map<std::string, std::string>& properties, bool platformDouble);
    ~AOTInductorRunner();
    Results evaluate(const std::vector<at::Tensor>& inputs, const ModelRequest& request) override;
private:
    void checkMachine(const class Package& package) const;
    void checkGraph() const;
    void makeSpecies(const class Package& package);
    std::vector<at::Tensor> call(const std::vector<at::Tensor>& inputs, const at::Tensor& weights);
    size_t outputIndex(const std::string& name) const;
    std::vector<std::string> graphInputs, graphOutputs;
    at::Tensor species, identity; // by atomic number; what is not taken is not defined
    std::unique_ptr<class PrivateDirectory> kernels; // outlives the library
    std::unique_ptr<torch::inductor::AOTIModelContainerRunner> library;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_AOTINDUCTORRUNNER_H_
