#include "KernelLoader.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>
#ifdef _WIN32
    #include <windows.h>
#else
    #include <dlfcn.h>
    #include <unistd.h>
#endif

using namespace OpenMM;
using std::string;

#if defined(_WIN32)
static const string prefix = "", suffix = ".dll", separator = "\\";
#elif defined(__APPLE__)
static const string prefix = "lib", suffix = ".dylib", separator = "/";
#else
static const string prefix = "lib", suffix = ".so", separator = "/";
#endif

/** The directory that this library was loaded from. */
static string libraryDirectory() {
#ifdef _WIN32
    HMODULE module = NULL;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, (LPCSTR) &libraryDirectory, &module);
    char path[MAX_PATH];
    GetModuleFileNameA(module, path, MAX_PATH);
    string file(path);
#else
    Dl_info info;
    if (dladdr((void*) &libraryDirectory, &info) == 0 || info.dli_fname == NULL)
        throw OpenMMException("NeuralForce: could not find the directory of the openmm_nn plugin");
    string file(info.dli_fname);
#endif
    size_t slash = file.find_last_of("/\\");
    return slash == string::npos ? "." : file.substr(0, slash);
}

static bool hasPlatform(const string& name) {
    for (int i = 0; i < Platform::getNumPlatforms(); i++)
        if (Platform::getPlatform(i).getName() == name)
            return true;
    return false;
}

static bool fileExists(const string& path) {
#ifdef _WIN32
    return GetFileAttributesA(path.c_str()) != INVALID_FILE_ATTRIBUTES;
#else
    return access(path.c_str(), R_OK) == 0;
#endif
}

void OpenMMNN::loadKernels() {
    static std::mutex mutex;
    static bool loaded = false;
    std::lock_guard<std::mutex> lock(mutex);
    if (loaded)
        return;
    // "Reference" also serves the CPU platform.
    string directory = libraryDirectory()+separator+"plugins", problems;
    for (const string& platform : {"Reference", "OpenCL", "CUDA", "HIP"}) {
        string file = directory+separator+prefix+"OpenMMNN"+platform+suffix;
        if (!fileExists(file) || !hasPlatform(platform))
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
        throw OpenMMException("NeuralForce: no kernel library of the openmm_nn plugin could be loaded from "+directory+
                ". It needs libtorch and vesin as they were when it was built; rebuild it with: python -m openmm_nn.native.build"+problems);
}
