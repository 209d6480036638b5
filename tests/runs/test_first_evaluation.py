"""Structures that cannot be evaluated, or that the potential does not know, before the first step of a run."""

import json
import pathlib

import pytest

from openmm_nn.errors import RunFileError
from openmm_nn.runs import RunFile, prepare, run
from tests.runs.run_support import run_file

CARBON_DIOXIDE = """\
HETATM    1  C   CO2 A   1       0.000   0.000   0.000  1.00  0.00           C
HETATM    2  O1  CO2 A   1       1.160   0.000   0.000  1.00  0.00           O
HETATM    3  O2  CO2 A   1      -1.160   0.000   0.000  1.00  0.00           O
CONECT    1    2    3
END
"""
ACETATE = """\
HETATM    1  C1  ACT A   1       0.000   0.000   0.000  1.00  0.00           C
HETATM    2  C2  ACT A   1       1.520   0.000   0.000  1.00  0.00           C
HETATM    3  O1  ACT A   1       2.140   1.080   0.000  1.00  0.00           O
HETATM    4  O2  ACT A   1       2.140  -1.080   0.000  1.00  0.00           O
HETATM    5  H1  ACT A   1      -0.360   1.030   0.000  1.00  0.00           H
HETATM    6  H2  ACT A   1      -0.360  -0.510   0.890  1.00  0.00           H
HETATM    7  H3  ACT A   1      -0.360  -0.510  -0.890  1.00  0.00           H
CONECT    1    2    5    6    7
CONECT    2    1    3    4
END
"""
WATER = """\
CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1           1
HETATM    1  O   XXX A   1       3.000   3.000   3.000  1.00  0.00           O
HETATM    2  H1  XXX A   1       3.957   3.000   3.000  1.00  0.00           H
HETATM    3  H2  XXX A   1       2.760   3.927   3.000  1.00  0.00           H
END
"""
FEW = {"equilibrate": "", "uncertainty": "", "produce": "{length: 5 fs}"}


def change_atom(path: pathlib.Path, atom: int, places: str | None) -> None:
    """Put an atom of a PDB file at other places, or where the next one is."""
    lines = path.read_text(encoding="utf-8").splitlines()
    atoms = [index for index, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    text = lines[atoms[atom + 1]][30:54] if places is None else places
    lines[atoms[atom]] = lines[atoms[atom]][:30] + text + lines[atoms[atom]][54:]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("iterations", [0, 20])
def test_two_atoms_in_one_place_are_named(tmp_path: pathlib.Path, iterations: int) -> None:
    file = run_file(tmp_path, changes={"minimise": f"{{iterations: {iterations}}}", **FEW})
    change_atom(tmp_path / "peptide.pdb", 5, None)
    result = run(file, tmp_path / "out")
    assert result.status == "stopped"
    assert result.reason is not None
    assert "at the first evaluation" in result.reason
    assert "ACE1:O (atom 5) and ALA2:N (atom 6), 0.0000 nm apart" in result.reason
    assert (tmp_path / "out" / "offending.pdb").is_file()
    assert not (tmp_path / "out" / "last_good.xml").exists()
    event = json.loads((tmp_path / "out" / "guards.jsonl").read_text().splitlines()[-1])
    assert sorted(event["atoms"]) == [5, 6]


def test_a_coordinate_that_is_no_number(tmp_path: pathlib.Path) -> None:
    file = run_file(tmp_path, changes=FEW)
    change_atom(tmp_path / "peptide.pdb", 5, "     nan     nan     nan")
    with pytest.raises(RunFileError) as caught:
        prepare(RunFile.load(file))
    assert "ACE1:O" in caught.value.got


def test_a_molecule_that_the_potential_does_not_know(tmp_path: pathlib.Path) -> None:
    """Carbon dioxide has an even number of electrons and no charges: the members disagree about it."""
    (tmp_path / "co2.pdb").write_text(CARBON_DIOXIDE)
    prepared = prepare(RunFile.load(run_file(tmp_path, changes={"structure": "{file: co2.pdb}", **FEW})))
    assert len(prepared.warnings) == 1
    assert "'openmm-nn/hcno-1' disagree by" in prepared.warnings[0]
    assert "CO21:" in prepared.warnings[0]
    known = run_file(tmp_path, changes=FEW)
    assert not prepare(RunFile.load(known)).warnings


def test_an_ion_given_as_neutral(tmp_path: pathlib.Path) -> None:
    (tmp_path / "acetate.pdb").write_text(ACETATE)
    changes = {"structure": "{file: acetate.pdb}", **FEW}
    with pytest.raises(RunFileError) as caught:
        prepare(RunFile.load(run_file(tmp_path, changes={**changes, "region": "{charge: 0, select: all}"})))
    assert "31 electrons" in caught.value.got
    assert "`charge: -1`" in caught.value.remedy
    assert "region.charge" in str(caught.value)
    followed = prepare(RunFile.load(run_file(tmp_path, changes={**changes, "region": "{charge: -1, select: all}"})))
    assert any("is not told the charge" in text for text in followed.warnings)


def test_a_barostat_needs_bonds(tmp_path: pathlib.Path) -> None:
    (tmp_path / "water.pdb").write_text(WATER)
    dynamics = "{ensemble: NPT, temperature: 300 K, pressure: 1 bar, timestep: 0.5 fs, platform: Reference}"
    changes = {"structure": "{file: water.pdb}", "dynamics": dynamics, **FEW}
    with pytest.raises(RunFileError) as caught:
        prepare(RunFile.load(run_file(tmp_path, changes=changes)))
    assert "3 atoms without bonds" in caught.value.got
    (tmp_path / "water.pdb").write_text(WATER.replace("END\n", "CONECT    1    2    3\nEND\n"))
    prepare(RunFile.load(run_file(tmp_path, changes=changes)))
