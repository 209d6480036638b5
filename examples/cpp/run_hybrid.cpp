// Runs 100 steps of a System with a neural force, without Python.
//
//     run_hybrid system.xml state.xml [platform]
//
// Both files are written by openmm.XmlSerializer in Python; the potential is inside system.xml.

#include "OpenMM.h"
#include "openmm_nn/NeuralForce.h"
#include <fstream>
#include <iostream>
#include <memory>

using namespace OpenMM;

template <class T>
static std::unique_ptr<T> read(const char* path) {
    std::ifstream file(path);
    if (!file)
        throw OpenMMException(std::string("cannot read ")+path);
    return std::unique_ptr<T>(XmlSerializer::deserialize<T>(file));
}

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "usage: run_hybrid system.xml state.xml [platform]" << std::endl;
        return 2;
    }
    try {
        // The platforms of OpenMM are plugins.  That of openmm_nn is linked, which is enough to read its forces from
        // XML; its kernels are loaded when the Context is made.

        Platform::loadPluginsFromDirectory(OPENMM_PLUGINS);
        std::unique_ptr<System> system = read<System>(argv[1]);
        std::unique_ptr<State> state = read<State>(argv[2]);
        for (int i = 0; i < system->getNumForces(); i++)
            if (auto* force = dynamic_cast<OpenMMNN::NeuralForce*>(&system->getForce(i)))
                std::cout << force->getName() << ": " << force->getParticles().size() << " of " << system->getNumParticles()
                        << " particles, model " << force->getModelHash().substr(0, 12) << std::endl;

        LangevinMiddleIntegrator integrator(300.0, 1.0, 0.0005);
        Context context(*system, integrator, Platform::getPlatformByName(argc > 3 ? argv[3] : "CPU"));
        context.setState(*state);
        std::cout.precision(10);
        std::cout << "energy before: " << context.getState(State::Energy).getPotentialEnergy() << " kJ/mol" << std::endl;
        integrator.step(100);
        std::cout << "energy after 100 steps: " << context.getState(State::Energy).getPotentialEnergy() << " kJ/mol" << std::endl;
    }
    catch (const std::exception& e) {
        std::cerr << "run_hybrid: " << e.what() << std::endl;
        return 1;
    }
}
