"""Dynamics: multiple time steps, guards, the uncertainty of committees, and the fastest settings."""

from .committee_spread import bias_potential, find_committee, measure_spread
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
from .samples import Measure, Sample, Spread
from .watch import GuardReporter

__all__ = [
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
    "Sample",
    "Spread",
    "TemperatureGuard",
    "UncertaintyGuard",
    "audit_multistep",
    "bias_potential",
    "find_committee",
    "measure_spread",
    "multistep_integrator",
    "multistep_system",
]
