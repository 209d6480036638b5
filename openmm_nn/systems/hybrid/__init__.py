"""Hybrid Systems: a region described by a potential, the rest by a force field."""

from .boundary_report import BoundaryReport
from .create import HybridSystem, create_hybrid_system
from .ledger import Ledger
from .region import Region

__all__ = ["BoundaryReport", "HybridSystem", "Ledger", "Region", "create_hybrid_system"]
