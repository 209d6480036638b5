"""What one key of a run file says against another."""

from __future__ import annotations

from pathlib import PurePath

from .document import Document
from .schema import STRUCTURE_KINDS, Keys

__all__ = ["check_keys"]

_THERMOSTATS = ("langevin", "nose-hoover")
_MOST_STEPS = 2**31
_NO_BOX = ("NoCutoff", "CutoffNonPeriodic")


def check_keys(keys: Keys, document: Document) -> None:
    """Check what no key says by itself.

    Parameters
    ----------
    keys
        Each of which is allowed by itself.
    document
        Where they stand.

    Raises
    ------
    RunFileError
        For the first thing that is wrong.
    """
    _check_structure(keys, document)
    _check_forcefield(keys, document)
    _check_region(keys, document)
    _check_dynamics(keys, document)
    _check_times(keys, document)
    _check_guards(keys, document)


def _check_structure(keys: Keys, document: Document) -> None:
    structure = keys.structure
    suffix = PurePath(structure.file).suffix.lower()
    if structure.kind is None:
        raise document.wrong(
            "structure.file",
            f"a file that ends in {', '.join(STRUCTURE_KINDS)}",
            "convert it, or give the file that has the topology (for GROMACS the .top, the .gro below `coordinates:`)",
        )
    if structure.plain and structure.coordinates is not None:
        raise document.wrong("structure.coordinates", f"nothing, as a {suffix} file has coordinates itself",
                             "remove this line")  # fmt: skip
    if not structure.plain and structure.coordinates is None:
        raise document.error("structure.file", f"a {suffix} file without coordinates", "both files",
                             "add `coordinates: ...` below it (inpcrd, rst7, gro, crd or pdb)")  # fmt: skip
    for key, given, only in (("parameters", structure.parameters, "charmm"), ("include", structure.include, "gromacs")):
        if given and structure.kind != only:
            raise document.wrong(f"structure.{key}", f"nothing, as the structure is not for {only.upper()}",
                                 "remove this line")  # fmt: skip
    if structure.kind == "charmm" and not structure.parameters:
        raise document.error("structure.file", "a .psf file without parameters", "the .prm, .rtf and .str files",
                             "add `parameters: [..., ...]` below it")  # fmt: skip
    if not structure.plain and keys.forcefield is not None and keys.forcefield.files:
        raise document.wrong("forcefield.files", f"nothing, as a {suffix} file brings its force field",
                             "remove this line")  # fmt: skip


def _check_forcefield(keys: Keys, document: Document) -> None:
    section = keys.forcefield
    if section is None:
        return
    if keys.structure.plain and not section.files:
        raise document.error(
            "forcefield", "no 'files'", "force field files", "add `files: [amber14-all.xml]` below it"
        )  # fmt: skip
    if section.nonbonded == "NoCutoff" and section.cutoff is not None:
        raise document.wrong("forcefield.cutoff", "nothing with nonbonded: NoCutoff",
                             "remove this line, or choose PME for a box of water")  # fmt: skip
    if section.switch is not None and section.switch >= (section.cutoff or 1.0):
        raise document.wrong("forcefield.switch", f"less than the cutoff of {section.cutoff or 1.0:g} nm",
                             "make it about nine tenths of the cutoff")  # fmt: skip


def _check_region(keys: Keys, document: Document) -> None:
    potential, region = keys.potential, keys.region
    classical = keys.forcefield is not None or keys.structure.coordinates is not None
    if potential is None and not classical:
        raise document.error("", "neither 'potential' nor 'forcefield'", "one of them or both",
                             "add `potential:` with `name: openmm-nn/hcno-1` below it")  # fmt: skip
    if region is not None and potential is None:
        raise document.error("region", "a region without a potential", "both or neither",
                             "add `potential:` with `name: openmm-nn/hcno-1` below it")  # fmt: skip
    if region is not None and region.select is not None and region.atoms:
        raise document.error("region.atoms", "atoms beside a selection", "one of them", "remove one of the two")
    selection = () if region is None else region.selection
    if potential is not None and classical and not selection:
        raise document.error("region" if region is not None else "", "no atoms of the region", "'select' or 'atoms'",
                             "add `region:` with `select: resname LIG` below it, or `select: all`")  # fmt: skip
    if potential is not None and not classical and selection not in ((), "all"):
        raise document.error("region", "a region without a force field for the rest", "a force field",
                             "add `forcefield:` with `files: [amber14-all.xml, amber14/tip3p.xml]`, or `select: all`"
                             )  # fmt: skip
    if keys.uncertainty is not None and potential is None:
        raise document.error("uncertainty", "settings for a committee, in a run without a potential", "nothing",
                             "remove this section, or add `potential:`")  # fmt: skip


def _check_dynamics(keys: Keys, document: Document) -> None:
    dynamics = keys.dynamics
    if dynamics.ensemble == "NVE" and dynamics.integrator in _THERMOSTATS:
        raise document.wrong("dynamics.integrator", "verlet with ensemble: NVE", "choose verlet, or ensemble: NVT")
    if dynamics.ensemble != "NVE" and dynamics.integrator == "verlet":
        raise document.wrong("dynamics.integrator", f"langevin or nose-hoover with ensemble: {dynamics.ensemble}",
                             "choose langevin, or ensemble: NVE")  # fmt: skip
    if dynamics.ensemble != "NVE" and dynamics.temperature is None:
        raise document.error("dynamics", "no 'temperature'", f"a temperature, as the ensemble is {dynamics.ensemble}",
                             "add `temperature: 300 K` below `dynamics:`")  # fmt: skip
    if dynamics.ensemble == "NPT" and dynamics.pressure is None:
        raise document.error("dynamics.ensemble", "NPT without a pressure", "a pressure",
                             "add `pressure: 1 bar` below `dynamics:`")  # fmt: skip
    if dynamics.ensemble != "NPT" and dynamics.pressure is not None:
        raise document.wrong("dynamics.pressure", f"nothing, as the ensemble is {dynamics.ensemble}",
                             "remove this line, or choose ensemble: NPT")  # fmt: skip
    if dynamics.ensemble == "NPT" and keys.forcefield is not None and keys.forcefield.nonbonded in _NO_BOX:
        raise document.wrong("forcefield.nonbonded", "a periodic method, as the ensemble is NPT", "choose PME")


def _check_times(keys: Keys, document: Document) -> None:
    step, written = keys.dynamics.timestep, document.values["dynamics.timestep"]
    frequent = {"reporters.log": keys.reporters.log, "reporters.trajectory": keys.reporters.trajectory}
    times = {
        "equilibrate.length": keys.equilibrate.length,
        "produce.length": keys.produce.length,
        **frequent,
        "reporters.checkpoint": keys.reporters.checkpoint,
        "guards.check": keys.guards.check,
        "uncertainty.every": None if keys.uncertainty is None else keys.uncertainty.every,
    }
    for key, value in times.items():
        count = (value or 0.0) / step
        if count > _MOST_STEPS:
            raise document.wrong(
                key, f"at most {_MOST_STEPS} time steps of {written}", "look at the units; split a run that is longer"
            )
        if abs(count - round(count)) > 1e-6 * max(count, 1.0):
            raise document.wrong(key, f"a multiple of the time step of {written}",
                                 f"write `{key.rpartition('.')[2]}: {max(round(count), 1) * step:.9g} ps`")  # fmt: skip
    for key, value in frequent.items():
        if value is not None and value > keys.produce.length:
            length = document.values["produce.length"]
            raise document.wrong(key, f"at most the length of the production, {length}",
                                 "write more often, or make the production longer")  # fmt: skip


def _check_guards(keys: Keys, document: Document) -> None:
    bonds, limit, asked = keys.guards.bonds, keys.guards.temperature.max, keys.dynamics.temperature
    if bonds.min >= bonds.max:
        raise document.wrong("guards.bonds.min", f"less than max, {bonds.max}", "common are 0.6 and 1.6")
    if asked is not None and limit is not None and limit <= asked:
        raise document.wrong("guards.temperature.max", f"more than the {asked:g} K of dynamics.temperature",
                             "leave room for fluctuations: twice the temperature is common")  # fmt: skip
    spread = keys.guards.uncertainty
    if spread is not None and spread.action != "off" and not spread.limited:
        raise document.error("guards.uncertainty", "no threshold", "max_energy or max_force",
                             "add `max_force: 2000 kJ/mol/nm` below it")  # fmt: skip
    if spread is not None and keys.potential is None:
        raise document.error("guards.uncertainty", "a guard of a committee, in a run without a potential",
                             "nothing", "remove it, or add `potential:`")  # fmt: skip
