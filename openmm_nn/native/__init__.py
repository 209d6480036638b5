"""The native extension: finds it, checks that it fits this environment, and imports it.

`NeuralForce`, `RegionForce` and `MultistepLangevinIntegrator` are its classes; asking for one loads it.

Nothing here imports torch: the wrapper links OpenMM only, and the libraries that need torch are loaded when a Context
first needs them.
"""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import NativeExtensionError

if TYPE_CHECKING:
    import openmm

    from ._forces import MultistepLangevinIntegrator, NeuralForce, RegionForce

__all__ = [
    "MultistepLangevinIntegrator",
    "NeuralForce",
    "RegionForce",
    "as_neural_force",
    "available",
    "library",
    "load",
    "neural_forces",
    "reason",
]

logger = logging.getLogger(__name__)

BUILDER = "openmm_nn.native.build"
COMMAND = f"python -m {BUILDER}"
MODULE = "openmm_nn_native"
# A difference in these makes the extension unusable. The hash of the sources is for `build` to compare.
_MUST_AGREE = ("openmm_nn", "openmm", "python")

_module: ModuleType | None = None
_reason: str | None = None


def load() -> ModuleType:
    """Import the wrapper of the native extension.

    Importing it registers the force with OpenMM's XML serializer.

    Returns
    -------
    module
        ``openmm_nn_native``, with the class ``NeuralForce``.

    Raises
    ------
    NativeExtensionError
        If the extension is missing, or was built for another torch, OpenMM or Python.

    Examples
    --------
    >>> from openmm_nn import native
    >>> native.available() == (native.reason() == "")
    True
    """
    global _module, _reason
    if _module is not None:
        return _module
    if _reason is None:
        found, _reason = _find()
        if found is not None:
            try:
                from . import build

                module = _import(found)
                module.Engines.choose(build.torch_version())
                _module = module
                return _module
            except ImportError as error:
                _reason = f"{found} cannot be imported ({error})"
    raise NativeExtensionError(
        "native extension", _reason, "one that was built for this torch, OpenMM and Python", COMMAND
    )


def available() -> bool:
    """Return whether the native extension can be used.

    Returns
    -------
    bool
        Whether `load` gives it.

    Examples
    --------
    >>> from openmm_nn import native
    >>> isinstance(native.available(), bool)
    True
    """
    try:
        load()
    except NativeExtensionError:
        return False
    return True


def reason() -> str:
    """Return why the native extension cannot be used.

    Returns
    -------
    str
        Empty if it can.

    Examples
    --------
    >>> from openmm_nn import native
    >>> isinstance(native.reason(), str)
    True
    """
    return "" if available() else str(_reason)


def library() -> Path:
    """Return the plugin's library, which programs that do not import this package load to read its forces from XML.

    Returns
    -------
    pathlib.Path
        For ``openmm.Platform.loadPluginLibrary``.

    Raises
    ------
    NativeExtensionError
        If the extension is missing, or was built for another torch, OpenMM or Python.

    Examples
    --------
    >>> from openmm_nn import native
    >>> native.library().stem
    'libOpenMMNN'
    """
    return next((Path(load().__file__ or "").parent / "lib").glob("libOpenMMNN.*"))


def __getattr__(name: str) -> Any:
    if name in ("MultistepLangevinIntegrator", "NeuralForce", "RegionForce"):
        return getattr(load(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def as_neural_force(force: openmm.Force) -> NeuralForce | None:
    """Return a force if it is a NeuralForce, also where the native extension cannot be used.

    Parameters
    ----------
    force : openmm.Force
        As ``System.getForce`` gives it.

    Returns
    -------
    NeuralForce or None
        None if it is another force, or the extension cannot be used.

    Examples
    --------
    >>> import openmm
    >>> from openmm_nn import native
    >>> native.as_neural_force(openmm.HarmonicBondForce()) is None
    True
    """
    return force if available() and isinstance(force, load().NeuralForce) else None


def neural_forces(system: openmm.System) -> dict[int, NeuralForce]:
    """Return the NeuralForces of a System.

    Parameters
    ----------
    system : openmm.System
        Which must live as long as the forces are used.

    Returns
    -------
    dict
        NeuralForces by their index among the System's forces; empty if the extension cannot be used.

    Examples
    --------
    >>> import openmm
    >>> from openmm_nn import native
    >>> native.neural_forces(openmm.System())
    {}
    """
    found = ((index, as_neural_force(force)) for index, force in enumerate(system.getForces()))
    return {index: force for index, force in found if force is not None}


def _find() -> tuple[Path | None, str]:
    """Return the place of an extension that fits, or the reason why there is none."""
    if sys.argv[:1] == ["-m"] and BUILDER in sys.orig_argv:
        # The command is being started: it replaces what would be loaded here.
        return None, "it is about to be built"
    from . import build

    try:
        expected = build.current_build_info()
        candidates = build.candidate_prefixes()
    except (OSError, build.BuildError) as error:
        return None, f"the environment cannot be examined ({error})"
    reasons = []
    for prefix in candidates:
        info = build.read_build_info(prefix)
        if info is None:
            continue
        wrong = [
            f"{name} {info.get(name, 'unknown')}, but this is {name} {expected[name]}"
            for name in _MUST_AGREE
            if info.get(name) != expected[name]
        ]
        torch, engines = build.torch_version(), build.engines(prefix)
        if torch not in engines:
            wrong.append(f"torch {', '.join(engines) or 'of no version'}, but this is torch {torch}")
        if not wrong:
            if info.get("sources") != expected["sources"]:
                logger.info("the native extension in %s was built from other sources than those beside it", prefix)
            return prefix, ""
        reasons.append(f"the one in {prefix} was built for {'; '.join(wrong)}")
    return None, "; ".join(reasons) or f"none has been built for the package in {Path(__file__).parents[1]}"


def _import(prefix: Path) -> ModuleType:
    sys.path.insert(0, str(prefix))
    try:
        return importlib.import_module(MODULE)
    finally:
        sys.path.remove(str(prefix))
