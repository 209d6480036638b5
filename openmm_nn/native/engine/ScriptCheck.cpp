#include "ScriptCheck.h"
#include "PickleCheck.h"
#include "openmm/OpenMMException.h"
#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>
#include <map>
#include <sstream>
#include <vector>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

static const size_t maxRecords = 20000, maxRecord = size_t(1) << 28, maxRatio = 200, maxLine = size_t(1) << 20;
static const int maxNesting = 200, maxIndent = 400, maxUnary = 64, maxChain = 3000;

string OpenMMNN::printable(const string& text) {
    string result = text;
    for (char& c : result)
        if ((c < 32 && c != '\n') || c == 127)
            c = '?';
    return result;
}

[[noreturn]] static void refuse(const string& what) {
    throw OpenMMException("NeuralForce: the model has "+printable(what)+", which torch.jit.save() does not write or a potential does not need. "
            "Do not use this file; get it again from whoever made it, or export the model again");
}

/** Whether a word of the code stands at a position, not inside another one. */
static bool isWord(const string& code, size_t position, const string& word) {
    auto inside = [](char c) { return isalnum((unsigned char) c) || c == '_'; };
    return code.compare(position, word.size(), word) == 0 && (position == 0 || !inside(code[position-1])) &&
            (position+word.size() >= code.size() || !inside(code[position+word.size()]));
}

static void checkCalls(const string& code) {
    for (const char* name : {"torch.save", "torch.load", "torch.from_file", "torch._from_file", "torch.jit.save", "torch.jit.load", "ops.aten.save",
            "ops.aten.load", "ops.aten.from_file", "ops.aten._from_file", "ops.prim.save", "ops.prim.load"})
        for (size_t i = code.find(name); i != string::npos; i = code.find(name, i+1))
            if (isWord(code, i, name))
                refuse(string("code that calls ")+name+"(), which reads or writes files");
    for (size_t i = code.find("__setstate__"); i != string::npos; i = code.find("__setstate__", i+1)) {
        size_t before = code.find_last_not_of(' ', i == 0 ? 0 : i-1);
        if (before != string::npos && before >= 2 && before+1 < i && isWord(code, before-2, "def"))
            refuse("code that runs while it is loaded (__setstate__)");
    }
}

static void checkNesting(const string& code, const string& record) {
    // How many operators have followed one another, at every level of brackets: a compiler goes down for each of them.
    vector<int> chains(1, 0);
    int chain = 0, unary = 0;
    size_t line = 0, indent = 0;
    bool start = true;
    for (size_t i = 0; i < code.size(); i++) {
        char c = code[i];
        if (c == '\n' || c == ',') {
            chain -= chains.back();
            chains.back() = 0;
        }
        if (c == '\n') {
            line = indent = 0;
            unary = 0;
            start = true;
            continue;
        }
        line++;
        start = start && c == ' ';
        indent += start;
        bool opens = (c == '(' || c == '[' || c == '{');
        bool attribute = (c == '.' && i+1 < code.size() && (isalpha((unsigned char) code[i+1]) || code[i+1] == '_'));
        bool word = (isWord(code, i, "and") || isWord(code, i, "or") || isWord(code, i, "if") || isWord(code, i, "in") || isWord(code, i, "is"));
        if (opens || attribute || word || string("-+*/%<>=!&|^~@").find(c) != string::npos) {
            chains.back()++;
            chain++;
        }
        if (opens)
            chains.push_back(0);
        else if ((c == ')' || c == ']' || c == '}') && chains.size() > 1) {
            chain -= chains.back();
            chains.pop_back();
        }
        // A chain of operators with one operand each, or of powers, is followed as deeply as brackets are.
        if (c == '-' || c == '~' || c == '*')
            unary++;
        else if (isWord(code, i, "not")) {
            unary++;
            i += 2;
            line += 2;
        }
        else if (c != ' ')
            unary = 0;
        if ((int) chains.size() > maxNesting || chain > maxChain || unary > maxUnary || (int) indent > maxIndent || line > maxLine || c == 0)
            refuse("code in "+record+" that nests more than "+to_string(maxNesting)+" deep");
    }
}

void OpenMMNN::checkScript(const string& model) {
    try {
        std::istringstream stream(model);
        caffe2::serialize::PyTorchStreamReader reader(&stream);
        map<string, size_t> sizes;
        vector<string> names = reader.getAllRecords();
        if (names.size() > maxRecords)
            refuse(to_string(names.size())+" records");
        size_t total = 0;
        for (const string& name : names) {
            sizes[name] = reader.getRecordSize(name);
            total += sizes[name];
            if (total > maxRatio*model.size())
                refuse("records that claim to be more than "+to_string(maxRatio)+" times as large as the file");
        }
        for (auto& entry : sizes) {
            const string& name = entry.first;
            bool code = name.compare(0, 5, "code/") == 0;
            bool debug = code && name.size() > 10 && name.compare(name.size()-10, 10, ".debug_pkl") == 0;
            bool pickle = debug || name == "data.pkl" || name == "constants.pkl";
            if (!code && !pickle)
                continue;
            if (entry.second > maxRecord)
                refuse("a record "+name+" of "+to_string(entry.second)+" bytes");
            auto record = reader.getRecord(name);
            string content((const char*) std::get<0>(record).get(), std::get<1>(record));
            if (pickle)
                checkPickle(content, name, sizes, debug ? "debug" : name.substr(0, name.size()-4));
            else {
                checkCalls(content);
                checkNesting(content, name);
            }
        }
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model could not be read: "+printable(e.what_without_backtrace()));
    }
}
