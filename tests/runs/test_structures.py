"""Structures of every kind give the System that OpenMM's own readers give."""

import io
import pathlib
import re
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_nn.errors import RunFileError
from openmm_nn.runs import RunFile, prepare
from openmm_nn.runs.script import as_python
from tests.platforms import REFERENCE, energy_of
from tests.refusals import refusal
from tests.runs.faulty import WATERS
from tests.runs.run_support import PEPTIDE

TOOLS = pathlib.Path(openmm.__file__).parent.parent / "openmmtools" / "data"
WATER_BOX = TOOLS / "waterbox" / "watbox216"
END = "dynamics: {ensemble: NVE, timestep: 0.5 fs, platform: Reference}\nproduce: {length: 1 ps}\n"

TOP = """\
[ defaults ]
1 2 yes 0.5 0.8333
[ atomtypes ]
OW 8 16.0 -0.834 A 0.315061 0.636386
HW 1 1.008 0.417 A 0.0 0.0
[ moleculetype ]
SOL 2
[ atoms ]
1 OW 1 SOL OW 1 -0.834 16.0
2 HW 1 SOL HW1 1 0.417 1.008
3 HW 1 SOL HW2 1 0.417 1.008
[ bonds ]
1 2 1 0.09572 462750.4
1 3 1 0.09572 462750.4
[ angles ]
2 1 3 1 104.52 836.8
[ system ]
water
[ molecules ]
SOL 2
"""
GRO = """\
water
    6
    1SOL     OW    1   0.300   0.300   0.300
    1SOL    HW1    2   0.396   0.300   0.300
    1SOL    HW2    3   0.276   0.393   0.300
    2SOL     OW    4   0.600   0.300   0.320
    2SOL    HW1    5   0.696   0.300   0.320
    2SOL    HW2    6   0.576   0.393   0.320
   2.20000   2.20000   2.20000
"""
PSF = """\
PSF

       1 !NTITLE
 REMARKS two waters

       6 !NATOM
       1 WAT      1 TIP3 OH2  OT    -0.834000       15.9994           0
       2 WAT      1 TIP3 H1   HT     0.417000        1.0080           0
       3 WAT      1 TIP3 H2   HT     0.417000        1.0080           0
       4 WAT      2 TIP3 OH2  OT    -0.834000       15.9994           0
       5 WAT      2 TIP3 H1   HT     0.417000        1.0080           0
       6 WAT      2 TIP3 H2   HT     0.417000        1.0080           0

       4 !NBOND: bonds
       1       2       1       3       4       5       4       6

       2 !NTHETA: angles
       2       1       3       5       4       6

       0 !NPHI: dihedrals

       0 !NIMPHI: impropers

       0 !NDON: donors

       0 !NACC: acceptors

       0 !NNB

       0       0       0       0       0       0

       1       0 !NGRP
       0       0       0
"""
PRM = """\
* two waters
*
ATOMS
MASS  -1  HT   1.00800
MASS  -1  OT  15.99940

BONDS
OT HT 450.0 0.9572

ANGLES
HT OT HT 55.0 104.52

DIHEDRALS

NONBONDED nbxmod 5 atom cdiel fshift vatom vdistance vfswitch -
cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5
OT 0.0 -0.1521 1.7682
HT 0.0 -0.0460 0.2245

END
"""


def make(folder: pathlib.Path, text: str) -> tuple[openmm.System, np.ndarray]:
    runfile = RunFile.parse(text + END, name="run.yaml", folder=folder)
    prepared = prepare(runfile)
    # The script that --as-script prints makes the same System, to the last byte.
    script = as_python(runfile)
    names: dict[str, Any] = {}
    compile(script, "script", "exec")
    exec(script[: script.index("integrator = ")].replace("OUTPUT.mkdir(", "dict("), names)
    written = [openmm.XmlSerializer.serialize(system) for system in (prepared.system, names["system"])]
    assert written[0] == written[1]
    return prepared.system, np.array(prepared.positions.value_in_unit(unit.nanometer))


def compare(system: openmm.System, x: np.ndarray, other: openmm.System, y: np.ndarray) -> None:
    """The same energy at the same positions, and the same box."""
    np.testing.assert_array_equal(x, y)
    assert system.getNumConstraints() == other.getNumConstraints()
    boxes = [[v.value_in_unit(unit.nanometer) for v in s.getDefaultPeriodicBoxVectors()] for s in (system, other)]
    assert boxes[0] == boxes[1]
    found, expected = (energy_of(REFERENCE.context(s, x)) for s in (system, other))
    assert abs(expected) > 1e-3
    assert abs(found - expected) < 1e-9 * abs(expected)


def test_amber(tmp_path: pathlib.Path) -> None:
    text = f"structure: {{file: {WATER_BOX}.prmtop, coordinates: {WATER_BOX}.crd}}\n"
    text += "forcefield: {nonbonded: PME, cutoff: 0.45 nm, rigid_water: false, ewald_tolerance: 0.0001}\n"
    system, x = make(tmp_path, text)
    coordinates = app.AmberInpcrdFile(f"{WATER_BOX}.crd")
    prmtop = app.AmberPrmtopFile(f"{WATER_BOX}.prmtop", periodicBoxVectors=coordinates.boxVectors)
    other = prmtop.createSystem(app.PME, 0.45 * unit.nanometer, rigidWater=False, ewaldErrorTolerance=1e-4)
    compare(system, x, other, np.array(coordinates.positions.value_in_unit(unit.nanometer)))


def test_amber_with_a_potential(tmp_path: pathlib.Path) -> None:
    """One water of the box by the potential: the rest keeps its terms."""
    text = f"structure: {{file: {WATER_BOX}.prmtop, coordinates: {WATER_BOX}.crd}}\n"
    text += "forcefield: {nonbonded: PME, cutoff: 0.45 nm}\npotential: {name: openmm-nn/hcno-1}\n"
    text += "region: {atoms: [3, 4, 5], charge: 0}\n"
    prepared = prepare(RunFile.parse(text + END, name="run.yaml", folder=tmp_path))
    assert prepared.region == (3, 4, 5)
    assert prepared.system.getNumConstraints() == 3 * 215


def test_gromacs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "topol.top").write_text(TOP)
    (tmp_path / "conf.gro").write_text(GRO)
    text = "structure: {file: topol.top, coordinates: conf.gro}\n"
    text += "forcefield: {nonbonded: CutoffPeriodic, cutoff: 1 nm, rigid_water: false}\n"
    system, x = make(tmp_path, text)
    gro = app.GromacsGroFile(str(tmp_path / "conf.gro"))
    top = app.GromacsTopFile(str(tmp_path / "topol.top"), periodicBoxVectors=gro.getPeriodicBoxVectors())
    other = top.createSystem(app.CutoffPeriodic, 1 * unit.nanometer, rigidWater=False)
    compare(system, x, other, np.array(gro.positions.value_in_unit(unit.nanometer)))


@pytest.mark.parametrize("box", [True, False], ids=["box", "no box"])
def test_charmm(tmp_path: pathlib.Path, box: bool) -> None:
    (tmp_path / "water.psf").write_text(PSF)
    (tmp_path / "water.prm").write_text(PRM)
    (tmp_path / "conf.gro").write_text(GRO)
    (tmp_path / "topol.top").write_text(TOP)
    gro = app.GromacsGroFile(str(tmp_path / "conf.gro"))
    topology = app.GromacsTopFile(str(tmp_path / "topol.top")).topology
    topology.setPeriodicBoxVectors(None)
    with (tmp_path / "water.pdb").open("w") as file:
        app.PDBFile.writeFile(topology, gro.positions, file)
    section = ", box: [2.2 nm, 2.2 nm, 22 A]" if box else ""
    text = f"structure: {{file: water.psf, coordinates: water.pdb, parameters: [water.prm]{section}}}\n"
    text += "forcefield: {rigid_water: false}\n"
    system, x = make(tmp_path, text)
    vectors = [openmm.Vec3(2.2, 0, 0), openmm.Vec3(0, 2.2, 0), openmm.Vec3(0, 0, 2.2)] * unit.nanometer if box else None
    psf = app.CharmmPsfFile(str(tmp_path / "water.psf"), periodicBoxVectors=vectors)
    parameters = app.CharmmParameterSet(str(tmp_path / "water.prm"))
    method = app.PME if box else app.NoCutoff
    other = psf.createSystem(parameters, nonbondedMethod=method, nonbondedCutoff=1 * unit.nanometer, rigidWater=False)
    positions = app.PDBFile(str(tmp_path / "water.pdb")).positions
    compare(system, x, other, np.array(positions.value_in_unit(unit.nanometer)))


def test_pdbx(tmp_path: pathlib.Path) -> None:
    pdb = app.PDBFile(io.StringIO(WATERS))
    with (tmp_path / "waters.cif").open("w") as file:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, file, keepIds=True)
    field = "forcefield: {files: [amber14/tip3p.xml], nonbonded: CutoffPeriodic, cutoff: 0.9 nm, rigid_water: false}\n"
    one, x = make(tmp_path, "structure: {file: waters.cif}\n" + field)
    forcefield = app.ForceField("amber14/tip3p.xml")
    cif = app.PDBxFile(str(tmp_path / "waters.cif"))
    other = forcefield.createSystem(
        cif.topology, nonbondedMethod=app.CutoffPeriodic, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=False
    )
    compare(one, x, other, np.array(cif.positions.value_in_unit(unit.nanometer)))


def test_options_of_the_force_field(tmp_path: pathlib.Path) -> None:
    text = f"structure: {{file: {PEPTIDE}}}\nforcefield:\n  files: [amber14-all.xml, amber14/tip3p.xml]\n"
    text += "  constraints: h-bonds\n  hydrogen_mass: 3 amu\n  switch: 0.8 nm\n  dispersion_correction: false\n"
    prepared = prepare(RunFile.parse(text + END, name="run.yaml", folder=tmp_path))
    hydrogen = next(atom.index for atom in prepared.topology.atoms() if atom.element is app.element.hydrogen)
    assert prepared.system.getParticleMass(hydrogen).value_in_unit(unit.dalton) == 3.0
    force = next(force for force in prepared.system.getForces() if isinstance(force, openmm.NonbondedForce))
    assert force.getUseSwitchingFunction()
    assert force.getSwitchingDistance().value_in_unit(unit.nanometer) == pytest.approx(0.8)
    assert not force.getUseDispersionCorrection()
    assert force.getNonbondedMethod() == openmm.NonbondedForce.PME
    assert prepared.potential is None


@pytest.mark.parametrize("name", ["water.pdb", "water.prmtop", "topol.top", "water.psf"])
def test_a_damaged_file_is_named(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_text("this is no structure\n" * 3)
    (tmp_path / "conf.gro").write_text(GRO)
    (tmp_path / "water.inpcrd").write_text("water\n1\n  1.0 2.0 3.0\n")
    (tmp_path / "water.prm").write_text(PRM)
    coordinates = {"water.prmtop": "water.inpcrd", "topol.top": "conf.gro", "water.psf": "conf2.pdb"}.get(name)
    (tmp_path / "conf2.pdb").write_text(
        "ATOM      1  O   HOH A   1       3.000   3.000   3.000  1.00  0.00           O\nEND\n"
    )
    named = "water.inpcrd" if name == "water.prmtop" else name
    extra = f", coordinates: {coordinates}" if coordinates else ""
    extra += ", parameters: [water.prm]" if name.endswith("psf") else ""
    text = f"structure: {{file: {name}{extra}}}\n" + ("" if coordinates else "forcefield: {files: [amber14-all.xml]}\n")
    with refusal(RunFileError, re.compile(r"run\.yaml, line 1: structure\.(file|coordinates)"), anywhere=named):
        make(tmp_path, text)
