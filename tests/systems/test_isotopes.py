"""An isotope is its element: deuterium is hydrogen for systems, potentials, preflight and run files."""

import pathlib

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

from openmm_nn import create_system, load_potential, preflight
from openmm_nn.errors import ModelError
from openmm_nn.potentials.formats.compose import element_types
from openmm_nn.runs import RunFile, prepare
from openmm_nn.runs.template import write_template
from tests.platforms import energy_of

METHANOL = """\
HETATM    1  C1  MOH A   1      -0.047   0.660   0.000  1.00  0.00           C
HETATM    2  O1  MOH A   1      -0.047  -0.758   0.000  1.00  0.00           O
HETATM    3  H1  MOH A   1      -1.092   0.969   0.000  1.00  0.00           {0}
HETATM    4  H2  MOH A   1       0.437   1.071   0.890  1.00  0.00           {0}
HETATM    5  H3  MOH A   1       0.437   1.071  -0.890  1.00  0.00           {0}
HETATM    6  H4  MOH A   1       0.877  -1.057   0.000  1.00  0.00           {0}
CONECT    1    2    3    4    5
CONECT    2    1    6
END
"""
RUN = """\
structure:
  file: {}.pdb
potential:
  name: openmm-nn/hcno-1
dynamics:
  temperature: 300 K
  timestep: 2 fs
produce:
  length: 1 ps
"""


@pytest.fixture
def files(tmp_path: pathlib.Path) -> dict[str, app.PDBFile]:
    """Methanol and methanol-d4."""
    for symbol in "HD":
        (tmp_path / f"{symbol}.pdb").write_text(METHANOL.format(symbol))
        (tmp_path / f"{symbol}.yaml").write_text(RUN.format(symbol))
    return {symbol: app.PDBFile(str(tmp_path / f"{symbol}.pdb")) for symbol in "HD"}


def test_energies_and_masses(files: dict[str, app.PDBFile]) -> None:
    """The same energy, its reference energies included; the masses are the isotope's."""
    potential = load_potential("openmm-nn/hcno-1")
    energies, masses = [], []
    for pdb in files.values():
        system = create_system(pdb.topology, potential)
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(pdb.positions)
        energies.append(energy_of(context))
        masses.append(system.getParticleMass(5).value_in_unit(unit.dalton))
    assert energies[0] == energies[1]
    np.testing.assert_allclose(masses, [1.008, 2.014], atol=0.001)


def test_repartitioned_mass(files: dict[str, app.PDBFile]) -> None:
    system = create_system(files["D"].topology, load_potential("openmm-nn/hcno-1"), hydrogen_mass=3.0)
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(6)]
    assert masses[2:] == [3.0] * 4
    assert sum(masses) == pytest.approx(12.011 + 15.999 + 4 * 2.014, abs=0.01)


def test_preflight_names_hydrogen(files: dict[str, app.PDBFile]) -> None:
    pdb = files["D"]
    report = preflight(pdb.topology, load_potential("openmm-nn/hcno-1"), pdb.positions, checks=["elements"])
    (check,) = report.checks
    assert check.verdict == "pass"
    assert check.details["elements"] == {"C": 1, "O": 1, "H": 4}


@pytest.mark.filterwarnings("ignore")
def test_run_files(files: dict[str, app.PDBFile], tmp_path: pathlib.Path) -> None:
    """The same warnings, that on the time step of free hydrogens among them, and the same proposal of a run file."""
    light, heavy = (prepare(RunFile.load(tmp_path / f"{symbol}.yaml")) for symbol in "HD")
    assert light.warnings == heavy.warnings
    assert any("hydrogens of the region" in text for text in heavy.warnings)
    texts = []
    for symbol in "HD":
        write_template(tmp_path / f"{symbol}.pdb", tmp_path / f"new{symbol}.yaml")
        text = (tmp_path / f"new{symbol}.yaml").read_text()
        texts.append(text.replace(f"{symbol}.pdb", "").replace(f"title: {symbol}", ""))
    assert texts[0] == texts[1]


def test_types_of_model_files() -> None:
    assert element_types(["O", "D"], pathlib.Path("model.pth"), "train it again") == ("O", "H")
    with pytest.raises(ModelError):
        element_types(["H", "D"], pathlib.Path("model.pth"), "train it again")
