#include "Base64.h"
#include "openmm/OpenMMException.h"
#include <array>
#include <cstdint>

using std::string;

static const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

string OpenMMNN::base64Encode(const string& bytes) {
    string text;
    text.reserve((bytes.size()+2)/3*4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        size_t count = std::min<size_t>(3, bytes.size()-i);
        uint32_t word = 0;
        for (size_t j = 0; j < 3; j++)
            word = word << 8 | (j < count ? (unsigned char) bytes[i+j] : 0);
        for (size_t j = 0; j < 4; j++)
            text += (j <= count ? alphabet[(word >> (18-6*j))&63] : '=');
    }
    return text;
}

string OpenMMNN::base64Decode(const string& text) {
    static const std::array<int, 256> values = [] {
        std::array<int, 256> v;
        v.fill(-1);
        for (int i = 0; i < 64; i++)
            v[(unsigned char) alphabet[i]] = i;
        return v;
    }();
    size_t length = text.size();
    if (length%4 != 0)
        throw OpenMM::OpenMMException("NeuralForce: the model inside the XML is not base64 (its length is "+std::to_string(length)+", not a multiple of 4): the file is damaged or truncated");
    while (length > 0 && text[length-1] == '=' && text.size()-length < 2)
        length--;
    string bytes;
    bytes.reserve(length*3/4);
    uint32_t word = 0;
    int bits = 0;
    for (size_t i = 0; i < length; i++) {
        int value = values[(unsigned char) text[i]];
        if (value < 0)
            throw OpenMM::OpenMMException("NeuralForce: the model inside the XML is not base64 (character "+std::to_string(i)+"): the file is damaged");
        word = word << 6 | value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes += (char) (word >> bits);
        }
    }
    return bytes;
}
