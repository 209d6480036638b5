#include "PickleCheck.h"
#include "ScriptCheck.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

using namespace OpenMM;
using namespace OpenMMNN;
using std::map;
using std::string;
using std::to_string;
using std::vector;

static const int maxDepth = 400;

namespace {

struct Value;
typedef std::shared_ptr<Value> ValuePtr;

/** What stands for a value.  Numbers and texts are kept as far as tensors need them. */
struct Value {
    enum Kind {Other, Number, Text, Global, Tuple, Storage, Mark};
    Kind kind = Other;
    long long number = 0;
    string text;
    vector<ValuePtr> items;
    int depth = 1;
};

class Reader {
public:
    Reader(const string& data, const string& record, const map<string, size_t>& sizes, const string& folder) :
            data(data), record(record), sizes(sizes), folder(folder) {
    }
    void read();
private:
    [[noreturn]] void refuse(const string& what) const {
        throw OpenMMException("NeuralForce: the model's record "+printable(record)+" has "+printable(what)+" at byte "+to_string(position)+
                ", which torch.jit.save() does not write. Do not use this file; get it again, or export the model again");
    }
    string take(size_t count) {
        if (count > data.size()-position)
            refuse("an end that comes too early");
        position += count;
        return data.substr(position-count, count);
    }
    uint64_t takeNumber(size_t bytes) {
        string raw = take(bytes);
        uint64_t value = 0;
        for (size_t i = 0; i < bytes; i++)
            value |= (uint64_t) (unsigned char) raw[i] << (8*i);
        return value;
    }
    string takeLine() {
        size_t end = data.find('\n', position);
        if (end == string::npos)
            refuse("a name without an end");
        string line = data.substr(position, end-position);
        position = end+1;
        return line;
    }
    void push(Value::Kind kind, long long number = 0, const string& text = "") {
        ValuePtr value = std::make_shared<Value>();
        value->kind = kind;
        value->number = number;
        value->text = text;
        stack.push_back(value);
    }
    ValuePtr top() const {
        if (stack.empty() || stack.back()->kind == Value::Mark)
            refuse("an instruction with nothing to work on");
        return stack.back();
    }
    ValuePtr pop() {
        ValuePtr value = top();
        stack.pop_back();
        return value;
    }
    vector<ValuePtr> popToMark() {
        vector<ValuePtr> items;
        while (!stack.empty()) {
            ValuePtr value = stack.back();
            stack.pop_back();
            if (value->kind == Value::Mark) {
                std::reverse(items.begin(), items.end());
                return items;
            }
            items.push_back(value);
        }
        refuse("an end with no beginning");
    }
    int depthOf(const vector<ValuePtr>& items) const {
        int depth = 1;
        for (auto& item : items)
            depth = std::max(depth, item->depth+1);
        if (depth > maxDepth)
            refuse("values nested more than "+to_string(maxDepth)+" deep");
        return depth;
    }
    void pushTuple(const vector<ValuePtr>& items) {
        push(Value::Tuple);
        stack.back()->items = items;
        stack.back()->depth = depthOf(items);
    }
    /** Entries of a list, dict or object: only how deeply they nest is kept. */
    void extend(const vector<ValuePtr>& items) {
        ValuePtr target = top();
        for (auto& item : items)
            if (item == target)
                refuse("a value inside itself");
        target->depth = std::max(target->depth, depthOf(items));
    }
    void pushStorage();
    void reduce();
    void checkTensor(const vector<ValuePtr>& items) const;
    bool step(unsigned char code);
    const string& data;
    const string& record;
    const map<string, size_t>& sizes;
    const string& folder;
    size_t position = 0;
    vector<ValuePtr> stack;
    map<uint64_t, ValuePtr> memo;
};

} // namespace

static size_t itemSize(const string& name) {
    static const map<string, size_t> known = {{"DoubleStorage", 8}, {"FloatStorage", 4}, {"HalfStorage", 2}, {"BFloat16Storage", 2},
            {"LongStorage", 8}, {"IntStorage", 4}, {"ShortStorage", 2}, {"CharStorage", 1}, {"ByteStorage", 1}, {"BoolStorage", 1},
            {"ComplexDoubleStorage", 16}, {"ComplexFloatStorage", 8}, {"UntypedStorage", 1}, {"QUInt8Storage", 1}, {"QInt8Storage", 1}, {"QInt32Storage", 4}};
    auto found = known.find(name.substr(name.find(' ')+1));
    return found == known.end() ? 0 : found->second;
}

void Reader::pushStorage() {
    // ('storage', type, key, device, number of elements)
    ValuePtr id = pop();
    const vector<ValuePtr>& v = id->items;
    if (id->kind != Value::Tuple || v.size() != 5 || v[0]->text != "storage" || v[1]->kind != Value::Global || v[2]->kind != Value::Text ||
            v[4]->kind != Value::Number || itemSize(v[1]->text) == 0)
        refuse("a tensor without a storage that can be read");
    auto available = sizes.find(folder+"/"+v[2]->text);
    if (available == sizes.end())
        refuse("a tensor in a record that is missing");
    if (v[4]->number < 0 || (uint64_t) v[4]->number > available->second/itemSize(v[1]->text))
        refuse("a tensor of "+to_string(v[4]->number)+" numbers in a record of "+to_string(available->second)+" bytes");
    push(Value::Storage, v[4]->number);
}

void Reader::checkTensor(const vector<ValuePtr>& items) const {
    if (items.size() < 4 || items[0]->kind != Value::Storage || items[1]->kind != Value::Number || items[2]->kind != Value::Tuple ||
            items[3]->kind != Value::Tuple || items[2]->items.size() != items[3]->items.size() || items[2]->items.size() > 64)
        refuse("a tensor whose sizes and strides do not go together");
    // Every number is bounded by that of elements first, so that nothing overflows.
    long long numbers = items[0]->number, last = items[1]->number;
    if (last < 0 || last > numbers)
        refuse("a tensor that begins beyond its numbers");
    bool empty = false;
    for (auto& size : items[2]->items) {
        if (size->kind != Value::Number || size->number < 0)
            refuse("a tensor with sizes that are no numbers");
        empty = empty || size->number == 0;
    }
    for (size_t k = 0; k < items[2]->items.size(); k++) {
        long long size = items[2]->items[k]->number, stride = items[3]->items[k]->number;
        if (items[3]->items[k]->kind != Value::Number || stride < 0)
            refuse("a tensor with strides that are no numbers");
        if (empty || size == 1 || stride == 0)
            continue;
        if (size > numbers || stride > numbers || (size-1) > (numbers-last)/stride)
            refuse("a tensor that reaches beyond its "+to_string(numbers)+" numbers");
        last += (size-1)*stride;
    }
    if (!empty && last >= numbers)
        refuse("a tensor that reaches beyond its "+to_string(numbers)+" numbers");
}

void Reader::reduce() {
    ValuePtr arguments = pop(), function = pop();
    if (function->kind != Value::Global || arguments->kind != Value::Tuple)
        refuse("a call of something that is no function");
    if (function->text.compare(0, 13, "torch._utils ") == 0) {
        if (function->text != "torch._utils _rebuild_tensor_v2" && function->text != "torch._utils _rebuild_qtensor")
            refuse("a tensor made by "+function->text);
        checkTensor(arguments->items);
    }
    push(Value::Other);
    stack.back()->depth = depthOf(arguments->items);
}

bool Reader::step(unsigned char code) {
    switch (code) {
        case 0x80: take(1); break; // PROTO
        case '(': push(Value::Mark); break;
        case '.':
            pop();
            if (!stack.empty())
                refuse("values left over");
            return false;
        case 'q': memo[takeNumber(1)] = top(); break;
        case 'r': memo[takeNumber(4)] = top(); break;
        case 'h': case 'j': {
            auto found = memo.find(takeNumber(code == 'h' ? 1 : 4));
            if (found == memo.end())
                refuse("a memory cell that is empty");
            stack.push_back(found->second);
            break;
        }
        case 'c': {
            string module = takeLine(), name = takeLine();
            if (module != "torch" && module != "torch._utils" && module != "torch.jit._pickle" && module != "torch.storage" && module != "collections" &&
                    module.compare(0, 9, "__torch__") != 0)
                refuse("the name "+module+"."+name);
            push(Value::Global, 0, module+" "+name);
            break;
        }
        case ')': pushTuple({}); break;
        case ']': case '}': case 'N': case 0x88: case 0x89: push(Value::Other); break;
        case 't': pushTuple(popToMark()); break;
        case 0x85: case 0x86: case 0x87: {
            vector<ValuePtr> items(code-0x84);
            for (size_t i = items.size(); i-- > 0;)
                items[i] = pop();
            pushTuple(items);
            break;
        }
        case 'l': {
            vector<ValuePtr> items = popToMark();
            push(Value::Other);
            stack.back()->depth = depthOf(items);
            break;
        }
        case 'a': case 'b': {
            ValuePtr item = pop();
            extend({item});
            break;
        }
        case 's': {
            ValuePtr value = pop(), key = pop();
            extend({key, value});
            break;
        }
        case 'e': case 'u': extend(popToMark()); break;
        case 'R': case 0x81: reduce(); break;
        case 'Q': pushStorage(); break;
        case 'J': push(Value::Number, (int32_t) takeNumber(4)); break;
        case 'K': push(Value::Number, (long long) takeNumber(1)); break;
        case 'M': push(Value::Number, (long long) takeNumber(2)); break;
        case 0x8a: { // LONG1
            size_t count = takeNumber(1);
            if (count > 8)
                refuse("a number of more than 64 bits");
            uint64_t value = takeNumber(count);
            if (count > 0 && count < 8 && (value >> (8*count-1)&1))
                value |= ~(uint64_t) 0 << (8*count);
            push(Value::Number, (long long) value);
            break;
        }
        case 'G': take(8); push(Value::Other); break;
        case 'X': case 'T': {
            string text = take(takeNumber(4));
            // It may be the name of a type, which is read as deeply as it nests.
            int depth = 0;
            for (char c : text) {
                depth += (c == '[')-(c == ']');
                if (depth > maxDepth)
                    refuse("a text with brackets nested more than "+to_string(maxDepth)+" deep");
            }
            push(Value::Text, 0, text);
            break;
        }
        case 'U': {
            size_t count = takeNumber(1);
            push(Value::Text, 0, take(count));
            break;
        }
        default: refuse("the instruction "+to_string((int) code));
    }
    return true;
}

void Reader::read() {
    while (step((unsigned char) take(1)[0]))
        ;
}

void OpenMMNN::checkPickle(const string& data, const string& record, const map<string, size_t>& sizes, const string& folder) {
    Reader(data, record, sizes, folder).read();
}
