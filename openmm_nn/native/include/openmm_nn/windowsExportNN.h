#ifndef OPENMM_NN_WINDOWSEXPORT_H_
#define OPENMM_NN_WINDOWSEXPORT_H_

#ifdef _MSC_VER
    #pragma warning(disable:4251)
    #if defined(OPENMM_NN_BUILDING)
        #define OPENMM_EXPORT_NN __declspec(dllexport)
    #else
        #define OPENMM_EXPORT_NN __declspec(dllimport)
    #endif
    #if defined(OPENMM_NN_ENGINE_BUILDING)
        #define OPENMM_EXPORT_NN_ENGINE __declspec(dllexport)
    #else
        #define OPENMM_EXPORT_NN_ENGINE __declspec(dllimport)
    #endif
#else
    #define OPENMM_EXPORT_NN __attribute__((visibility("default")))
    #define OPENMM_EXPORT_NN_ENGINE __attribute__((visibility("default")))
#endif

#endif // OPENMM_NN_WINDOWSEXPORT_H_
