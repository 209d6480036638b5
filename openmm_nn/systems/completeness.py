"""What a topology lacks: bonds that hold its molecules together, and hydrogens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openmm

from ..errors import ParticleError, message, warn
from ..model.card_values import METALS

if TYPE_CHECKING:
    from openmm.app import Atom, Residue, Topology

__all__ = ["check_bonds_present", "open_valences", "warn_of_missing_hydrogens"]

_HYDROGEN, _CARBON, _NITROGEN, _OXYGEN = 1, 6, 7, 8
_ENDS = {7, 8, 16}  # what can end a chain of double bonds without hydrogens: carbon dioxide, cyanides
_ORGANIC = {7, 8, 9, 15, 16, 17, 35, 53}
_DIATOMIC = {1, 7, 8, 9, 17, 35, 53}
_WATERS = {"HOH", "WAT", "H2O", "SOL", "TIP3", "TIP3P", "TP3", "SPC", "DOD"}
_BAROSTATS = (openmm.MonteCarloBarostat, openmm.MonteCarloAnisotropicBarostat, openmm.MonteCarloMembraneBarostat,
              openmm.MonteCarloFlexibleBarostat)  # fmt: skip
_MOST_NAMES = 5


def check_bonds_present(topology: Topology, system: openmm.System | None = None) -> None:
    """Warn if the topology of a periodic System lacks bonds; with a barostat that is an error.

    Each atom without bonds is a molecule of its own: a barostat moves it by itself, a trajectory is wrapped atom by
    atom, and a cluster is not made whole. Monatomic fluids, ions, metals and inorganic crystals have no bonds to lack.

    Parameters
    ----------
    topology
        With or without a box; without one nothing needs the bonds.
    system
        Whose barostat is looked for.

    Raises
    ------
    ParticleError
        If there is a barostat.
    """
    periodic = topology.getPeriodicBoxVectors() is not None
    if system is not None:
        periodic = periodic or any(isinstance(force, _BAROSTATS) for force in system.getForces())
    lacking = _residues_without_bonds(topology) if periodic else []
    if not lacking:
        return
    count = sum(len(list(residue.atoms())) for residue in lacking)
    error = ParticleError(
        "topology",
        f"{count} atoms without bonds in {len(lacking)} residues: {_listed(lacking)}",
        "bonds within molecules: without them every atom is a molecule of its own for a barostat, for wrapping, and "
        "for making a molecule whole",
        "call topology.createStandardBonds() for water, proteins and nucleic acids, and topology.addBond(first, "
        "second) for others; CONECT records of a PDB file are read as well",
    )
    if system is not None and any(isinstance(force, _BAROSTATS) for force in system.getForces()):
        raise error
    warn(message(error.argument, error.got, error.allowed, error.remedy))


def _residues_without_bonds(topology: Topology) -> list[Residue]:
    """Return residues whose bonds are missing: a hydrogen has none, or none of several atoms of a molecule has."""
    bonded = {atom.index for bond in topology.bonds() for atom in (bond[0], bond[1])}
    found = []
    for residue in topology.residues():
        atoms = [atom for atom in residue.atoms() if atom.element is not None]
        numbers = {atom.element.atomic_number for atom in atoms}
        if len(atoms) < 2 or numbers & METALS:
            continue
        bare = [atom.element.atomic_number for atom in atoms if atom.index not in bonded]
        hydrogen = _HYDROGEN in bare and len(numbers) > 1
        molecule = (_CARBON in numbers and numbers & _ORGANIC) or (len(atoms) == 2 and numbers <= _DIATOMIC)
        if hydrogen or (molecule and len(bare) == len(atoms)):
            found.append(residue)
    return found


def warn_of_missing_hydrogens(topology: Topology, atoms: set[int] | None = None) -> None:
    """Warn of residues whose hydrogens are missing.

    Parameters
    ----------
    topology
        With bonds; without them only waters are looked at.
    atoms
        Those that a potential describes; None for all.
    """
    found = open_valences(topology, atoms)
    if found:
        warn(
            message(
                "topology",
                f"atoms that lack hydrogens: {_listed(found)}",
                "all hydrogens: a potential takes atoms as they are, and these would be radicals or other molecules",
                "add them with openmm.app.Modeller(topology, positions).addHydrogens(forcefield), or with PDBFixer; if "
                "the molecule is meant to have none there, ignore this",
            )
        )


def open_valences(topology: Topology, atoms: set[int] | None = None) -> list[Residue]:
    """Return the residues with heavy atoms that must carry hydrogens and do not.

    A molecule without any hydrogen lacks them if a carbon of it has one or two neighbours of which none is an end atom
    (as in carbon dioxide and cyanides); molecules with metals are left out, and those of carbon alone, such as
    graphite, if most of their atoms have three neighbours or more. A carbon with one neighbour lacks
    them in any molecule, and so does an oxygen by itself in a residue of water.

    Parameters
    ----------
    topology
        With bonds.
    atoms
        Those to look at; None for all.

    Returns
    -------
    list of openmm.app.Residue
        In order.
    """
    listed = list(topology.atoms())
    numbers = [0 if atom.element is None else atom.element.atomic_number for atom in listed]
    neighbours: list[list[int]] = [[] for _ in listed]
    for bond in topology.bonds():
        neighbours[bond[0].index].append(bond[1].index)
        neighbours[bond[1].index].append(bond[0].index)
    found: dict[int, Residue] = {}
    seen: set[int] = set()
    for start in range(len(listed)):
        if start in seen:
            continue
        molecule = [start]
        seen.add(start)
        for atom in molecule:
            fresh = [other for other in neighbours[atom] if other not in seen]
            seen.update(fresh)
            molecule += fresh
        elements = {numbers[atom] for atom in molecule}
        if 0 in elements or elements & METALS:
            continue
        for atom in _bare(molecule, elements, numbers, neighbours, listed):
            if atoms is None or atom in atoms:
                residue = listed[atom].residue
                found.setdefault(residue.index, residue)
    return list(found.values())


def _bare(
    molecule: list[int], elements: set[int], numbers: list[int], neighbours: list[list[int]], listed: list[Atom]
) -> list[int]:
    """Return the atoms of one molecule that must carry hydrogens and do not."""
    if len(molecule) == 1:
        water = numbers[molecule[0]] == _OXYGEN and listed[molecule[0]].residue.name.upper() in _WATERS
        return molecule if water else []
    hydrogens = _HYDROGEN in elements

    def ends(atom: int, other: int) -> bool:
        isocyanide = hydrogens and len(neighbours[atom]) == 1 and numbers[other] == _NITROGEN
        return numbers[other] in _ENDS and len(neighbours[other]) <= (2 if isocyanide else 1)

    bare = [
        atom
        for atom in molecule
        if numbers[atom] == _CARBON
        and len(neighbours[atom]) <= (1 if hydrogens else 2)
        and not any(ends(atom, other) for other in neighbours[atom])
    ]
    return [] if elements == {_CARBON} and 2 * len(bare) < len(molecule) else bare


def _listed(residues: list[Residue]) -> str:
    names = [f"{residue.name}{residue.id}" for residue in residues[:_MOST_NAMES]]
    more = f" and {len(residues) - _MOST_NAMES} more" if len(residues) > _MOST_NAMES else ""
    return ", ".join(names) + more
