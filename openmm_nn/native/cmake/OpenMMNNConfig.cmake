# find_package(OpenMMNN): the C++ library of openmm_nn.
#
# Defines the target OpenMMNN::OpenMMNN, which brings the headers of openmm_nn and of OpenMM and links both libraries.
# The kernels, and libtorch with them, are loaded at run time from the directory torch-<version>/ beside that of the library; see Engines.h.
#
# Point CMake here with  -DOpenMMNN_DIR=$(python -m openmm_nn.native.build --cmake-dir)
# and at OpenMM with     -DOPENMM_DIR=<directory with include/ and lib/>, where it is not the one of the build.

get_filename_component(_openmm_nn_prefix "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
include("${CMAKE_CURRENT_LIST_DIR}/OpenMMNNBuild.cmake")
if(NOT OPENMM_DIR)
    set(OPENMM_DIR "${OpenMMNN_BUILT_WITH_OPENMM_DIR}")
endif()
find_library(OPENMM_LIBRARY OpenMM PATHS "${OPENMM_DIR}/lib" NO_DEFAULT_PATH REQUIRED)
find_library(OPENMM_NN_LIBRARY OpenMMNN PATHS "${_openmm_nn_prefix}/lib" NO_DEFAULT_PATH REQUIRED)
if(NOT TARGET OpenMMNN::OpenMMNN)
    add_library(OpenMMNN::OpenMMNN SHARED IMPORTED)
    set_target_properties(OpenMMNN::OpenMMNN PROPERTIES
        IMPORTED_LOCATION "${OPENMM_NN_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${_openmm_nn_prefix}/include;${OPENMM_DIR}/include"
        INTERFACE_LINK_LIBRARIES "${OPENMM_LIBRARY}"
        INTERFACE_COMPILE_FEATURES cxx_std_17)
endif()
set(OpenMMNN_OPENMM_PLUGINS "${OPENMM_DIR}/lib/plugins")
