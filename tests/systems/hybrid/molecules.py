"""Small molecules written as bonds: `C1-C2=0.134 C2-H1` lists pairs, some with an equilibrium length in nm."""

import re

import openmm as mm
from openmm import app

MASSES = {"H": 1.0, "C": 12.0, "N": 14.0, "O": 16.0, "S": 32.0, "P": 31.0, "F": 19.0}


def without_lengths(text: str) -> str:
    """The same molecule, with no equilibrium lengths."""
    return re.sub(r"=[\d.]+", "", text)


def build(
    text: str, types: dict[str, object] | None = None, residue: str = "LIG"
) -> tuple[app.Topology, mm.System, dict[str, int]]:
    """Topology, System with harmonic bonds where lengths are given, and atom indices by name."""
    entries = [re.fullmatch(r"(\w+)-(\w+)(?:=([\d.]+))?", entry).groups() for entry in text.split()]
    names = list(dict.fromkeys(name for first, second, _ in entries for name in (first, second)))
    topology = app.Topology()
    group = topology.addResidue(residue, topology.addChain())
    system = mm.System()
    atoms = {}
    for name in names:
        symbol = re.match(r"[A-Z][a-z]?", name).group()
        atoms[name] = topology.addAtom(name, app.Element.getBySymbol(symbol), group)
        system.addParticle(MASSES.get(symbol) or app.Element.getBySymbol(symbol).mass)
    force = mm.HarmonicBondForce()
    for first, second, length in entries:
        topology.addBond(atoms[first], atoms[second], type=(types or {}).get(f"{first}-{second}"))
        if length:
            force.addBond(atoms[first].index, atoms[second].index, float(length), 2e5)
    system.addForce(force)
    return topology, system, {name: atom.index for name, atom in atoms.items()}


RING = "C1-C2=0.140 C2-C3=0.140 C3-C4=0.140 C4-C5=0.140 C5-C6=0.140 C6-C1=0.140 C2-H2 C3-H3 C4-H4 C5-H5 C6-H6 "
TOLUENE = RING + "C1-C7=0.151 C7-H71 C7-H72 C7-H73"
BIPHENYL = RING + (
    "C1-C11=0.149 C11-C12=0.140 C12-C13=0.140 C13-C14=0.140 C14-C15=0.140 C15-C16=0.140 C16-C11=0.140 "
    "C12-H12 C13-H13 C14-H14 C15-H15 C16-H16"
)
BUTADIENE = "C1-C2=0.134 C2-C3=0.146 C3-C4=0.134 C1-H1 C1-H2 C2-H3 C3-H4 C4-H5 C4-H6"
PROPYNE = "C1-C2=0.120 C2-C3=0.146 C1-H1 C3-H2 C3-H3 C3-H4"
ACETAMIDE = "C1-C2=0.152 C2-O1=0.123 C2-N1=0.1335 N1-H1 N1-H2 C1-H3 C1-H4 C1-H5"
ANILINE = RING + "C1-N1=0.1386 N1-H71 N1-H72"
PHOSPHATE = (
    "C1-O1=0.143 O1-P1=0.161 P1-O2=0.148 P1-O3=0.148 P1-O4=0.161 O4-C2=0.143 C1-H1 C1-H2 C1-H3 C2-H4 C2-H5 C2-H6"
)
PROPANE = "C1-C2=0.153 C2-C3=0.153 C1-H1 C1-H2 C1-H3 C2-H4 C2-H5 C3-H6 C3-H7 C3-H8"
UNITED = "C1-C2=0.153 C2-C3=0.139 C3-C4=0.153"
