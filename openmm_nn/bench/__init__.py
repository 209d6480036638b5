"""Measurements: what a step costs, against its parts and against peers that are installed.

Run as ``python -m openmm_nn.bench step`` or ``python -m openmm_nn.bench hybrid``. Nothing here decides a test: times
depend on the machine.
"""

from .hybrid import SetupResult, measure_interpolation, measure_large_region, measure_setup
from .step import StepResult, measure_step

__all__ = [
    "SetupResult",
    "StepResult",
    "measure_interpolation",
    "measure_large_region",
    "measure_setup",
    "measure_step",
]
