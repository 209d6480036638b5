#include "ScriptCheck.h"
#include "PickleCheck.h"
#include "openmm/OpenMMException.h"
#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/ir/constants.h>
#include <algorithm>
#include <map>
#include <optional>
#include <set>
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

/** Whether a character can be part of a name. */
static bool isInside(char c) {
    return isalnum((unsigned char) c) || c == '_';
}

/** Whether a word of the code stands at a position, not inside another one. */
static bool isWord(const string& code, size_t position, const string& word) {
    return code.compare(position, word.size(), word) == 0 && (position == 0 || !isInside(code[position-1])) &&
            (position+word.size() >= code.size() || !isInside(code[position+word.size()]));
}

/** What reads or writes files, of torch and of libraries that bring operators: save, load, from_file and kin. */
static bool namesFiles(string word) {
    if (!word.empty() && word[0] == '_')
        word = word.substr(1);
    return word == "from_file" || word == "load" || word == "save" || word.compare(0, 5, "load_") == 0 || word.compare(0, 5, "save_") == 0;
}

static string wordAt(const string& code, size_t i) {
    size_t end = i;
    while (end < code.size() && isInside(code[end]))
        end++;
    return code.substr(i, end-i);
}

/** Where a text in quotation marks ends that begins at a position: behind its mark, or at the end of the line. */
static size_t endOfText(const string& code, size_t i) {
    for (i++; i < code.size() && code[i] != '\n'; i++) {
        if (code[i] == '"')
            return i+1;
        if (code[i] == '\\' && i+1 < code.size() && code[i+1] != '\n')
            i++;
    }
    return i;
}

/**
 * Whether the definition of __setstate__ that begins with a line is what torch writes for a method that is marked as
 * unused: it can only raise.  Not by std::regex: it asks for facets of a locale, which two copies of libstdc++ in a process
 * take for each other's.
 */
static bool onlyRaises(const string& code, size_t i) {
    auto blanks = [&] {
        i = std::min(code.find_first_not_of(' ', i), code.size());
    };
    auto text = [&](const string& expected) {
        const bool found = (code.compare(i, expected.size(), expected) == 0);
        i += (found ? expected.size() : 0);
        return found;
    };
    auto name = [&](const string& besides) {
        const size_t start = i;
        while (i < code.size() && (isInside(code[i]) || besides.find(code[i]) != string::npos))
            i++;
        return code.substr(start, i-start);
    };
    blanks();
    if (!text("def __setstate__(self: ") || name(".").empty() || !text(",\n"))
        return false;
    blanks();
    if (name("").empty() || !text(": ") || name("").empty() || !text(") -> NoneType:\n"))
        return false;
    blanks();
    const string variable = name("");
    if (variable.size() < 2 || variable[0] != '_' || variable.find_first_not_of("0123456789", 1) != string::npos || !text(" = uninitialized(NoneType)\n"))
        return false;
    blanks();
    if (!text("ops.prim.RaiseException(\"Cannot call @unused methods\", \"builtins.RuntimeError\")\n"))
        return false;
    blanks();
    return text("return "+variable+"\n");
}

static void checkCalls(const string& code) {
    const string what = ", which may read or write files";
    // Only a point or getattr reaches it. Between a point and a name torch writes nothing.
    for (size_t i = code.find('.'); i != string::npos; i = code.find('.', i+1)) {
        size_t j = i+1;
        while (j < code.size() && (isspace((unsigned char) code[j]) || (code[j] == '\\' && j+1 < code.size() && isspace((unsigned char) code[j+1]))))
            j++;
        if (j < code.size() && code[j] == '#')
            refuse("code that names '#'"+what);
        string word = wordAt(code, j);
        if (namesFiles(word))
            refuse("code that names "+word+what);
    }
    for (size_t i = code.find("getattr"); i != string::npos; i = code.find("getattr", i+1)) {
        if (!isWord(code, i, "getattr"))
            continue;
        // getattr(operand, "name"): the operand has no text with a backslash, no comment, no other line.
        size_t j = i+7;
        int depth = 0;
        for (; j < code.size(); j++) {
            char c = code[j];
            if (c == '"') {
                j = code.find_first_of("\"\\\n", j+1);
                if (j == string::npos || code[j] != '"')
                    refuse("code that names getattr"+what);
                continue;
            }
            if (c == ',' && depth == 1)
                break;
            depth += (c == '(' || c == '[') - (c == ')' || c == ']');
            if (depth < 1 || !(isInside(c) || string("()[]., ").find(c) != string::npos))
                refuse("code that names getattr"+what);
        }
        size_t end = string::npos;
        if (code.compare(j, 3, ", \"") == 0)
            end = code.find_first_of("\"\\\n", j+3);
        if (end == string::npos || code.compare(end, 2, "\")") != 0 || namesFiles(code.substr(j+3, end-j-3)))
            refuse("code that names getattr"+what);
    }
    for (size_t i = code.find("__setstate__"); i != string::npos; i = code.find("__setstate__", i+1)) {
        if (!onlyRaises(code, code.rfind('\n', i)+1)) // 0 where there is none
            refuse("code that runs while it is loaded (__setstate__)");
    }
}

/** Whether only types and values that are written out stand from a position to the bracket that closes it, or to the end of the line. */
static bool isWrittenOut(const string& code, size_t i, bool toEndOfLine) {
    int depth = (toEndOfLine ? 0 : 1);
    while (toEndOfLine ? i < code.size() && code[i] != '\n' : depth > 0) {
        if (i >= code.size())
            return false;
        const char c = code[i];
        const string word = wordAt(code, i);
        if (c == '"') {
            const size_t end = endOfText(code, i);
            if (code[end-1] != '"' || end == i+1)
                return false;
            i = end;
        }
        else if (!word.empty()) {
            if (word == "for" || word == "if" || word == "lambda")
                return false;
            const bool device = (word == "device" && i >= 6 && isWord(code, i-6, "torch"));
            i += word.size();
            if (i < code.size() && code[i] == '(') {
                if (word != "annotate" && !device)
                    return false;
                depth++;
                i++;
            }
        }
        else {
            const bool opens = (c == '(' || c == '[' || c == '{'), called = (c == '(' && string("=,([{").find(code[code[i-1] == ' ' && i > 1 ? i-2 : i-1]) == string::npos);
            if (called || (!opens && !isspace((unsigned char) c) && string(")]}.:,=+-").find(c) == string::npos))
                return false;
            depth += opens - (c == ')' || c == ']' || c == '}');
            i++;
        }
    }
    return depth == 0;
}

/** Refuse default values of arguments and constants that torch would compute while it reads the code. */
static void checkValues(const string& code) {
    bool first = true;
    for (size_t i = 0; i < code.size(); ) {
        const string word = wordAt(code, i);
        if (word.empty()) {
            first = (code[i] == '\n' || (first && isspace((unsigned char) code[i])));
            i = (code[i] == '"' ? endOfText(code, i) : i+1);
            continue;
        }
        i += word.size();
        if (word == "Final" && !isWrittenOut(code, i, true))
            refuse("code that runs while it is loaded (the value of a constant)");
        if (word == "def" && first) {
            const size_t name = code.find_first_not_of(" \t", i), bracket = (name == string::npos ? name : name+wordAt(code, name).size());
            if (bracket == string::npos || bracket >= code.size() || code[bracket] != '(' || !isWrittenOut(code, bracket+1, false))
                refuse("code that runs while it is loaded (the default value of an argument)");
        }
        first = false;
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
                checkNesting(content, name);
                checkCalls(content);
                checkValues(content);
            }
        }
    }
    catch (const c10::Error& e) {
        throw OpenMMException("NeuralForce: the model could not be read: "+printable(e.what_without_backtrace()));
    }
}

/** Whether an argument of an operator is a kind of numbers, or none. */
static bool isKind(const c10::Argument& argument) {
    c10::TypePtr type = argument.real_type();
    if (auto optional = type->cast<c10::OptionalType>())
        type = optional->getElementType();
    return type->kind() == c10::TypeKind::ScalarTypeType || (argument.name() == "dtype" && type->kind() == c10::TypeKind::IntType);
}

/** What is known of a value before anything runs: a constant, the module itself, or an attribute of what is known. */
static std::optional<c10::IValue> knownValue(const torch::jit::Value* value, const torch::jit::Graph& graph, const torch::jit::Module& module) {
    vector<string> names;
    for (; value->node()->kind() == c10::prim::GetAttr; value = value->node()->input())
        names.push_back(value->node()->s(c10::attr::name));
    std::optional<c10::IValue> found = torch::jit::toIValue(value);
    if (value == graph.inputs()[0])
        found = module._ivalue();
    for (; found && !names.empty(); names.pop_back()) {
        if (!found->isObject() || !found->toObjectRef().type()->hasAttribute(names.back()))
            return std::nullopt;
        found = found->toObjectRef().getAttr(names.back());
    }
    return found;
}

void OpenMMNN::checkKinds(const torch::jit::Graph& graph, const torch::jit::Module& module) {
    vector<const torch::jit::Value*> values;
    vector<const torch::jit::Block*> blocks(1, graph.block());
    while (!blocks.empty()) {
        const torch::jit::Block* block = blocks.back();
        blocks.pop_back();
        for (const torch::jit::Node* node : block->nodes()) {
            blocks.insert(blocks.end(), node->blocks().begin(), node->blocks().end());
            const c10::FunctionSchema* schema = node->maybeSchema();
            for (size_t i = 0; schema && i < schema->arguments().size() && i < node->inputs().size(); i++)
                if (isKind(schema->arguments()[i]))
                    values.push_back(node->input(i));
        }
    }
    std::set<const torch::jit::Value*> seen;
    while (!values.empty()) {
        const torch::jit::Value* value = values.back();
        const torch::jit::Node* node = value->node();
        values.pop_back();
        if (!seen.insert(value).second)
            continue;
        if (node->kind() == c10::prim::If)
            for (const torch::jit::Block* block : node->blocks())
                values.push_back(block->outputs()[value->offset()]);
        else if (node->kind() == c10::prim::unchecked_cast || node->kind() == c10::prim::unchecked_unwrap_optional || node->kind() == c10::aten::_unwrap_optional)
            values.push_back(node->input());
        else {
            std::optional<c10::IValue> known = knownValue(value, graph, module);
            if (known && known->isInt() && (known->toInt() < 0 || known->toInt() >= (int64_t) c10::ScalarType::Undefined))
                refuse("code with a kind of numbers (dtype) "+to_string(known->toInt()));
        }
    }
}
