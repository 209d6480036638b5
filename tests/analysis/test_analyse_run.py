"""The analysis of a run's directory: each number is what its own function gives for the frames that are there."""

import csv
import json
import pathlib
import shutil

import mdtraj
import numpy as np
import openmm as mm
import pytest
from typer.testing import CliRunner

from openmm_nn.analysis import (
    compute_angle_free_energy,
    compute_drift,
    compute_interaction_energy,
    compute_link_geometry,
    compute_structure,
)
from openmm_nn.cli.app import app
from openmm_nn.errors import ParameterError
from openmm_nn.runs import RunDirectory, analyse_run
from openmm_nn.runs.reading import read_table, write_table
from tests.refusals import refusal
from tests.report import directories


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return directories.report_of("finished", tmp_path_factory).parent


def columns(path: pathlib.Path) -> dict[str, np.ndarray]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows if row[name] is not None]) for name in rows[0]
            if name not in ("name", "stage")}  # fmt: skip


def test_structure_and_free_energy(finished: pathlib.Path) -> None:
    analysis = json.loads((finished / "analysis.json").read_text())
    traj = mdtraj.load(str(finished / "trajectory.xtc"), top=str(finished / "topology.pdb"))
    summary = compute_structure(traj, range(22))
    found = columns(finished / analysis["structure"]["series"])
    assert found["time_ps"] == pytest.approx(traj.time)
    for name, values in (("rmsd_nm", summary.rmsd), ("rg_nm", summary.rg), ("sasa_nm2", summary.sasa)):
        assert found[name] == pytest.approx(values, rel=1e-6, abs=1e-9)
    angles = columns(finished / analysis["structure"]["dihedrals"])
    assert angles["phi_ALA2_rad"] == pytest.approx(mdtraj.compute_phi(traj)[1][:, 0], rel=1e-6)
    (row,) = analysis["free_energy"]["residues"]
    expected = compute_angle_free_energy([summary.dihedrals["phi ALA2"], summary.dihedrals["psi ALA2"]], 300.0)
    surface = columns(finished / row["surface"])
    assert surface["free_energy_kJ/mol"] == pytest.approx(expected.free_energy.ravel(), rel=1e-5, abs=1e-9, nan_ok=True)
    assert analysis["trajectory"] == {
        "frames": 50, "read": 50, "stride": 1, "atoms": traj.n_atoms, "all_atoms": True, "truncated": "",
    }  # fmt: skip


def test_energies(finished: pathlib.Path) -> None:
    analysis = json.loads((finished / "analysis.json").read_text())
    with (finished / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == "produce"]
    time, total = (np.array([float(row[name]) for row in rows]) for name in ("time_ps", "total_kJ/mol"))
    drift = compute_drift(time, total)
    found = analysis["energies"]["produce"]
    assert found["drift"]["slope"] == pytest.approx(drift.slope)
    assert found["drift"]["error"] == pytest.approx(drift.error)
    assert found["rows"] == len(rows)
    assert "minimise" not in analysis["energies"]


def test_parts_that_need_energies(finished: pathlib.Path) -> None:
    analysis = json.loads((finished / "analysis.json").read_text())
    ledger = columns(finished / analysis["ledger"]["series"])
    assert analysis["ledger"]["largest_residual"] < 0.05
    traj = mdtraj.load(str(finished / "trajectory.xtc"), top=str(finished / "topology.pdb"), stride=5)
    system = mm.XmlSerializer.deserialize((finished / "system.xml").read_text())
    energy = compute_interaction_energy(traj, system, range(22), platform="Reference")
    found = columns(finished / analysis["interaction"]["series"])
    assert found["total_kJ/mol"] == pytest.approx(energy.total, abs=0.02)
    assert ledger["RE_kJ/mol"] == pytest.approx(energy.total, abs=0.02)
    terms = sum(values for name, values in ledger.items() if name not in ("time_ps", "total_kJ/mol", "residual_kJ/mol"))
    assert ledger["total_kJ/mol"] == pytest.approx(terms, abs=0.05)
    # What the run logged is what the frames say, as far as an XTC's three digits carry.
    log = {round(float(t), 4): e for t, e in zip(*(RunDirectory(finished).stages()["produce"][name] for name in
           ("time_ps", "potential_kJ/mol")), strict=True)}  # fmt: skip
    both = [(e, log[round(float(t), 4)]) for t, e in zip(ledger["time_ps"], ledger["total_kJ/mol"], strict=True)
            if round(float(t), 4) in log]  # fmt: skip
    assert len(both) >= 3
    assert [mine for mine, _ in both] == pytest.approx([logged for _, logged in both], abs=30.0)
    sigma = columns(finished / analysis["uncertainty"]["atoms"])
    assert len(sigma["sigma_F_kJ/mol/nm"]) == 22
    assert analysis["uncertainty"]["members"] == 4
    cost = analysis["performance"]
    assert cost["ideal_ms"] == max(cost["model_ms"], cost["classical_ms"])
    assert cost["whole_ms"] > 0
    assert {row["what"]: row["why"] for row in analysis["not_computed"]} == {"boundary": "no bond is cut"}


def test_cut_bonds(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = directories.report_of("cut", tmp_path_factory).parent
    analysis = json.loads((place / "analysis.json").read_text())
    traj = mdtraj.load(str(place / "trajectory.xtc"), top=str(place / "topology.pdb"))
    geometry = compute_link_geometry(traj, RunDirectory(place).links)
    rows = analysis["boundary"]["rows"]
    assert [row["kind"] for row in rows] == ["bond"] + ["angle"] * 6
    assert rows[0]["mean"] == pytest.approx(geometry.lengths.mean())
    assert 0.14 < rows[0]["mean"] < 0.17
    assert [row["mean"] for row in rows[1:]] == pytest.approx(geometry.values.mean(axis=0))
    assert analysis["energies"]["produce"]["drift"]["error"] > 0
    # Villin has bonds to hydrogen that the force field keeps as they are: the ledger knows the link term.
    assert analysis["ledger"]["means"]["link"] != 0


def test_a_twin(finished: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: pathlib.Path) -> None:
    twin = directories.classical_twin(directories.shared_folder(tmp_path_factory))
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    analysis = analyse_run(copy, twin=twin, energy_frames=10, seconds=0, properties=directories.THREADS)
    rows = analysis["twin"]["differences"]
    assert rows["rg"]["difference"] == pytest.approx(rows["rg"]["first"]["mean"] - rows["rg"]["second"]["mean"])
    weights = columns(copy / analysis["reweighting"]["series"])["weight"]
    assert weights.sum() == pytest.approx(1.0, abs=1e-4)
    assert 1.0 <= analysis["reweighting"]["effective_size"] <= len(weights)
    assert "performance" not in analysis
    reasons = {row["what"]: row["why"] for row in analyse_run(twin, frames=10, energy_frames=4)["not_computed"]}
    classical = "the run is classical: it has no potential"
    assert (reasons["uncertainty"], reasons["performance"]) == (classical, classical)
    assert reasons["interaction"] == "the run has no region"


def test_the_command_prints_what_was_found(
    finished: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: pathlib.Path
) -> None:
    """``openmm-nn analyse RUN --twin TWIN``: the tables of the report, and what could not be computed."""
    twin = directories.classical_twin(directories.shared_folder(tmp_path_factory))
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    options = ["--twin", str(twin), "--frames", "20", "--energy-frames", "4"]
    result = CliRunner().invoke(app, ["analyse", str(copy), *options], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.stderr
    found = json.loads((copy / "analysis.json").read_text())
    assert found["trajectory"]["read"] <= 20
    for title in ("Drift of the total energy", "Averages in both runs", "reweighted", "Not computed"):
        assert title in result.stdout, title
    rg = found["twin"]["differences"]["rg"]
    assert f"{rg['second']['mean']:.4g}" in result.stdout
    assert "analysing: reweighting" in result.stderr
    wrong = CliRunner().invoke(app, ["analyse", str(copy), "--twin", str(tmp_path)])
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: --twin: got ")


def test_a_trajectory_that_was_cut_off(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    with (copy / "trajectory.xtc").open("r+b") as file:
        file.truncate((copy / "trajectory.xtc").stat().st_size - 100)
    with (copy / "log.csv").open("a") as file:
        file.write("produce,9999,1")
    read = RunDirectory(copy).trajectory(100)
    assert read is not None
    assert read.frames.n_frames == 49
    assert read.truncated
    assert RunDirectory(copy).stages()["produce"]["step"].max() == 400


def test_some_of_the_atoms(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    traj = mdtraj.load(str(copy / "trajectory.xtc"), top=str(copy / "topology.pdb")).atom_slice(range(6, 40))
    traj.save_xtc(str(copy / "trajectory.xtc"))
    traj[0].save_pdb(str(copy / "trajectory.pdb"))
    read = RunDirectory(copy).trajectory(1000)
    assert read is not None
    assert (read.complete, read.region) == (False, tuple(range(16)))
    analysis = analyse_run(copy, seconds=0)
    reasons = {row["what"]: row["why"] for row in analysis["not_computed"]}
    assert reasons["interaction"] == "the trajectory holds some of the atoms only, and the energy needs all of them"
    assert columns(copy / analysis["structure"]["rmsf"])["atom"].tolist() == list(range(6, 22))


def test_nothing_but_a_record(tmp_path: pathlib.Path) -> None:
    (tmp_path / "record.json").write_text('{"status": "running"}')
    seen: list[str] = []
    analysis = analyse_run(tmp_path, progress=seen.append)
    assert seen[:2] == ["energies", "structure"]
    assert all(row["why"] for row in analysis["not_computed"])
    assert json.loads((tmp_path / "analysis.json").read_text()) == analysis
    assert not (tmp_path / "analysis.json.part").exists()
    with refusal(ParameterError, "directory", allowed="the directory that a run wrote"):
        analyse_run(tmp_path / "elsewhere")


def test_tables(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a" / "table.csv"
    write_table(path, {"name": ["x", "y"], "value": np.array([1.0, np.nan]), "count": np.array([3, 4])})
    assert path.read_text().splitlines() == ["name,value,count", "x,1,3", "y,,4"]
    table = read_table(path)
    assert table["name"].tolist() == ["x", "y"]
    assert table["value"][0] == 1.0
    assert np.isnan(table["value"][1])
    assert read_table(tmp_path / "none.csv") == {}
