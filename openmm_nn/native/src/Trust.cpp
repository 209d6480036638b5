#include "openmm_nn/NeuralForce.h"
#include "openmm/OpenMMException.h"
#include <cstdlib>
#include <mutex>
#include <set>

using namespace OpenMM;
using namespace OpenMMNN;
using std::string;

static std::mutex mutex;
static std::set<string> trusted;

static bool isHash(const string& text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == string::npos;
}

static string lowercase(string text) {
    for (char& c : text)
        c = (char) tolower((unsigned char) c);
    return text;
}

void NeuralForce::trustHash(const string& hash) {
    string text = lowercase(hash);
    if (!isHash(text))
        throw OpenMMException("trustHash: the hash is '"+hash+"'; it must be 64 hexadecimal digits, the SHA-256 of the model's bytes");
    std::lock_guard<std::mutex> lock(mutex);
    trusted.insert(text);
}

bool NeuralForce::isTrusted(const string& hash) {
    string text = lowercase(hash);
    {
        std::lock_guard<std::mutex> lock(mutex);
        if (trusted.find(text) != trusted.end())
            return true;
    }
    const char* listed = getenv("OPENMM_NN_TRUST");
    string rest = (listed == NULL ? "" : lowercase(listed));
    const string separators = " ,:;\n\t";
    for (size_t start = rest.find_first_not_of(separators); start != string::npos;) {
        size_t end = rest.find_first_of(separators, start);
        if (isHash(text) && rest.substr(start, end-start) == text)
            return true;
        start = rest.find_first_not_of(separators, end);
    }
    return false;
}
