"""Checks of a potential on a structure, before anything is run with it: `openmm_nn.preflight`."""

from .preflight import available_checks, preflight
from .preflight_report import Check, PreflightReport

__all__ = ["Check", "PreflightReport", "available_checks", "preflight"]
