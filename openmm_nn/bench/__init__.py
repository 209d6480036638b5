"""Measurements: what a step costs, against its parts and against peers that are installed.

Run as ``openmm-nn bench`` or ``python -m openmm_nn.bench`` with ``step``, ``hybrid``, ``model``, ``scaling``,
``committee`` or ``multistep``. Nothing here decides a test: times depend on the machine.
"""

from .committee_cost import CommitteeResult, measure_committee
from .model_cost import ModelResult, measure_model
from .multistep_cost import measure_multistep
from .scaling import ScalingRow, measure_environment, measure_region
from .setup_cost import SetupResult, measure_interpolation, measure_large_region, measure_setup
from .step import StepResult, measure_step
from .subjects import Subject, find_subject

__all__ = [
    "CommitteeResult",
    "ModelResult",
    "ScalingRow",
    "SetupResult",
    "StepResult",
    "Subject",
    "find_subject",
    "measure_committee",
    "measure_environment",
    "measure_interpolation",
    "measure_large_region",
    "measure_model",
    "measure_multistep",
    "measure_region",
    "measure_setup",
    "measure_step",
]
