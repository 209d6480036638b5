"""Neural-network potentials as OpenMM forces, alone or mixed with classical terms.

The public names are loaded when they are first used, and torch when a model is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import native
from ._version import __version__

if TYPE_CHECKING:
    from .checks.preflight import preflight
    from .dynamics.tuning import tune
    from .engine.force import Link
    from .errors import OpenMMNNError
    from .model.card import ModelCard
    from .potentials.export import export_potential
    from .potentials.loading import available_potentials, load_potential, trust_hash
    from .potentials.potential import Evaluation, Potential
    from .systems.hybrid import HybridSystem, Mechanical, Region, create_hybrid_system, select_region
    from .systems.system import add_neural_force, create_system

__all__ = [
    "Evaluation",
    "HybridSystem",
    "Link",
    "Mechanical",
    "ModelCard",
    "OpenMMNNError",
    "Potential",
    "Region",
    "__version__",
    "add_neural_force",
    "available_potentials",
    "create_hybrid_system",
    "create_system",
    "export_potential",
    "load_potential",
    "preflight",
    "select_region",
    "trust_hash",
    "tune",
]

_MODULES = {
    "Evaluation": "potentials.potential",
    "HybridSystem": "systems.hybrid",
    "Link": "engine.force",
    "Mechanical": "systems.hybrid",
    "ModelCard": "model.card",
    "OpenMMNNError": "errors",
    "Potential": "potentials.potential",
    "Region": "systems.hybrid",
    "add_neural_force": "systems.system",
    "available_potentials": "potentials.loading",
    "create_hybrid_system": "systems.hybrid",
    "create_system": "systems.system",
    "export_potential": "potentials.export",
    "load_potential": "potentials.loading",
    "preflight": "checks",
    "select_region": "systems.hybrid",
    "trust_hash": "potentials.loading",
    "tune": "dynamics.tuning",
}
_SUBMODULES = (
    "analysis",
    "checks",
    "dynamics",
    "engine",
    "errors",
    "model",
    "native",
    "potentials",
    "report",
    "runs",
    "systems",
    "tables",
    "testing",
    "units",
)

# Reading a System from XML needs the extension's proxies, which importing it registers. It does not load torch.
native.available()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
