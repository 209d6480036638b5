"""Structures: topology, positions and, where the files bring one, the classical System."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openmm
from openmm import app, unit
from openmm.app.internal.charmm.exceptions import CharmmError

from ..errors import ParameterError
from ..geometry import topology_box
from ..units import in_nanometers
from .runfile import RunFile
from .schema import STRUCTURE_KINDS, Forcefield

__all__ = ["Option", "Structure", "classical_system", "forcefield_options", "read_coordinates", "read_structure"]

_CONSTRAINTS = {"none": None, "h-bonds": "HBonds", "all-bonds": "AllBonds", "h-angles": "HAngles"}
# What the readers of OpenMM raise for files that are wrong; but for CHARMM they have no class of their own.
_READER_ERRORS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OSError,
    RuntimeError,
    StopIteration,
    CharmmError,
)


@dataclass(frozen=True)
class Structure:
    """What the files of a structure hold.

    Parameters
    ----------
    topology : openmm.app.Topology
        With the box, if there is one.
    positions
        Quantity of (N, 3).
    make_system
        Makes the classical System from options of OpenMM; None for PDB and PDBx files.
    """

    topology: app.Topology
    positions: Any
    make_system: Callable[..., openmm.System] | None


@dataclass(frozen=True)
class Option:
    """An option of ``createSystem``.

    Parameters
    ----------
    value
        What is given to OpenMM.
    text
        The same as Python, in terms of ``app`` and ``unit``: what ``--as-script`` writes.
    """

    value: Any
    text: str

    @classmethod
    def of(cls, value: float, name: str) -> Option:
        """Make an option with a unit of OpenMM."""
        return cls(value * getattr(unit, name), f"{value:.12g} * unit.{name}")


def read_structure(runfile: RunFile) -> Structure:
    """Read the files of ``structure``.

    Parameters
    ----------
    runfile
        Says which.

    Returns
    -------
    Structure
        Topology, positions, box.

    Raises
    ------
    RunFileError
        If a file is missing or cannot be read, or files do not fit together.
    """
    keys = runfile.structure
    file = _existing(runfile, "structure.file", keys.file)
    if keys.coordinates is None:
        reading = app.PDBFile if keys.kind == "pdb" else app.PDBxFile
        found = _read(runfile, "structure.file", lambda: reading(str(file)))
        structure = Structure(found.topology, found.positions, None)
    else:
        reader = {"amber": _amber, "charmm": _charmm, "gromacs": _gromacs}[str(keys.kind)]
        structure = reader(runfile, file, _existing(runfile, "structure.coordinates", keys.coordinates))
    box = _given_box(runfile)
    if box is not None:
        structure.topology.setPeriodicBoxVectors(box)
    atoms, places = structure.topology.getNumAtoms(), len(structure.positions)
    if atoms != places:
        raise runfile.error(
            "structure.coordinates", got=f"a file of {places} positions",
            allowed=f"one for each of the {atoms} atoms of structure.file", remedy="give files that belong together",
        )  # fmt: skip
    finite = np.isfinite(in_nanometers(structure.positions)) if atoms else np.ones((0, 3), dtype=bool)
    if not finite.all():
        lost = list(structure.topology.atoms())[int(np.argmin(finite.all(axis=1)))]
        raise runfile.error(
            "structure.file", got=f"no number for the position of {lost.residue.name}{lost.residue.id}:{lost.name}",
            allowed="finite coordinates", remedy="look into the file at this atom; PDBFixer rebuilds lost atoms",
        )  # fmt: skip
    if not atoms:
        raise runfile.error("structure.file", got="a file without atoms", allowed="atoms", remedy="look into it")
    if runfile.forcefield is None or runfile.forcefield.nonbonded not in ("NoCutoff", "CutoffNonPeriodic"):
        _check_box(runfile, structure.topology)
    return structure


def _check_box(runfile: RunFile, topology: app.Topology) -> None:
    """Refuse a box that the atoms do not fit into."""
    try:
        topology_box(topology)
    except ParameterError as error:
        given = runfile.structure.box is not None
        raise runfile.error(
            "structure.box" if given else "structure.file", got=error.got, allowed=error.allowed,
            remedy="correct the edges" if given else "remove the box from the file (in a PDB file the line CRYST1) if "
            "the structure has none, or write the one that it really has: `box: [3 nm, 3 nm, 3 nm]` below `structure:`",
        ) from error  # fmt: skip


def read_coordinates(path: str | Path) -> tuple[app.Topology, Any]:
    """Read a PDB or PDBx/mmCIF file by itself.

    Parameters
    ----------
    path
        Of the file.

    Returns
    -------
    tuple of openmm.app.Topology and Quantity
        Topology, and positions (N,3).

    Raises
    ------
    ParameterError
        If there is no such file, it is of another kind, or cannot be read.
    """
    file = Path(path)
    kind = STRUCTURE_KINDS.get(file.suffix.lower())
    allowed = "a PDB or PDBx/mmCIF file"
    if kind not in ("pdb", "pdbx"):
        raise ParameterError("structure", repr(str(path)), allowed, "convert it")
    if not file.is_file():
        raise ParameterError("structure", f"{str(path)!r}: no such file", allowed, "correct the path")
    try:
        found = (app.PDBFile if kind == "pdb" else app.PDBxFile)(str(file))
    except _READER_ERRORS as error:
        raise ParameterError(
            "structure", f"{str(path)!r}, which OpenMM cannot read ({_reason(error)})", allowed,
                    "look into the file at what is named"
        ) from error  # fmt: skip
    return found.topology, found.positions


def _reason(error: Exception) -> str:
    """Return the first line of what a reader said; it knows no atoms by an index that is out of range."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "it holds no atoms" if isinstance(error, IndexError) else f"{text:.200}"


def _existing(runfile: RunFile, key: str, name: str) -> Path:
    """Return the path of a file that is there."""
    file = runfile.path(name)
    if not file.is_file():
        folder = file.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        close = difflib.get_close_matches(file.name, names, 1, 0.6)
        remedy = f"did you mean {close[0]}?" if close else "correct the path; it begins where the run file is"
        what = "no such file" if folder.is_dir() else "no such folder"
        raise runfile.error(key, got=f"{name!r}: {what} ({file})",
                            allowed="a file that exists", remedy=remedy)  # fmt: skip
    return file


def _read(runfile: RunFile, key: str, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except _READER_ERRORS as error:
        reason = _reason(error)
        remedy = "look into the file at what is named; convert it again"
        if "already exists" in reason:
            remedy = "two files define the same residue: keep one of them, and list every file once"
        raise runfile.error(
            key, got=f"{runfile.document.values[key]!r}, which OpenMM cannot read ({reason})",
            allowed="a complete file of this kind", remedy=remedy,
        ) from error  # fmt: skip


def _amber(runfile: RunFile, file: Path, coordinates: Path) -> Structure:
    found = _read(runfile, "structure.coordinates", lambda: app.AmberInpcrdFile(str(coordinates)))
    box = _given_box(runfile) or found.boxVectors
    parameters = _read(runfile, "structure.file", lambda: app.AmberPrmtopFile(str(file), periodicBoxVectors=box))
    return Structure(parameters.topology, found.positions, parameters.createSystem)


def _charmm(runfile: RunFile, file: Path, coordinates: Path) -> Structure:
    reading = {".pdb": app.PDBFile, ".cif": app.PDBxFile}.get(coordinates.suffix.lower(), app.CharmmCrdFile)
    found = _read(runfile, "structure.coordinates", lambda: reading(str(coordinates)))
    box = _given_box(runfile)
    if box is None and reading is not app.CharmmCrdFile:
        box = found.topology.getPeriodicBoxVectors()
    psf = _read(runfile, "structure.file", lambda: app.CharmmPsfFile(str(file), periodicBoxVectors=box))
    files = enumerate(runfile.structure.parameters)
    names = [str(_existing(runfile, f"structure.parameters[{index}]", name)) for index, name in files]
    parameters = _read(runfile, "structure.parameters", lambda: app.CharmmParameterSet(*names))

    def make(**options: Any) -> openmm.System:
        return psf.createSystem(parameters, **options)

    return Structure(psf.topology, found.positions, make)


def _gromacs(runfile: RunFile, file: Path, coordinates: Path) -> Structure:
    gro = _read(runfile, "structure.coordinates", lambda: app.GromacsGroFile(str(coordinates)))
    options: dict[str, Any] = {}
    if runfile.structure.include is not None:
        include = runfile.path(runfile.structure.include)
        if not include.is_dir():
            raise runfile.error("structure.include", allowed="the folder with GROMACS's `top` files",
                                remedy="look for it in GROMACS's share/gromacs/top")  # fmt: skip
        options["includeDir"] = str(include)
    box = _given_box(runfile) or gro.getPeriodicBoxVectors()
    # A .gro file of a cluster says that its box has no size.
    if box is not None and any(component for vector in box for component in vector.value_in_unit(unit.nanometer)):
        options["periodicBoxVectors"] = box
    top = _read(runfile, "structure.file", lambda: app.GromacsTopFile(str(file), **options))
    return Structure(top.topology, gro.positions, top.createSystem)


def _given_box(runfile: RunFile) -> Any | None:
    """Return the box vectors of ``structure.box``."""
    if runfile.structure.box is None:
        return None
    a, b, c = runfile.structure.box
    return [openmm.Vec3(a, 0, 0), openmm.Vec3(0, b, 0), openmm.Vec3(0, 0, c)] * unit.nanometer


def forcefield_options(runfile: RunFile, topology: app.Topology) -> dict[str, Option]:
    """Return the options of ``createSystem``.

    Parameters
    ----------
    runfile
        Says what was chosen.
    topology
        Decides the nonbonded method that is not given: PME in a box, no cutoff otherwise.

    Returns
    -------
    dict of str to Option
        By name.

    Raises
    ------
    RunFileError
        If a periodic method is asked for without a box, or a cutoff does not fit into the box.
    """
    keys = runfile.forcefield or Forcefield()
    periodic = topology.getPeriodicBoxVectors() is not None
    method = keys.nonbonded or ("PME" if periodic else "NoCutoff")
    if not periodic and method not in ("NoCutoff", "CutoffNonPeriodic"):
        raise runfile.error("forcefield.nonbonded", allowed="NoCutoff or CutoffNonPeriodic, as there is no box",
                            remedy="choose one, or give the box as `structure.box: [3 nm, 3 nm, 3 nm]`")  # fmt: skip
    options = {"nonbondedMethod": Option(getattr(app, method), f"app.{method}")}
    if method != "NoCutoff":
        cutoff = keys.cutoff or 1.0
        _check_cutoff(runfile, topology, method, cutoff)
        options["nonbondedCutoff"] = Option.of(cutoff, "nanometer")
    if keys.switch is not None:
        options["switchDistance"] = Option.of(keys.switch, "nanometer")
    constraints = _CONSTRAINTS[keys.constraints]
    options["constraints"] = Option(None if constraints is None else getattr(app, constraints),
                                    "None" if constraints is None else f"app.{constraints}")  # fmt: skip
    options["rigidWater"] = Option(keys.rigid_water, str(keys.rigid_water))
    if keys.hydrogen_mass is not None:
        options["hydrogenMass"] = Option.of(keys.hydrogen_mass, "dalton")
    if keys.ewald_tolerance is not None:
        options["ewaldErrorTolerance"] = Option(keys.ewald_tolerance, repr(keys.ewald_tolerance))
    return options


def _check_cutoff(runfile: RunFile, topology: app.Topology, method: str, cutoff: float) -> None:
    box = topology.getPeriodicBoxVectors()
    if box is None or method == "CutoffNonPeriodic":
        return
    height = min(box[index][index].value_in_unit(unit.nanometer) for index in range(3))
    if cutoff > height / 2:
        raise runfile.error(
            "forcefield.cutoff", got=f"{runfile.document.values.get('forcefield.cutoff', '1 nm (the default)')}",
            allowed=f"at most half of the shortest height of the box, {height / 2:.3f} nm",
            remedy=f"write `cutoff: {int(height * 50) / 100:g} nm`, or take a larger box",
        )  # fmt: skip


def classical_system(runfile: RunFile, structure: Structure) -> openmm.System:
    """Make the classical System.

    Parameters
    ----------
    runfile
        Says how.
    structure
        Of the run file.

    Returns
    -------
    openmm.System
        Without potential and barostat.

    Raises
    ------
    RunFileError
        If a force field file is unknown, or the force field does not know a residue.
    """
    options = {name: option.value for name, option in forcefield_options(runfile, structure.topology).items()}
    if structure.make_system is not None:
        make = structure.make_system
        system = _create(runfile, "structure.file", lambda: make(**options))
    else:
        names = runfile.forcefield.files if runfile.forcefield is not None else ()
        files = [_forcefield_file(runfile, f"forcefield.files[{index}]", name) for index, name in enumerate(names)]
        forcefield = _read(runfile, "forcefield.files", lambda: app.ForceField(*files))
        system = _create(
            runfile, "forcefield.files", lambda: forcefield.createSystem(structure.topology, **options)
        )
    correction = runfile.forcefield.dispersion_correction if runfile.forcefield is not None else None
    if correction is not None:
        for force in system.getForces():
            if isinstance(force, openmm.NonbondedForce):
                force.setUseDispersionCorrection(correction)
    return system


def _create(runfile: RunFile, key: str, action: Callable[[], openmm.System]) -> openmm.System:
    try:
        return action()
    except _READER_ERRORS as error:
        reason = " ".join(str(error).split())
        remedy = "look at what OpenMM names"
        if "template" in reason:
            remedy = (
                "add the force field file that knows this residue, add missing hydrogens (openmm.app.Modeller, or "
                "PDBFixer), or, for a ligand, parameters from openmmforcefields"
            )
        raise runfile.error(
            key, got=f"what gives no System ({reason:.400})", allowed="a force field that knows every residue",
            remedy=remedy,
        ) from error  # fmt: skip


def _forcefield_file(runfile: RunFile, key: str, name: str) -> str:
    """Return the path of a force field file of the user, or the name of one of OpenMM's."""
    local = runfile.path(name)
    if local.is_file():
        _check_xml(runfile, key, name, local)
        return str(local)
    data = Path(app.__file__).parent / "data"
    if (data / name).is_file():
        return name
    known = sorted(str(file.relative_to(data)) for file in data.rglob("*.xml"))
    begins = sorted((file for file in known if file.startswith(name)), key=len)
    close = (begins or difflib.get_close_matches(name, known, 3, 0.6))[:3]
    remedy = f"did you mean {' or '.join(close)}?" if close else "correct the name; common is amber14-all.xml"
    raise runfile.error(
        key, allowed="an XML file beside the run file, or one that ships with OpenMM",
        remedy=remedy,
    )  # fmt: skip


def _check_xml(runfile: RunFile, key: str, name: str, file: Path) -> None:
    """Refuse a file that is no force field; OpenMM's reader has no class of its own for that."""
    try:
        root = ElementTree.parse(file).getroot().tag
        found = f"its first element is {root}"
    except (ElementTree.ParseError, OSError) as error:
        root, found = "", f"no XML: {error}"
    if root != "ForceField":
        raise runfile.error(
            key, got=f"{name!r} ({found})",
            allowed="a force field of OpenMM in XML", remedy="give the .xml file of a force field",
        )  # fmt: skip
