"""Measurements: what a step costs, against its parts and against peers that are installed.

Run as ``python -m openmm_nn.bench step`` or ``python -m openmm_nn.bench model``. Nothing here decides a test: times
depend on the machine.
"""

from .model import ModelResult, measure_model
from .step import StepResult, measure_step

__all__ = ["ModelResult", "StepResult", "measure_model", "measure_step"]
