#include "KernelLoader.h"
#include "openmm_nn/Engines.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

using namespace OpenMM;
using std::string;
namespace fs = std::filesystem;

#if defined(_WIN32)
static const string prefix = "", suffix = ".dll";
#elif defined(__APPLE__)
static const string prefix = "lib", suffix = ".dylib";
#else
static const string prefix = "lib", suffix = ".so";
#endif

static bool hasPlatform(const string& name) {
    for (int i = 0; i < Platform::getNumPlatforms(); i++)
        if (Platform::getPlatform(i).getName() == name)
            return true;
    return false;
}

void OpenMMNN::loadKernels() {
    static std::mutex mutex;
    static bool loaded = false;
    std::lock_guard<std::mutex> lock(mutex);
    if (loaded)
        return;
    // "Reference" also serves the CPU platform.
    fs::path directory = fs::path(Engines::getDirectory())/"plugins";
    string problems;
    for (const string& platform : {"Reference", "OpenCL", "CUDA", "HIP"}) {
        string file = (directory/(prefix+"OpenMMNN"+platform+suffix)).string();
        if (!fs::exists(file) || !hasPlatform(platform))
            continue;
        try {
            Platform::loadPluginLibrary(file);
            loaded = true;
        }
        catch (const std::exception& e) {
            problems += "\n"+string(e.what());
        }
    }
    if (!loaded)
        throw OpenMMException("NeuralForce: no kernel library of the openmm_nn plugin could be loaded from "+directory.string()+
                ". It needs libtorch and vesin as they were when it was built; rebuild it with: python -m openmm_nn.native.build"+problems);
}
