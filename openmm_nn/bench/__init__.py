"""Measurements: what a step costs, against its parts and against peers that are installed.

Run as ``python -m openmm_nn.bench step``, ``hybrid`` or ``model``. Nothing here decides a test: times depend on the
machine.
"""

from .hybrid import SetupResult, measure_interpolation, measure_large_region, measure_setup
from .model import ModelResult, measure_model
from .step import StepResult, measure_step

__all__ = [
    "ModelResult",
    "SetupResult",
    "StepResult",
    "measure_interpolation",
    "measure_large_region",
    "measure_model",
    "measure_setup",
    "measure_step",
]
