#include "Sha256.h"
#include <array>
#include <cmath>
#include <cstdint>

using std::string;

namespace {

typedef std::array<uint32_t, 8> State;

/** The first 32 bits of the fractional part of a root of a prime (FIPS 180-4, 4.2.2 and 5.3.3). */
uint32_t fraction(long double root) {
    return (uint32_t) ((root-std::floor(root))*4294967296.0L);
}

struct Constants {
    uint32_t k[64];
    State initial;
    Constants() {
        int n = 0;
        for (int candidate = 2; n < 64; candidate++) {
            bool prime = true;
            for (int d = 2; d*d <= candidate; d++)
                if (candidate%d == 0)
                    prime = false;
            if (!prime)
                continue;
            k[n] = fraction(std::cbrt((long double) candidate));
            if (n < 8)
                initial[n] = fraction(std::sqrt((long double) candidate));
            n++;
        }
    }
};

uint32_t rotate(uint32_t x, int n) {
    return (x >> n) | (x << (32-n));
}

void compress(State& state, const unsigned char* block, const Constants& constants) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t) block[4*i] << 24 | (uint32_t) block[4*i+1] << 16 | (uint32_t) block[4*i+2] << 8 | block[4*i+3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i-15], 7)^rotate(w[i-15], 18)^(w[i-15] >> 3);
        uint32_t s1 = rotate(w[i-2], 17)^rotate(w[i-2], 19)^(w[i-2] >> 10);
        w[i] = w[i-16]+s0+w[i-7]+s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h+(rotate(e, 6)^rotate(e, 11)^rotate(e, 25))+((e&f)^(~e&g))+constants.k[i]+w[i];
        uint32_t t2 = (rotate(a, 2)^rotate(a, 13)^rotate(a, 22))+((a&b)^(a&c)^(b&c));
        h = g; g = f; f = e; e = d+t1; d = c; c = b; b = a; a = t1+t2;
    }
    const uint32_t add[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++)
        state[i] += add[i];
}

} // namespace

string OpenMMNN::sha256(const string& bytes) {
    static const Constants constants;
    State state = constants.initial;
    const unsigned char* data = reinterpret_cast<const unsigned char*>(bytes.data());
    size_t whole = bytes.size()/64*64;
    for (size_t i = 0; i < whole; i += 64)
        compress(state, data+i, constants);
    string tail = bytes.substr(whole);
    tail += (char) 0x80;
    while (tail.size()%64 != 56)
        tail += (char) 0;
    uint64_t bits = (uint64_t) bytes.size()*8;
    for (int i = 7; i >= 0; i--)
        tail += (char) (bits >> 8*i);
    for (size_t i = 0; i < tail.size(); i += 64)
        compress(state, reinterpret_cast<const unsigned char*>(tail.data())+i, constants);
    static const char* digits = "0123456789abcdef";
    string result;
    for (uint32_t word : state)
        for (int shift = 28; shift >= 0; shift -= 4)
            result += digits[(word >> shift)&15];
    return result;
}
