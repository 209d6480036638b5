#include "Package.h"
#include "TorchTensors.h"
#include "openmm/OpenMMException.h"
#include <caffe2/serialize/inline_container.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdlib.h>
#include <unistd.h>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::vector;

static const string folder = "data/aotinductor/", metadataSuffix = "_metadata.json", deviceKey = "AOTI_DEVICE_KEY";

static bool startsWith(const string& text, const string& start) {
    return text.compare(0, start.size(), start) == 0;
}

static bool endsWith(const string& text, const string& end) {
    return text.size() >= end.size() && text.compare(text.size()-end.size(), end.size(), end) == 0;
}

PrivateDirectory::PrivateDirectory() {
    const char* parent = getenv("TMPDIR");
    string pattern = string(parent == NULL || *parent == 0 ? "/tmp" : parent)+"/openmm_nn-XXXXXX";
    // mkdtemp() makes it with mode 0700, under a name that did not exist.
    if (mkdtemp(&pattern[0]) == NULL)
        throw OpenMMException("NeuralForce: no directory could be made as "+pattern+", in which the model's package is unpacked; set TMPDIR to a directory that can be written");
    path = pattern;
}

PrivateDirectory::~PrivateDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
}

/** Reads a JSON object whose values are strings. */
class StringObjectReader {
public:
    explicit StringObjectReader(const string& text) : text(text), position(0) {
    }
    map<string, string> read() {
        map<string, string> result;
        expect('{');
        if (next() == '}')
            return result;
        while (true) {
            string key = readString();
            expect(':');
            result[key] = readString();
            char c = next();
            position++;
            if (c == '}')
                return result;
            if (c != ',')
                fail();
        }
    }
private:
    [[noreturn]] void fail() const {
        throw OpenMMException("NeuralForce: the description inside the model's package cannot be read; get the file again, or export the potential again");
    }
    char next() {
        while (position < text.size() && isspace((unsigned char) text[position]))
            position++;
        if (position == text.size())
            fail();
        return text[position];
    }
    void expect(char c) {
        if (next() != c)
            fail();
        position++;
    }
    string readString() {
        expect('"');
        string result;
        while (position < text.size() && text[position] != '"') {
            char c = text[position++];
            if (c != '\\') {
                result += c;
                continue;
            }
            if (position == text.size())
                fail();
            c = text[position++];
            const string from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
            size_t index = from.find(c);
            if (index != string::npos)
                result += to[index];
            else if (c == 'u' && position+4 <= text.size()) {
                // What is read here are names in ASCII; others need not survive.
                long code = strtol(text.substr(position, 4).c_str(), NULL, 16);
                result += (code < 128 ? (char) code : '?');
                position += 4;
            }
            else
                fail();
        }
        expect('"');
        return result;
    }
    const string& text;
    size_t position;
};

class Package::Archive {
public:
    explicit Archive(const string& bytes) : stream(bytes), reader(&stream) {
    }
    string read(const string& record) {
        auto [data, size] = reader.getRecord(record);
        return string((const char*) data.get(), size);
    }
    std::istringstream stream;
    caffe2::serialize::PyTorchStreamReader reader;
};

bool Package::recognize(const string& bytes) {
    try {
        Archive archive(bytes);
        for (const string& record : archive.reader.getAllRecords())
            if (startsWith(record, folder))
                return true;
    }
    catch (const c10::Error&) {
        // Whatever it is, the other runner says what is wrong with it.
    }
    return false;
}

Package::Package(const string& bytes) {
    try {
        archive.reset(new Archive(bytes));
        for (const string& record : archive->reader.getAllRecords())
            if (startsWith(record, folder+"model/") && endsWith(record, metadataSuffix)) {
                map<string, string> found = StringObjectReader(archive->read(record)).read();
                if (found.find(deviceKey) != found.end() && found.size() >= description.size())
                    description = found;
            }
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model's package cannot be read: "+TorchTensors::reason(e));
    }
    if (description.empty())
        throw OpenMMException("NeuralForce: the model's package holds no model named 'model'; export the potential again");
}

Package::~Package() {
}

bool Package::has(const string& key) const {
    return description.find(key) != description.end();
}

string Package::get(const string& key) const {
    auto found = description.find(key);
    return found == description.end() ? "" : found->second;
}

vector<string> Package::getList(const string& key) const {
    std::istringstream stream(get(key));
    vector<string> words;
    string word;
    while (stream >> word)
        words.push_back(word);
    return words;
}

bool Package::hasModel(const string& model) const {
    for (const string& record : archive->reader.getAllRecords())
        if (startsWith(record, folder+model+"/"))
            return true;
    return false;
}

string Package::unpack(const string& model, const PrivateDirectory& directory) const {
    const string start = folder+model+"/";
    string library;
    try {
        for (const string& record : archive->reader.getAllRecords()) {
            if (!startsWith(record, start))
                continue;
            string name = record.substr(start.size());
            // Nothing is written outside of the directory, and no source code is needed.
            if (name.empty() || name.find('/') != string::npos || name == ".." || endsWith(name, ".cpp"))
                continue;
            string path = directory.getPath()+"/"+name, content = archive->read(record);
            std::ofstream file(path, std::ios::binary);
            file.write(content.data(), content.size());
            file.close();
            if (!file)
                throw OpenMMException("NeuralForce: the model's package cannot be unpacked to "+path+"; set TMPDIR to a directory with "+std::to_string(content.size())+" bytes to spare");
            if (endsWith(name, ".so") || endsWith(name, ".dylib"))
                library = path;
        }
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model's package is damaged: "+TorchTensors::reason(e));
    }
    if (library.empty())
        throw OpenMMException("NeuralForce: the model's package holds no compiled library, only its source; export the potential again without package_cpp_only");
    return library;
}

const vector<string>& OpenMMNN::processorFeatures() {
    static const vector<string> features = []() {
        vector<string> found;
        std::ifstream file("/proc/cpuinfo");
        string line;
        while (std::getline(file, line))
            if (startsWith(line, "flags") || startsWith(line, "Features")) {
                std::istringstream stream(line.substr(line.find(':')+1));
                string word;
                while (stream >> word)
                    found.push_back(word);
                break;
            }
        return found;
    }();
    return features;
}
