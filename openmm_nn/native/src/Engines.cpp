#include "openmm_nn/Engines.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#ifdef _WIN32
    #include <windows.h>
#else
    #include <dlfcn.h>
#endif

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;
using std::vector;
namespace fs = std::filesystem;

static const string stem = "torch-";
static std::mutex mutex;
static string chosen;

/** The folder that holds the folder of this library. */
static fs::path prefix() {
#ifdef _WIN32
    HMODULE module = NULL;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, (LPCSTR) &prefix, &module);
    char path[MAX_PATH];
    GetModuleFileNameA(module, path, MAX_PATH);
    return fs::absolute(path).parent_path().parent_path();
#else
    Dl_info info;
    if (dladdr((void*) &prefix, &info) == 0 || info.dli_fname == NULL)
        throw OpenMMException("NeuralForce: could not find the folder of the openmm_nn plugin");
    return fs::absolute(info.dli_fname).parent_path().parent_path();
#endif
}

vector<string> Engines::getAvailable() {
    vector<string> found;
    for (const auto& entry : fs::directory_iterator(prefix())) {
        string name = entry.path().filename().string();
        if (name.compare(0, stem.size(), stem) == 0)
            found.push_back(name.substr(stem.size()));
    }
    std::sort(found.begin(), found.end());
    return found;
}

void Engines::choose(const string& torch) {
    std::lock_guard<std::mutex> lock(mutex);
    chosen = torch;
}

string Engines::getDirectory() {
    vector<string> available = getAvailable();
    string wanted, listed;
    {
        std::lock_guard<std::mutex> lock(mutex);
        wanted = chosen;
    }
    const char* variable = getenv("OPENMM_NN_TORCH");
    if (wanted.empty() && variable != NULL)
        wanted = variable;
    if (wanted.empty() && available.size() == 1)
        wanted = available[0];
    for (const string& torch : available) {
        if (torch == wanted)
            return (prefix()/(stem+torch)).string();
        listed += (listed.empty() ? "" : ", ")+torch;
    }
    throw OpenMMException("torch: got "+(wanted.empty() ? string("no version") : wanted)+"; allowed: the versions that this installation has an engine for, "+
            (listed.empty() ? string("none") : listed)+". To fix: build an engine for the torch that is here with `openmm-nn build`; "
            "a program without Python chooses one by the environment variable OPENMM_NN_TORCH.");
}
