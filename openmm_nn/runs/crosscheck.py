"""What one key of a run file says against another."""

from __future__ import annotations

from pathlib import PurePath

from .document import Document
from .quantities import parse_quantity
from .schema import STRUCTURE_KINDS

__all__ = ["check_document"]

_THERMOSTATS = ("langevin", "nose-hoover")
_MOST_STEPS = 2**31
_NO_BOX = ("NoCutoff", "CutoffNonPeriodic")
_INTERVALS = (
    ("reporters", "log"),
    ("reporters", "trajectory"),
    ("reporters", "checkpoint"),
    ("guards", "check"),
    ("uncertainty", "every"),
)


def check_document(document: Document) -> None:
    """Check what the schema cannot say.

    Parameters
    ----------
    document
        That the schema has passed.

    Raises
    ------
    RunFileError
        For the first thing that is wrong.
    """
    _check_structure(document)
    _check_forcefield(document)
    _check_region(document)
    _check_dynamics(document)
    _check_times(document)
    _check_guards(document)


def _check_structure(document: Document) -> None:
    suffix = PurePath(str(document.get("structure", "file"))).suffix.lower()
    kind = STRUCTURE_KINDS.get(suffix)
    if kind is None:
        raise document.wrong(
            ("structure", "file"),
            f"a file that ends in {', '.join(STRUCTURE_KINDS)}",
            "convert it, or give the file that has the topology (for GROMACS the .top, the .gro below `coordinates:`)",
        )
    coordinates = ("structure", "coordinates")
    brings = kind in ("pdb", "pdbx")
    if brings and document.get(*coordinates) is not None:
        raise document.wrong(coordinates, f"nothing, as a {suffix} file has coordinates itself", "remove this line")
    if not brings and document.get(*coordinates) is None:
        raise document.error(("structure", "file"), f"a {suffix} file without coordinates", "both files",
                             "add `coordinates: ...` below it (inpcrd, rst7, gro, crd or pdb)")  # fmt: skip
    for key, only in (("parameters", "charmm"), ("include", "gromacs")):
        if document.get("structure", key) is not None and kind != only:
            raise document.wrong(("structure", key), f"nothing, as the structure is not for {only.upper()}",
                                 "remove this line")  # fmt: skip
    if kind == "charmm" and document.get("structure", "parameters") is None:
        raise document.error(("structure", "file"), "a .psf file without parameters", "the .prm, .rtf and .str files",
                             "add `parameters: [..., ...]` below it")  # fmt: skip
    if not brings and document.get("forcefield", "files") is not None:
        raise document.wrong(("forcefield", "files"), f"nothing, as a {suffix} file brings its force field",
                             "remove this line")  # fmt: skip


def _check_forcefield(document: Document) -> None:
    section = document.get("forcefield")
    brings = STRUCTURE_KINDS[PurePath(document.get("structure", "file")).suffix.lower()] not in ("pdb", "pdbx")
    if section is not None and not brings and document.get("forcefield", "files") is None:
        raise document.error(
            ("forcefield",), "no 'files'", "force field files", "add `files: [amber14-all.xml]` below it"
        )
    method = document.get("forcefield", "nonbonded")
    cutoff, switch = (parse_quantity(document.get("forcefield", key), "length") for key in ("cutoff", "switch"))
    if method == "NoCutoff" and cutoff is not None:
        raise document.wrong(("forcefield", "cutoff"), "nothing with nonbonded: NoCutoff",
                             "remove this line, or choose PME for a box of water")  # fmt: skip
    if switch is not None and switch >= (cutoff or 1.0):
        raise document.wrong(("forcefield", "switch"), f"less than the cutoff of {cutoff or 1.0:g} nm",
                             "make it about nine tenths of the cutoff")  # fmt: skip


def _check_region(document: Document) -> None:
    potential, region = document.get("potential"), document.get("region")
    classical = document.get("forcefield") is not None or document.get("structure", "coordinates") is not None
    if potential is None and not classical:
        raise document.error((), "neither 'potential' nor 'forcefield'", "one of them or both",
                             "add `potential:` with `name: openmm-nn/hcno-1` below it")  # fmt: skip
    if region is not None and potential is None:
        raise document.error(("region",), "a region without a potential", "both or neither",
                             "add `potential:` with `name: openmm-nn/hcno-1` below it")  # fmt: skip
    select, atoms = document.get("region", "select"), document.get("region", "atoms")
    if region is not None and select is not None and atoms is not None:
        raise document.error(("region", "atoms"), "atoms beside a selection", "one of them", "remove one of the two")
    everything = select == "all" or region is None or (select is None and atoms is None)
    if potential is not None and classical and everything and select != "all":
        raise document.error(("region",) if region is not None else (), "no atoms of the region", "'select' or 'atoms'",
                             "add `region:` with `select: resname LIG` below it, or `select: all`")  # fmt: skip
    if potential is not None and not classical and not everything:
        raise document.error(("region",), "a region without a force field for the rest", "a force field",
                             "add `forcefield:` with `files: [amber14-all.xml, amber14/tip3p.xml]`, or `select: all`"
                             )  # fmt: skip
    for key in ("uncertainty",):
        if document.get(key) is not None and potential is None:
            raise document.error((key,), "settings for a committee, in a run without a potential", "nothing",
                                 "remove this section, or add `potential:`")  # fmt: skip


def _check_dynamics(document: Document) -> None:
    ensemble = document.get("dynamics", "ensemble") or "NVT"
    integrator = document.get("dynamics", "integrator")
    if ensemble == "NVE" and integrator in _THERMOSTATS:
        raise document.wrong(("dynamics", "integrator"), "verlet with ensemble: NVE",
                             "choose verlet, or ensemble: NVT")  # fmt: skip
    if ensemble != "NVE" and integrator == "verlet":
        raise document.wrong(("dynamics", "integrator"), f"langevin or nose-hoover with ensemble: {ensemble}",
                             "choose langevin, or ensemble: NVE")  # fmt: skip
    if ensemble != "NVE" and document.get("dynamics", "temperature") is None:
        raise document.error(("dynamics",), "no 'temperature'", f"a temperature, as the ensemble is {ensemble}",
                             "add `temperature: 300 K` below `dynamics:`")  # fmt: skip
    pressure = document.get("dynamics", "pressure")
    if ensemble == "NPT" and pressure is None:
        raise document.error(("dynamics", "ensemble"), "NPT without a pressure", "a pressure",
                             "add `pressure: 1 bar` below `dynamics:`")  # fmt: skip
    if ensemble != "NPT" and pressure is not None:
        raise document.wrong(("dynamics", "pressure"), f"nothing, as the ensemble is {ensemble}",
                             "remove this line, or choose ensemble: NPT")  # fmt: skip
    if ensemble == "NPT" and document.get("forcefield", "nonbonded") in _NO_BOX:
        raise document.wrong(("forcefield", "nonbonded"), "a periodic method, as the ensemble is NPT", "choose PME")


def _check_times(document: Document) -> None:
    step = parse_quantity(document.get("dynamics", "timestep"), "time") or 0.0
    written = document.get("dynamics", "timestep")
    for path in (("equilibrate", "length"), ("produce", "length"), *_INTERVALS):
        value = parse_quantity(document.get(*path), "time")
        if value is None:
            continue
        count = value / step
        if count > _MOST_STEPS:
            raise document.wrong(
                path, f"at most {_MOST_STEPS} time steps of {written}", "look at the units; split a run that is longer"
            )
        if abs(count - round(count)) > 1e-6 * max(count, 1.0):
            raise document.wrong(path, f"a multiple of the time step of {written}",
                                 f"write `{path[-1]}: {max(round(count), 1) * step:.9g} ps`")  # fmt: skip
    length = parse_quantity(document.get("produce", "length"), "time") or 0.0
    for path in _INTERVALS[:2]:
        value = parse_quantity(document.get(*path), "time")
        if value is not None and value > length:
            raise document.wrong(path, f"at most the length of the production, {document.get('produce', 'length')}",
                                 "write more often, or make the production longer")  # fmt: skip


def _check_guards(document: Document) -> None:
    low, high = (document.get("guards", "bonds", key) for key in ("min", "max"))
    if low is not None and low >= (high or 1.6):
        raise document.wrong(("guards", "bonds", "min"), f"less than max, {high or 1.6}", "common are 0.6 and 1.6")
    asked = parse_quantity(document.get("dynamics", "temperature"), "temperature")
    limit = parse_quantity(document.get("guards", "temperature", "max"), "temperature")
    if asked is not None and limit is not None and limit <= asked:
        raise document.wrong(("guards", "temperature", "max"), f"more than the {asked:g} K of dynamics.temperature",
                             "leave room for fluctuations: twice the temperature is common")  # fmt: skip
    if document.get("guards", "uncertainty") is not None:
        action = document.get("guards", "uncertainty", "action")
        if action != "off" and not {"max_energy", "max_force"} & set(document.get("guards", "uncertainty")):
            raise document.error(("guards", "uncertainty"), "no threshold", "max_energy or max_force",
                                 "add `max_force: 2000 kJ/mol/nm` below it")  # fmt: skip
        if document.get("potential") is None:
            raise document.error(("guards", "uncertainty"), "a guard of a committee, in a run without a potential",
                                 "nothing", "remove it, or add `potential:`")  # fmt: skip
