"""Neural-network potentials as OpenMM forces, alone or mixed with classical terms.

The public names are loaded when they are first used, and torch when a model is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import native
from ._version import __version__

if TYPE_CHECKING:
    from .card import ModelCard
    from .errors import OpenMMNNError
    from .export import export_potential
    from .force import Link
    from .hybrid import HybridSystem, create_hybrid_system
    from .loading import available_potentials, load_potential, trust_hash
    from .potential import Evaluation, Potential
    from .preflight import preflight
    from .system import add_neural_force, create_system
    from .tuning import tune

__all__ = [
    "Evaluation",
    "HybridSystem",
    "Link",
    "ModelCard",
    "OpenMMNNError",
    "Potential",
    "__version__",
    "add_neural_force",
    "available_potentials",
    "create_hybrid_system",
    "create_system",
    "export_potential",
    "load_potential",
    "preflight",
    "trust_hash",
    "tune",
]

_MODULES = {
    "Evaluation": "potential",
    "HybridSystem": "hybrid",
    "Link": "force",
    "ModelCard": "card",
    "OpenMMNNError": "errors",
    "Potential": "potential",
    "add_neural_force": "system",
    "available_potentials": "loading",
    "create_hybrid_system": "hybrid",
    "create_system": "system",
    "export_potential": "export",
    "load_potential": "loading",
    "trust_hash": "loading",
    "tune": "tuning",
}
_SUBMODULES = (
    "analysis",
    "card",
    "errors",
    "hybrid",
    "native",
    "preflight",
    "report",
    "simulation",
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
