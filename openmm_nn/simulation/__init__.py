"""Simulations: run files, the protocol, reporters, guards and the use of uncertainty."""

from .guards import (
    BondGuard,
    EnergyJumpGuard,
    Event,
    FiniteGuard,
    ForceGuard,
    Guard,
    TemperatureGuard,
    UncertaintyGuard,
)
from .multistep import multistep_integrator, multistep_system
from .multistep_audit import MultistepAudit, MultistepRow, audit_multistep
from .preparation import Prepared, prepare
from .progress import Progress
from .protocol import RunResult, continue_run, run
from .runfile import RunFile
from .samples import Measure, Sample, Spread
from .schema import SCHEMA
from .uncertainty import bias_potential, find_committee, measure_spread
from .watch import GuardReporter

__all__ = [
    "SCHEMA",
    "BondGuard",
    "EnergyJumpGuard",
    "Event",
    "FiniteGuard",
    "ForceGuard",
    "Guard",
    "GuardReporter",
    "Measure",
    "MultistepAudit",
    "MultistepRow",
    "Prepared",
    "Progress",
    "RunFile",
    "RunResult",
    "Sample",
    "Spread",
    "TemperatureGuard",
    "UncertaintyGuard",
    "audit_multistep",
    "bias_potential",
    "continue_run",
    "find_committee",
    "measure_spread",
    "multistep_integrator",
    "multistep_system",
    "prepare",
    "run",
]
