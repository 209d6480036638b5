#include "SharedModel.h"
#include "Sha256.h"
#include <map>
#include <mutex>
#include <random>

using namespace OpenMMNN;
using std::string;

static std::mutex registryMutex;

SharedModel OpenMMNN::shareModel(const string& bytes) {
    static std::map<string, std::weak_ptr<const string> > models;
    SharedModel result;
    result.hash = sha256(bytes);
    std::lock_guard<std::mutex> lock(registryMutex);
    result.bytes = models[result.hash].lock();
    if (!result.bytes) {
        result.bytes = std::make_shared<const string>(bytes);
        models[result.hash] = result.bytes;
    }
    return result;
}

static std::map<string, std::weak_ptr<ModelRunner> >& getRunners() {
    static std::map<string, std::weak_ptr<ModelRunner> > runners;
    return runners;
}

string OpenMMNN::registerRunner(const std::shared_ptr<ModelRunner>& runner) {
    // The token names the process as well, so that one which strays into another is not mistaken for its own.
    static const string process = std::to_string(std::random_device()())+std::to_string(std::random_device()());
    string token = process+"-"+std::to_string(reinterpret_cast<uintptr_t>(runner.get()));
    std::lock_guard<std::mutex> lock(registryMutex);
    getRunners()[token] = runner;
    return token;
}

std::shared_ptr<ModelRunner> OpenMMNN::findRunner(const string& token) {
    std::lock_guard<std::mutex> lock(registryMutex);
    auto found = getRunners().find(token);
    return found == getRunners().end() ? nullptr : found->second.lock();
}
