"""A commented run file for a structure: what `openmm-nn run --init` writes."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmm import app, unit

from ..disk import write_atomically
from ..errors import ParameterError, RunError, warn
from ..model.card_values import element_symbol
from ..potentials.loading import available_potentials
from .runfile import RunFile
from .schema import STRUCTURE_KINDS
from .structures import read_structure

__all__ = ["write_template"]

_WATER = ("HOH", "WAT", "SOL", "TIP3", "TIP4", "TIP5", "TP3", "SPC", "H2O")
_IONS = ("NA", "CL", "K", "MG", "CA", "ZN", "LI", "RB", "CS", "BR", "F", "I", "NA+", "CL-", "K+", "CIO", "SOD", "CLA",
         "POT")  # fmt: skip
_AMINO = ("ACE", "ALA", "ARG", "ASH", "ASN", "ASP", "CYM", "CYS", "CYX", "GLH", "GLN", "GLU", "GLY", "HID", "HIE",
          "HIP", "HIS", "ILE", "LEU", "LYN", "LYS", "MET", "NHE", "NMA", "NME", "PHE", "PRO", "SER", "THR", "TRP",
          "TYR", "VAL")  # fmt: skip
# Neutral side chains of H, C, N and O that hang on the backbone by a bond of carbon to carbon.
_SIDE_CHAINS = ("ASN", "GLN", "HID", "HIE", "ILE", "LEU", "PHE", "SER", "THR", "TRP", "TYR", "VAL")
_BACKBONE = "name N H CA HA C O"
_NUCLEIC = ("A", "C", "G", "U", "DA", "DC", "DG", "DT", "DI")
_COMPANIONS = {"amber": (".inpcrd", ".rst7", ".crd", ".rst"), "gromacs": (".gro",), "charmm": (".crd", ".pdb", ".cif")}
_NO_HYDROGENS = "There are no hydrogens in the region: add them first, with PDBFixer or openmm.app.Modeller."
_SMALL = 300  # atoms: what a potential is asked to describe as a whole
_LEAST_DENSITY = 0.92  # g/mL: less is no liquid water
_DEFAULT = "openmm-nn/hcno-1"


@dataclass(frozen=True)
class _Findings:
    """What was seen in a structure."""

    region: str
    why: str
    elements: frozenset[str]
    whole: bool
    water: bool
    unknown: tuple[str, ...]
    hydrogens: bool
    box: tuple[float, ...] | None
    density: float | None


def write_template(structure: str | Path, target: str | Path) -> Path:
    """Write a commented run file for a structure.

    Parameters
    ----------
    structure
        PDB, PDBx/mmCIF, Amber prmtop, CHARMM psf or GROMACS top; coordinates of the last three are looked for beside
        it.
    target
        The run file; it must not exist.

    Returns
    -------
    pathlib.Path
        The run file. What keeps it from being run, or from giving a result, is written into it and warned of.

    Raises
    ------
    ParameterError
        If the structure is of another kind.
    RunError
        If the run file exists.
    RunFileError
        If the structure cannot be read.

    Examples
    --------
    >>> from openmm_nn.runs.template import write_template
    >>> write_template("complex.pdb", "complex.yaml")  # doctest: +SKIP
    """
    source, file = Path(structure), Path(target)
    kind = STRUCTURE_KINDS.get(source.suffix.lower())
    if kind is None:
        raise ParameterError(
            "structure", repr(str(source)), f"a file that ends in {', '.join(STRUCTURE_KINDS)}", "convert it"
        )
    if not source.is_file():
        raise ParameterError("structure", f"{str(source)!r}: no such file", "a file that exists", "correct the path")
    if not file.resolve().parent.is_dir():
        raise ParameterError(
            "run file", f"{str(file)!r}, whose folder does not exist", "a folder that exists", "make it first"
        )
    if file.exists():
        raise RunError(
            "run file", f"{str(file)!r}, which exists", "a new file",
                    f"give another name: openmm-nn run --init {source} NEW.yaml"
        )  # fmt: skip
    entry = _structure_section(source, kind, file)
    found = _look(_topology(entry, file), kind)
    write_atomically(file, _text(source, kind, entry, found))
    RunFile.load(file)
    for remark in _remarks(found):
        warn(remark)
    return file


def _structure_section(source: Path, kind: str, file: Path) -> dict[str, Any]:
    folder = file.resolve().parent

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder)

    section: dict[str, Any] = {"file": relative(source)}
    if kind in _COMPANIONS:
        beside = [path for path in sorted(source.parent.iterdir()) if path.suffix.lower() in _COMPANIONS[kind]]
        same = [path for path in beside if path.stem == source.stem] or beside
        if not same:
            raise ParameterError(
                "structure", f"{str(source)!r} without coordinates beside it",
                        f"a file that ends in {', '.join(_COMPANIONS[kind])} in the same folder", "put it there"
            )  # fmt: skip
        section["coordinates"] = relative(same[0])
    if kind == "charmm":
        names = (".prm", ".rtf", ".str", ".par", ".inp")
        section["parameters"] = [relative(p) for p in sorted(source.parent.iterdir()) if p.suffix.lower() in names]
        if not section["parameters"]:
            raise ParameterError(
                "structure", f"{str(source)!r} without parameters beside it",
                        f"files that end in {', '.join(names)} in the same folder", "put them there"
            )  # fmt: skip
    return section


def _topology(section: dict[str, Any], file: Path) -> app.Topology:
    lines = [f"  {key}: {value if isinstance(value, list) else _quoted(value)}" for key, value in section.items()]
    text = "structure:\n" + "\n".join(lines) + "\n"
    text += "forcefield: {files: [amber14-all.xml]}\n" if "coordinates" not in section else ""
    text += "dynamics: {timestep: 0.5 fs, ensemble: NVE}\nproduce: {length: 1 ps}\n"
    return read_structure(RunFile.parse(text, name=file.name, folder=file.resolve().parent)).topology


def _quoted(value: object) -> str:
    text = str(value)
    return text if all(letter.isalnum() or letter in "./_-" for letter in text) and text[0].isalpha() else f'"{text}"'


def _look(topology: app.Topology, kind: str) -> _Findings:
    residues = list(topology.residues())
    names = Counter(residue.name.upper() for residue in residues)
    water = any(name in _WATER for name in names)
    usual = {*_WATER, *_IONS, *_AMINO, *_NUCLEIC}
    rare = [name for name in names if name not in usual]
    rest = [residue for residue in residues if residue.name.upper() not in (*_WATER, *_IONS)]
    size = sum(len(list(residue.atoms())) for residue in rest)
    unknown = _unknown(topology) if kind in ("pdb", "pdbx") else ()
    everything = len(rest) == len(residues) and size <= _SMALL and (bool(unknown) or kind in ("pdb", "pdbx"))
    if everything:
        chosen, region, why = residues, "all", "all atoms: there is no water, and the structure is small"
    elif rare:
        chosen = [residue for residue in residues if residue.name.upper() in rare]
        region = "resname " + " ".join(_word(residue) for residue in _first_of_each(chosen))
        why = "what is neither water, ion, protein nor nucleic acid"
    elif rest and size <= _SMALL:
        chosen = rest
        region = "resname " + " ".join(_word(residue) for residue in _first_of_each(rest))
        why = "the solute"
    elif sides := [residue for residue in rest if residue.name.upper() in _SIDE_CHAINS and _is_inner(residue)]:
        chosen = [sides[len(sides) // 2]]
        region = f"resid {chosen[0].index} and not ({_BACKBONE})"
        why = (f"the side chain of {chosen[0].name} {chosen[0].id}, as an example; its bond to the backbone is cut. "
               "Choose what you are interested in")  # fmt: skip
    else:
        large = list(rest or residues)
        chosen = [large[len(large) // 2]]
        region = f"resid {chosen[0].index}"
        why = "one residue in the middle, as an example: choose what you are interested in"
    atoms = [atom for residue in chosen for atom in residue.atoms()]
    box = topology.getPeriodicBoxVectors()
    return _Findings(
        region=region,
        why=why,
        elements=frozenset(element_symbol(atom.element.atomic_number) for atom in atoms if atom.element is not None),
        whole=everything,
        water=water,
        unknown=unknown,
        hydrogens=any(atom.element is not None and atom.element.atomic_number == 1 for atom in atoms),
        box=None if box is None else tuple(box[i][i].value_in_unit(unit.nanometer) for i in range(3)),
        density=None if box is None else _density(topology),
    )


def _density(topology: app.Topology) -> float:
    """Return the mass in the box by its volume, in g/mL."""
    a, b, c = topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    mass = sum(atom.element.mass.value_in_unit(unit.dalton) for atom in topology.atoms() if atom.element is not None)
    volume = a[0] * b[1] * c[2] * unit.nanometer**3 * unit.AVOGADRO_CONSTANT_NA
    return float((mass * unit.gram / unit.mole / volume).value_in_unit(unit.gram / unit.milliliter))


def _is_inner(residue: Any) -> bool:
    """Whether a residue of a chain has a neighbour on either side."""
    names = {atom.name for atom in residue.atoms()}
    return {"N", "H", "CA", "HA", "C", "O"} <= names and not {"H2", "H3", "OXT"} & names


def _first_of_each(residues: list[Any]) -> list[Any]:
    return list({residue.name: residue for residue in residues}.values())


def _word(residue: Any) -> str:
    """Return a name as MDTraj's selections have it: one that is no plain word is quoted."""
    return residue.name if residue.name.isalpha() else f"'{residue.name}'"


def _unknown(topology: app.Topology) -> tuple[str, ...]:
    forcefield = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    return tuple(dict.fromkeys(residue.name for residue in forcefield.getUnmatchedResidues(topology)))


def _choose_potential(elements: frozenset[str]) -> tuple[str, str]:
    """Return a potential that knows the elements, and what is to be said of it."""
    known = {entry.name: entry for entry in available_potentials()}
    bundled = known.get(_DEFAULT)
    if bundled is not None and bundled.card is not None and elements <= set(bundled.card.elements or ()):
        return _DEFAULT, "Ships with the package: neutral molecules of H, C, N and O, a committee of four"
    if elements <= {"H", "C", "N", "O", "F", "S", "Cl"}:
        return "ani2x", "H, C, N, O, F, S, Cl, neutral; needs `pip install torchani`"
    listed = ", ".join(sorted(elements))
    return _DEFAULT, f"Does NOT know all of {listed}: take one that does, see `openmm-nn models`"


def _text(source: Path, kind: str, section: dict[str, Any], found: _Findings) -> str:
    name, remark = _choose_potential(found.elements)
    lines = [
        f"# A run of {source.name}, written by `openmm-nn run --init`. Look through it, then: openmm-nn run THIS_FILE",
        "# A quantity is a number and its unit. `openmm-nn run --schema` lists every key; this is not all of them.",
        f"title: {_quoted(source.stem)}",
        "",
        "structure:",
    ]
    for key, value in section.items():
        lines.append(
            f"  {key}: {'[' + ', '.join(map(_quoted, value)) + ']' if isinstance(value, list) else _quoted(value)}"
        )
    if not found.hydrogens:
        lines += _comment(_NO_HYDROGENS)
    lines += ["", *_forcefield_lines(kind, found)]
    lines += [
        f"# {remark}",
        "potential:",
        f"  name: {name}",
        "",
        f"# {found.why[0].upper()}{found.why[1:]}.",
        "# The selection is in MDTraj's language; instead of it: `atoms: [0, 1, 2]`.",
        "region:",
        f'  select: "{found.region}"' if "'" in found.region else f"  select: {found.region}",
        "  charge: 0            # formal charge of the region in e",
        "",
        "dynamics:",
        *_density_lines(found),
        "  ensemble: NVT        # NVE, NVT or NPT (then `pressure: 1 bar`)",
        "  temperature: 300 K",
        "  friction: 5 /ps      # 1 /ps disturbs the motion less, and takes longer to reach the temperature",
        "  timestep: 0.5 fs     # hydrogens of the region move freely",
        "  platform: auto       # CUDA where it is there, otherwise CPU",
        "  seed: 1",
        "",
        "preflight: false       # true: the potential is examined on this structure first",
        "minimise:",
        "  iterations: 500",
        "equilibrate:",
        "  length: 2 ps         # for a result, take 100 ps or more",
        "produce:",
        "  length: 5 ps         # for a result, take nanoseconds; `openmm-nn continue DIR --length '1 ns'` goes on",
        "",
        "reporters:",
        "  log: 0.02 ps",
        "  trajectory: 0.05 ps",
        "  checkpoint: 0.5 ps   # what a killed run loses at most",
        "",
    ]
    if name in (_DEFAULT, "ani2x"):
        lines += [
            "# The potential is a committee: frames on which its members disagree are kept in flagged.xtc.",
            "uncertainty:",
            "  every: 0.05 ps",
            "  flag_force: 1500 kJ/mol/nm",
            "",
        ]
    lines += [
        "# What stops the run; `action: record` only writes it down.",
        "guards:",
        "  check: 0.01 ps",
        "  bonds:",
        "    action: stop       # a bond shorter or longer than these times the sum of its covalent radii",
        "    min: 0.6",
        "    max: 1.6",
    ]
    return "\n".join(lines) + "\n"


def _density_lines(found: _Findings) -> list[str]:
    text = _density_remark(found)
    return _comment(text) if text else []


def _density_remark(found: _Findings) -> str:
    if not found.water or found.density is None or found.density > _LEAST_DENSITY:
        return ""
    return (
        f"The box holds {found.density:.2f} g/mL, too little for water: part of it is empty. Let it shrink first, in a "
        "run of the force field alone (no `potential`, no `region`, `ensemble: NPT`), and begin with its "
        "equilibrated.pdb."
    )


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 112, initial_indent="  # ", subsequent_indent="  # ", break_long_words=False)


def _unknown_remarks(found: _Findings) -> list[str]:
    """Say why the force field does not know residues: something is missing, or it is no protein, nucleic or water."""
    usual = {*_WATER, *_IONS, *_AMINO, *_NUCLEIC}
    remarks = []
    for names, remedy in (
        ([name for name in found.unknown if name.upper() in usual],
         " as they are here: atoms are missing, most often hydrogens. PDBFixer or openmm.app.Modeller adds them."),
        ([name for name in found.unknown if name.upper() not in usual],
         ": add an XML file that does (openmmforcefields makes them)."),
    ):  # fmt: skip
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            remarks.append(f"The force field does not know {', '.join(names[:5])}{more}{remedy}")
    return remarks


def _remarks(found: _Findings) -> list[str]:
    """Return what should be known before the run file is run."""
    remarks = [] if found.hydrogens else [_NO_HYDROGENS]
    remarks += [] if found.whole else _unknown_remarks(found)
    name, said = _choose_potential(found.elements)
    remarks += [f"{name}: {said}"] if "NOT" in said else []
    density = _density_remark(found)
    return [*remarks, *([density] if density else [])]


def _forcefield_lines(kind: str, found: _Findings) -> list[str]:
    if found.whole:
        return ["# No force field: the potential describes everything.", ""]
    method, cutoff = ("NoCutoff", None) if found.box is None else ("PME", min(1.0, int(min(found.box) * 50 - 1) / 100))
    lines = ["# The rest, and its coupling to the region, is classical.", "forcefield:"]
    if kind in ("pdb", "pdbx"):
        lines.append("  files: [amber14-all.xml, amber14/tip3p.xml]")
        for text in _unknown_remarks(found):
            lines += _comment(text)
    else:
        lines[0] = "# The files of the structure bring the force field; these are its options."
    lines.append(f"  nonbonded: {method}")
    if cutoff is not None:
        lines.append(f"  cutoff: {cutoff:g} nm")
    lines += [
        "  constraints: none    # h-bonds keeps those outside the region rigid",
        "  rigid_water: true",
        "",
    ]
    return lines
