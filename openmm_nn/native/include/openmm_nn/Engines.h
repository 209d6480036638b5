#ifndef OPENMM_NN_ENGINES_H_
#define OPENMM_NN_ENGINES_H_

#include "windowsExportNN.h"
#include <string>
#include <vector>

namespace OpenMMNN {

/**
 * The engines of an installation: libraries that link libtorch, one for each minor version of torch, since libtorch
 * keeps its binary interface no longer.  They lie in folders named torch-2.13 and so on beside the folder of this
 * library.  An engine beside another torch would end the process, so none is loaded by trial.
 */
class OPENMM_EXPORT_NN Engines {
public:
    /** The versions of torch, such as "2.13", that there are engines for. */
    static std::vector<std::string> getAvailable();
    /**
     * Choose the version of torch.  Where none is chosen, the environment variable OPENMM_NN_TORCH is asked, and then the
     * only engine is taken if there is one.  It has no effect once the first Context has loaded an engine.
     */
    static void choose(const std::string& torch);
    /** The folder of the engine that is used.  Throws an OpenMMException if there is none for the version chosen. */
    static std::string getDirectory();
};

} // namespace OpenMMNN

#endif // OPENMM_NN_ENGINES_H_
