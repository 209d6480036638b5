#include "SharedContext.h"
#include <cuda.h>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#if defined(__linux__) && defined(__LP64__)
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

typedef CUresult (*Destroy)(CUcontext);
Destroy originalDestroy = NULL;
std::mutex mutex;
std::map<CUcontext, CUdevice> shared;

CUresult retain(CUcontext* context, CUdevice device) {
    CUresult result = cuDevicePrimaryCtxRetain(context, device);
    if (result != CUDA_SUCCESS)
        return result;
    {
        std::lock_guard<std::mutex> lock(mutex);
        shared[*context] = device;
    }
    return cuCtxPushCurrent(*context); // a new context is current
}

// What OpenMM calls in its builds for CUDA 12 and for CUDA 13.

CUresult createVersion2(CUcontext* context, unsigned int flags, CUdevice device) {
    return retain(context, device);
}

CUresult createVersion4(CUcontext* context, void* parameters, unsigned int flags, CUdevice device) {
    return retain(context, device);
}

CUresult destroy(CUcontext context) {
    {
        std::lock_guard<std::mutex> lock(mutex);
        auto found = shared.find(context);
        if (found != shared.end())
            return cuDevicePrimaryCtxRelease(found->second);
    }
    return originalDestroy(context);
}

/** The functions that a library imports, as far as they are to be replaced: where its table holds their addresses. */
class Imports {
public:
    explicit Imports(const dl_phdr_info& library) : base(library.dlpi_addr) {
        const ElfW(Dyn)* entry = NULL;
        for (int i = 0; i < library.dlpi_phnum; i++)
            if (library.dlpi_phdr[i].p_type == PT_DYNAMIC)
                entry = (const ElfW(Dyn)*) (base+library.dlpi_phdr[i].p_vaddr);
        const ElfW(Sym)* symbols = NULL;
        const char* strings = NULL;
        const ElfW(Rela)* tables[2] = {NULL, NULL};
        size_t sizes[2] = {0, 0};
        for (; entry != NULL && entry->d_tag != DT_NULL; entry++)
            switch (entry->d_tag) {
                case DT_SYMTAB: symbols = (const ElfW(Sym)*) entry->d_un.d_ptr; break;
                case DT_STRTAB: strings = (const char*) entry->d_un.d_ptr; break;
                case DT_JMPREL: tables[0] = (const ElfW(Rela)*) entry->d_un.d_ptr; break;
                case DT_PLTRELSZ: sizes[0] = entry->d_un.d_val; break;
                case DT_RELA: tables[1] = (const ElfW(Rela)*) entry->d_un.d_ptr; break;
                case DT_RELASZ: sizes[1] = entry->d_un.d_val; break;
            }
        if (symbols == NULL || strings == NULL)
            return;
        for (int t = 0; t < 2; t++)
            for (size_t i = 0; tables[t] != NULL && i < sizes[t]/sizeof(ElfW(Rela)); i++) {
                const ElfW(Rela)& relocation = tables[t][i];
                const size_t symbol = ELF64_R_SYM(relocation.r_info);
                if (symbol != 0)
                    slots[strings+symbols[symbol].st_name] = (void**) (base+relocation.r_offset);
            }
    }
    bool has(const std::string& name) const {
        return slots.find(name) != slots.end();
    }
    bool replace(const std::string& name, void* function) const {
        void** slot = slots.at(name);
        const size_t pageSize = sysconf(_SC_PAGESIZE);
        void* page = (void*) ((size_t) slot/pageSize*pageSize);
        if (mprotect(page, pageSize, PROT_READ|PROT_WRITE) != 0)
            return false;
        *slot = function;
        return true;
    }
private:
    const size_t base;
    std::map<std::string, void**> slots;
};

int visit(dl_phdr_info* library, size_t, void*) {
    if (library->dlpi_name == NULL || strstr(library->dlpi_name, "libOpenMMCUDA.") == NULL)
        return 0;
    Imports imports(*library);
    const bool version2 = imports.has("cuCtxCreate_v2"), version4 = imports.has("cuCtxCreate_v4");
    if ((version2 || version4) && imports.has("cuCtxDestroy_v2") && imports.replace("cuCtxDestroy_v2", (void*) destroy)) {
        if (version2)
            imports.replace("cuCtxCreate_v2", (void*) createVersion2);
        if (version4)
            imports.replace("cuCtxCreate_v4", (void*) createVersion4);
    }
    return 1;
}

} // namespace

void OpenMMNN::shareContextWithTorch() {
    const char* choice = std::getenv("OPENMM_NN_CUDA_CONTEXT");
    if (choice != NULL && std::string(choice) == "separate")
        return;
    originalDestroy = cuCtxDestroy;
    dl_iterate_phdr(visit, NULL);
}

#else

void OpenMMNN::shareContextWithTorch() {
}

#endif
