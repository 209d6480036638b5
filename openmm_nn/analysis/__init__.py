"""What a trajectory shows: MDTraj's observables, and those that only a hybrid has.

Arrays are in nm, ps, kJ/mol, radians and e.
"""

from .angle_free_energy import AngleFreeEnergy, compute_angle_free_energy
from .averages import (
    Average,
    BlockAverages,
    compute_average,
    compute_block_averages,
    compute_statistical_inefficiency,
)
from .drift import Drift, compute_drift
from .interaction import InteractionEnergy, compute_interaction_energy
from .ledger_series import LedgerSeries, compute_ledger
from .link_geometry import LinkGeometry, compute_link_geometry
from .reweighting import Reweighting, compute_energies, compute_reweighting
from .spectrum import Spectrum, compute_dipole_spectrum, compute_dipoles, compute_ir_spectrum
from .step_cost import StepCost, compute_step_cost
from .structure import RadialDistribution, StructureSummary, compute_structure, compute_water_rdf
from .twin import Difference, TwinComparison, compute_twin_comparison
from .uncertainty import Uncertainty, compute_uncertainty

__all__ = [
    "AngleFreeEnergy",
    "Average",
    "BlockAverages",
    "Difference",
    "Drift",
    "InteractionEnergy",
    "LedgerSeries",
    "LinkGeometry",
    "RadialDistribution",
    "Reweighting",
    "Spectrum",
    "StepCost",
    "StructureSummary",
    "TwinComparison",
    "Uncertainty",
    "compute_angle_free_energy",
    "compute_average",
    "compute_block_averages",
    "compute_dipole_spectrum",
    "compute_dipoles",
    "compute_drift",
    "compute_energies",
    "compute_interaction_energy",
    "compute_ir_spectrum",
    "compute_ledger",
    "compute_link_geometry",
    "compute_reweighting",
    "compute_statistical_inefficiency",
    "compute_step_cost",
    "compute_structure",
    "compute_twin_comparison",
    "compute_uncertainty",
    "compute_water_rdf",
]
