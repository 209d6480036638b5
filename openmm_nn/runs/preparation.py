"""From a run file to a System: structure, force field, potential, region."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from .. import native
from ..dynamics.committee_spread import bias_potential
from ..errors import OpenMMNNError, OptionWarning, RunFileError
from ..potentials.familiarity import warn_of_unfamiliar
from ..potentials.formats import find_format
from ..potentials.loading import available_potentials, load_potential, similar_names
from ..potentials.potential import Potential
from ..selection import select_atoms
from ..systems.capped import capped_region
from ..systems.completeness import check_bonds_present
from ..systems.hybrid import HybridSystem, create_hybrid_system, select_region
from ..systems.hybrid.embeddings import find_embedding
from ..systems.system import create_system
from .runfile import RunFile
from .schema import Region
from .structures import Structure, classical_system, read_structure

__all__ = [
    "Prepared",
    "choose_platform",
    "embedding_options",
    "force_properties",
    "hybrid_options",
    "make_integrator",
    "prepare",
    "region_options",
    "system_options",
]

_FASTEST = ("CUDA",)  # HIP has been compiled and never run: whoever wants it names it
_LONG_STEP = 0.001  # ps
_YES_OR_NO = ("true|false", "true or false")
# Of properties whose wrong values OpenMM takes for its default without a word: a pattern, and that in words.
_PROPERTY_VALUES = {
    "Threads": (r"[1-9]\d*", 'a whole number from 1, such as "2"'),
    "Precision": ("single|mixed|double", "single, mixed or double"),
    "DeviceIndex": (r"\d+(,\d+)*", 'numbers of devices, such as "0" or "0,1"'),
    "DeterministicForces": _YES_OR_NO,
    "UseCpuPme": _YES_OR_NO,
    "UseBlockingSync": _YES_OR_NO,
    "DisablePmeStream": _YES_OR_NO,
}

# The keys that stand for arguments of the library.
_KEYS = {
    **{name: f"region.{name}" for name in ("allow_cuts", "bonded_rule", "charge", "charge_scheme", "embedding",
                                           "expand", "link", "long_range", "multiplicity", "periodic",
                                           "remove_constraints")},
    **{name: f"potential.{name}" for name in ("device", "trust", "precision", "threads")},
    "hydrogen_mass": "forcefield.hydrogen_mass",
    "hydrogenMass": "forcefield.hydrogen_mass",
}  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """What a run starts from.

    Parameters
    ----------
    topology : openmm.app.Topology
    positions
        Quantity of (N, 3).
    system : openmm.System
        With the potential and the barostat.
    potential : Potential or None
        None for a classical run.
    hybrid : HybridSystem or None
        None where the potential describes everything, or nothing.
    region : tuple of int
        Atoms that the potential describes.
    warnings : tuple of str
        What was said on the way.
    """

    topology: app.Topology
    positions: Any
    system: openmm.System
    potential: Potential | None
    hybrid: HybridSystem | None
    region: tuple[int, ...]
    warnings: tuple[str, ...]


@contextlib.contextmanager
def located(runfile: RunFile, key: str) -> Iterator[None]:
    """Put file, line and key before what the library says of a value in a run file."""
    try:
        yield
    except RunFileError:
        raise
    except OpenMMNNError as error:
        where = _KEYS.get(error.argument, key)
        given = runfile.document.values.get(where)
        shown = "" if given is None or isinstance(given, dict) or repr(given) in error.got else f"{given!r}: "
        raise runfile.document.error(where, shown + error.got, error.allowed, error.advice(in_keys)) from error


def in_keys(name: str, value: Any) -> str:
    """Write an option of the library as a run file has it.

    Examples
    --------
    >>> from openmm_nn.runs.preparation import in_keys
    >>> in_keys("allow_cuts", [(6, 4)])
    '`allow_cuts: [[6, 4]]` below `region:`'
    """
    if name not in _KEYS:
        return f"{name}={value!r} in Python, for which a run file has no key"
    section, _, key = _KEYS[name].rpartition(".")
    return f"`{key}: {_yaml(value)}` below `{section}:`"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value / value.unit:g} {value.unit.get_name()}" if unit.is_quantity(value) else str(value)


def prepare(runfile: RunFile) -> Prepared:
    """Make the System of a run file.

    Parameters
    ----------
    runfile
        Checked.

    Returns
    -------
    Prepared
        Topology, positions, System, potential.

    Raises
    ------
    RunFileError
        If files are missing or damaged, or what they hold does not fit what is asked for.

    Examples
    --------
    >>> from openmm_nn.runs import RunFile, prepare
    >>> prepared = prepare(RunFile.load("run.yaml"))  # doctest: +SKIP
    """
    structure = read_structure(runfile)
    topology = structure.topology
    asked = runfile.region or Region()
    classical = runfile.forcefield is not None or structure.make_system is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        potential = read_potential(runfile)
        hybrid = None
        atoms: tuple[int, ...] = ()
        if potential is None:
            system = classical_system(runfile, structure)
        elif classical:
            base = classical_system(runfile, structure)
            with located(runfile, "region.select" if asked.select else "region.atoms"):
                region = select_region(topology, base, asked.selection, **region_options(runfile))
                embedding = find_embedding(asked.embedding, **embedding_options(runfile))
                hybrid = create_hybrid_system(
                    topology, base, potential, region, embedding=embedding, **hybrid_options(runfile)
                )
            system, atoms = hybrid.system, hybrid.region.indices
        else:
            with located(runfile, "potential.name"):
                system = create_system(topology, potential, structure.positions, **system_options(runfile))
            atoms = tuple(range(topology.getNumAtoms()))
        if potential is not None and hybrid is not None:
            _look(potential, structure, hybrid)
    said = [
        entry.message.advice(in_keys) if isinstance(entry.message, OptionWarning) else str(entry.message)
        for entry in caught
        if issubclass(entry.category, UserWarning)
    ]
    said += _advice(runfile, atoms, topology)
    _check_ensemble(runfile, system)
    trajectory_atoms(runfile, topology)
    add_barostat(runfile, system)
    if potential is not None and hybrid is None and runfile.dynamics.ensemble == "NPT":
        with located(runfile, "structure.file"):
            check_bonds_present(topology, system)
    return Prepared(topology, structure.positions, system, potential, hybrid, atoms, tuple(dict.fromkeys(said)))


def _look(potential: Potential, structure: Structure, hybrid: HybridSystem) -> None:
    """Warn of a region that the potential does not know."""
    box = structure.topology.getPeriodicBoxVectors()
    capped = capped_region(
        potential.card, structure.topology, hybrid.region.indices, hybrid.links, structure.positions, box
    )
    told = hybrid.boundary_report()
    warn_of_unfamiliar(potential, capped.numbers, capped.positions, capped.labels,
                       charge=told.charge, multiplicity=told.multiplicity)  # fmt: skip


def read_potential(runfile: RunFile) -> Potential | None:
    """Load the potential of a run file, with its bias if there is one; None for a classical run.

    Raises
    ------
    RunFileError
        If there is no such name or file, or it cannot be loaded.
    """
    asked = runfile.potential
    if asked is None:
        return None
    name, local = asked.name, runfile.path(asked.name)
    source: str | Path = local if local.is_file() else name
    names = [entry.name for entry in available_potentials()]
    if not local.is_file() and name not in names and find_format(name) is None:
        folder = local.parent
        files = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        close = similar_names(name, [*names, *files])
        raise runfile.error(
            "potential.name", allowed="a model file that exists, or a name that `openmm-nn models` lists",
            remedy=f"did you mean {close[0]}?" if close else "correct the path; it begins where the run file is",
        )  # fmt: skip
    _check_device(runfile, asked.device)
    with located(runfile, "potential.name"):
        potential = load_potential(str(source), device=asked.device, trust=asked.trust)
    for key in asked.parameters:
        if key not in potential.card.parameters:
            known = ", ".join(potential.card.parameters) or "none"
            raise runfile.error(f"potential.parameters.{key}", allowed=f"parameters of this potential: {known}",
                                remedy="remove this line, or correct the name")  # fmt: skip
    _check_committee(runfile, potential)
    bias = None if runfile.uncertainty is None else runfile.uncertainty.bias
    if bias is not None:
        with located(runfile, "uncertainty.bias"):
            potential = bias_potential(potential, height=bias.height, width=bias.width)
    return potential


def _check_device(runfile: RunFile, name: str | None) -> None:
    """Refuse a device that torch does not know, or does not have here."""
    if name is None:
        return
    import torch

    known = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name not in (*known, *(["cuda"] if len(known) > 1 else [])):
        raise runfile.error("potential.device", allowed=f"devices of torch on this machine: {', '.join(known)}",
                            remedy="remove this line: the model then runs where the platform does")  # fmt: skip


def _check_committee(runfile: RunFile, potential: Potential) -> None:
    """Refuse settings for a committee where there is none."""
    if potential.card.committee_size > 1 and not potential.card.returns_forces:
        return
    guard = runfile.guards.uncertainty
    guarded = guard is not None and guard.action != "off"
    for key, asked in (("uncertainty", runfile.uncertainty is not None), ("guards.uncertainty", guarded)):
        if asked:
            raise runfile.error(
                key, got=f"settings for a committee, and {potential.card.name!r} has no members to compare",
                allowed="a committee, such as openmm-nn/hcno-1 or ani2x", remedy="remove this section",
            )  # fmt: skip


def force_properties(runfile: RunFile) -> dict[str, str]:
    """Return the properties of the potential's force that differ from what is taken anyway."""
    asked, properties = runfile.potential, {}
    if asked is not None and asked.precision != "model":
        properties["precision"] = str(asked.precision)
    if asked is not None and asked.threads:
        properties["threads"] = str(asked.threads)
    return properties


def _chosen(runfile: RunFile, options: Callable[[Region], dict[str, Any]]) -> dict[str, Any]:
    """Return those options of the region that are not the usual ones."""
    usual = options(Region())
    return {name: value for name, value in options(runfile.region or Region()).items() if value != usual[name]}


def region_options(runfile: RunFile) -> dict[str, Any]:
    """Return the options of `select_region` that differ from its defaults."""
    return _chosen(runfile, lambda keys: {"expand": keys.expand, "link": keys.link, "allow_cuts": keys.allow_cuts})


def embedding_options(runfile: RunFile) -> dict[str, Any]:
    """Return the options of the embedding that differ from its defaults."""
    return _chosen(
        runfile,
        lambda keys: {
            "bonded_rule": keys.bonded_rule,
            "charge_scheme": keys.charge_scheme,
            "long_range": keys.long_range,
            "periodic": keys.periodic,
        },
    )


def hybrid_options(runfile: RunFile) -> dict[str, Any]:
    """Return the other options of `create_hybrid_system` that differ from its defaults."""
    options = _chosen(
        runfile,
        lambda keys: {
            "charge": keys.charge,
            "multiplicity": keys.multiplicity,
            "remove_constraints": keys.remove_constraints,
        },
    )
    properties = force_properties(runfile)
    return {**options, "properties": properties} if properties else options


def system_options(runfile: RunFile) -> dict[str, Any]:
    """Return the options of `create_system` that differ from its defaults."""
    options = _chosen(
        runfile, lambda keys: {"charge": keys.charge, "multiplicity": keys.multiplicity, "periodic": keys.periodic}
    )
    if runfile.forcefield is not None and runfile.forcefield.hydrogen_mass is not None:
        options["hydrogen_mass"] = runfile.forcefield.hydrogen_mass
    properties = force_properties(runfile)
    return {**options, "properties": properties} if properties else options


def trajectory_atoms(runfile: RunFile, topology: app.Topology) -> tuple[int, ...] | None:
    """Return the atoms of the trajectory; None if they are all."""
    select = runfile.reporters.atoms
    if select is None or select == "all":
        return None
    with located(runfile, "reporters.atoms"):
        return select_atoms(topology, select)


def _advice(runfile: RunFile, region: tuple[int, ...], topology: app.Topology) -> list[str]:
    """Warn of what is allowed but seldom right."""
    inside = set(region)
    hydrogens = any(
        atom.index in inside and atom.element is not None and atom.element.atomic_number == 1
        for atom in topology.atoms()
    )
    heavy = runfile.forcefield is not None and runfile.forcefield.hydrogen_mass is not None
    step = runfile.dynamics.timestep
    if hydrogens and step > _LONG_STEP and not heavy:
        return [
            f"dynamics.timestep is {1000 * step:g} fs, and hydrogens of the region move freely: 0.5 fs is "
            "safe, 1 fs usually"
        ]
    return []


def _check_ensemble(runfile: RunFile, system: openmm.System) -> None:
    if runfile.dynamics.ensemble == "NPT" and not system.usesPeriodicBoundaryConditions():
        raise runfile.error(
            "dynamics.ensemble", allowed="NVE or NVT: this System has no periodic boundary conditions",
            remedy="choose NVT, or give the box as `structure.box: [3 nm, 3 nm, 3 nm]`",
        )  # fmt: skip


def add_barostat(runfile: RunFile, system: openmm.System) -> None:
    """Add the barostat of a run at constant pressure."""
    dynamics = runfile.dynamics
    if dynamics.ensemble != "NPT":
        return
    barostat = openmm.MonteCarloBarostat(
        dynamics.pressure * unit.bar, dynamics.temperature * unit.kelvin, dynamics.barostat_every
    )
    barostat.setRandomNumberSeed(dynamics.seed)
    system.addForce(barostat)


def make_integrator(runfile: RunFile) -> openmm.Integrator:
    """Make the integrator of a run file."""
    dynamics = runfile.dynamics
    step = dynamics.timestep * unit.picosecond
    if dynamics.method == "verlet":
        return openmm.VerletIntegrator(step)
    temperature = dynamics.temperature * unit.kelvin
    friction = dynamics.friction / unit.picosecond
    if dynamics.method == "nose-hoover":
        return openmm.NoseHooverIntegrator(temperature, friction, step)
    integrator = openmm.LangevinMiddleIntegrator(temperature, friction, step)
    integrator.setRandomNumberSeed(dynamics.seed)
    return integrator


def kernel_platforms() -> set[str]:
    """Return the platforms for which the extension in use has kernels, wherever it lies."""
    if not native.available():
        return set()
    folder = Path(native.load().Engines.getDirectory()) / "plugins"
    return {path.stem.removeprefix("libOpenMMNN") for path in folder.glob("libOpenMMNN*.so")}


def choose_platform(runfile: RunFile) -> tuple[openmm.Platform, dict[str, str]]:
    """Choose OpenMM's platform, always by its name.

    Returns
    -------
    tuple of openmm.Platform and dict
        The platform and its properties.

    Raises
    ------
    RunFileError
        If this OpenMM, or this build of the package, does not have it, or a property or its value cannot be.
    """
    known = [openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())]
    name: str = runfile.dynamics.platform
    if name == "auto":
        kernels = kernel_platforms()
        name = next((fast for fast in _FASTEST if fast in known and fast in kernels), "CPU")
    if name not in known:
        raise runfile.error("dynamics.platform", allowed=f"platforms of this OpenMM: {', '.join(known)}",
                            remedy="choose one of these, or write `platform: auto`")  # fmt: skip
    platform = openmm.Platform.getPlatformByName(name)
    properties = dict(runfile.dynamics.properties)
    for key, value in properties.items():
        if key not in platform.getPropertyNames():
            names = ", ".join(platform.getPropertyNames()) or "none"
            raise runfile.error(f"dynamics.properties.{key}", allowed=f"properties of {name}: {names}",
                                remedy="remove this line, or correct the name")  # fmt: skip
        pattern, words = _PROPERTY_VALUES.get(key, (".*", ""))
        if not re.fullmatch(pattern, value.strip(), re.IGNORECASE):
            raise runfile.error(f"dynamics.properties.{key}", allowed=words,
                                remedy="correct the value; OpenMM would take its default without a word")  # fmt: skip
    return platform, properties
