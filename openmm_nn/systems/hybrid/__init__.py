"""Hybrid Systems: a region described by a potential, the rest by a force field."""

from .boundary_report import BoundaryReport
from .create import HybridSystem, create_hybrid_system
from .ledger import Ledger
from .mechanical_embedding import Mechanical
from .region import Region, select_region

__all__ = [
    "BoundaryReport",
    "HybridSystem",
    "Ledger",
    "Mechanical",
    "Region",
    "create_hybrid_system",
    "select_region",
]
