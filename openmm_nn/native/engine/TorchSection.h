#ifndef OPENMM_NN_TORCHSECTION_H_
#define OPENMM_NN_TORCHSECTION_H_

#include <memory>
#if defined(__GNUC__) && defined(__x86_64__)
    #include <immintrin.h>
#endif

namespace OpenMMNN {

/**
 * Held while torch is used.  At its end the upper halves of the vector registers are cleared: torch's code can leave
 * something in them, and SSE code of the same thread, of which OpenMM has much, then takes several times as long until
 * somebody does it.
 */
class TorchSection {
public:
    explicit TorchSection(std::shared_ptr<void> scope) : scope(scope) {
    }
    TorchSection(const TorchSection&) = delete;
    TorchSection(TorchSection&&) = default;
    ~TorchSection() {
        scope.reset();
#if defined(__GNUC__) && defined(__x86_64__)
        if (__builtin_cpu_supports("avx"))
            clearUpperHalves();
#endif
    }
private:
#if defined(__GNUC__) && defined(__x86_64__)
    __attribute__((target("avx"))) static void clearUpperHalves() {
        _mm256_zeroupper();
    }
#endif
    std::shared_ptr<void> scope;
};

} // namespace OpenMMNN

#endif // OPENMM_NN_TORCHSECTION_H_
