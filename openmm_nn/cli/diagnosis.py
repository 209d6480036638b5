"""What `openmm-nn doctor` looks at."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Parameters
    ----------
    verdict
        ``good``; ``note``, worth knowing; ``bad``, to be fixed.
    what
        Was looked at.
    found
        In a few words.
    advice
        What to do.
    """

    verdict: str
    what: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at versions, the native extension, platforms, the GPU, threads and optional packages.

    Returns
    -------
    list of Finding
        In an order that begins with what matters most.

    Examples
    --------
    >>> from openmm_nn.cli.diagnosis import examine
    >>> all(finding.verdict in ("good", "note", "bad") for finding in examine())
    True
    """
    return [*_versions(), *_native(), *_platforms(), *_gpu(), *_threads(), *_potentials(), *_packages()]


def _versions() -> Iterator[Finding]:
    from ..runs.record import versions

    found = versions()
    yield Finding("good", "openmm_nn", f"{found['openmm_nn']}, Python {found['python']}, {platform.platform()}")
    for name in ("openmm", "torch", "numpy", "mdtraj"):
        missing = found[name] == "unknown"
        yield Finding("bad" if missing else "good", name, "not installed" if missing else found[name],
                      f"pip install {name}" if missing else "")  # fmt: skip


def _native() -> Iterator[Finding]:
    from .. import native

    engine = os.environ.get("OPENMM_NN_ENGINE", "")
    if engine == "python":
        yield Finding(
            "note", "engine", "Python, by OPENMM_NN_ENGINE", "slower; unset OPENMM_NN_ENGINE for the native one"
        )
    if native.available():
        from ..native import build

        place = Path(native.load().__file__ or "").parent
        info = build.read_build_info(place)
        same = info is not None and info.get("sources") == build.current_build_info()["sources"]
        yield Finding("good", "native extension", str(place))
        if not same:
            yield Finding("note", "its sources", "newer than the extension", "`openmm-nn build` brings it up to date")
    else:
        yield Finding("bad", "native extension", native.reason(),
                      "`openmm-nn build`; until then potentials run on the slower engine in Python")  # fmt: skip


def _platforms() -> Iterator[Finding]:
    import openmm

    from .. import native
    from ..runs.preparation import kernel_platforms

    names = [openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())]
    kernels = kernel_platforms()
    for name in names:
        own = name in ("Reference", "CPU") or name in kernels
        extra = "" if own or not native.available() else "; this build of openmm_nn has no kernels for it"
        works, reason = _works(name)
        if not works:
            yield Finding("note", f"platform {name}", f"no device ({reason})")
        else:
            slow = {"Reference": "for checks; slow"}.get(name, "works")
            yield Finding("good" if own else "note", f"platform {name}", f"{slow}{extra}")
    failed = openmm.Platform.getPluginLoadFailures()
    for text in failed:
        yield Finding("note", "OpenMM plugin", " ".join(text.split())[:160])


def _works(name: str) -> tuple[bool, str]:
    import openmm

    system = openmm.System()
    system.addParticle(1.0)
    try:
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(name))
    except openmm.OpenMMException as error:
        return False, " ".join(str(error).split())[:100]
    del context
    return True, ""


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        yield Finding("good", "GPU for torch", names)
    else:
        built = getattr(torch.version, "cuda", None)
        why = f"torch was built for CUDA {built}, but sees no device" if built else "this torch is built without CUDA"
        yield Finding("note", "GPU for torch", f"none: {why}")


def _threads() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > 1.2 * cores
    yield Finding("note" if busy else "good", "cores", f"{cores}, load {load:.1f}",
                  "other programs use the cores: steps take longer than they need" if busy else "")  # fmt: skip
    for name in ("OPENMM_CPU_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name)
        if value:
            yield Finding("note", name, value, "" if value != "1" or cores == 1 else f"{name}=1 leaves cores idle")


def _potentials() -> Iterator[Finding]:
    from .. import available_potentials

    found = available_potentials()
    ready = [entry.name for entry in found if not entry.missing]
    yield Finding(
        "good" if ready else "bad", "potentials", f"{len(ready)} of {len(found)} can be loaded: `openmm-nn models`"
    )


def _packages() -> Iterator[Finding]:
    import importlib.util

    wanted = {
        "torchani": ("ANI-2x", "pip install 'openmm-nn[torchani]'"),
        "pymbar": ("free energies with errors", "pip install 'openmm-nn[analysis]'"),
        "plotly": ("reports", "pip install 'openmm-nn[report]'"),
    }
    for name, (purpose, command) in wanted.items():
        there = importlib.util.find_spec(name) is not None
        yield Finding("good" if there else "note", name, f"for {purpose}" if there else f"not installed; for {purpose}",
                      "" if there else command)  # fmt: skip
