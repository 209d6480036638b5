"""Measurements: what a step costs, against its parts and against peers that are installed.

Run as ``python -m openmm_nn.bench step``, ``hybrid``, ``model`` or ``scaling``. Nothing here decides a test: times
depend on the machine.
"""

from .hybrid import SetupResult, measure_interpolation, measure_large_region, measure_setup
from .model import ModelResult, measure_model
from .scaling import ScalingRow, measure_environment, measure_region
from .step import StepResult, measure_step

__all__ = [
    "ModelResult",
    "ScalingRow",
    "SetupResult",
    "StepResult",
    "measure_environment",
    "measure_interpolation",
    "measure_large_region",
    "measure_model",
    "measure_region",
    "measure_setup",
    "measure_step",
]
