"""Neural-network potentials as OpenMM forces."""
