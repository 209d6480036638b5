"""Measurements: what a step costs, against its parts and against peers that are installed.

Run as ``python -m openmm_nn.bench step``. Nothing here decides a test: times depend on the machine.
"""

from .step import StepResult, measure_step

__all__ = ["StepResult", "measure_step"]
