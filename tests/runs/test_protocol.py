"""The protocol with other ensembles, integrators, engines and outputs."""

import json
import pathlib
import re

import mdtraj
import numpy as np
import openmm
import pytest

from openmm_nn import HybridSystem
from openmm_nn.errors import RunFileError
from openmm_nn.runs import continue_run, run
from tests.refusals import refusal
from tests.runs.run_support import assert_same_run, log_rows, waters_file
from tests.runs.test_restart import Interrupted, interrupt_at
from tests.runs.test_structures import WATER_BOX


def test_constant_pressure(tmp_path: pathlib.Path) -> None:
    """216 waters: the volume changes, the density is that of water, and the run can be interrupted."""
    text = f"""\
structure: {{file: {WATER_BOX}.prmtop, coordinates: {WATER_BOX}.crd, box: [18.9 A, 18.9 A, 18.9 A]}}
forcefield: {{nonbonded: PME, cutoff: 0.8 nm}}
potential: {{name: openmm-nn/hcno-1}}
region: {{atoms: [0, 1, 2], charge: 0}}
dynamics:
  ensemble: NPT
  temperature: 300 K
  pressure: 1 bar
  barostat_every: 5
  timestep: 0.5 fs
  platform: CPU
  properties: {{Threads: "1"}}
minimise: {{iterations: 30}}
produce: {{length: 40 fs}}
reporters: {{log: 5 fs, trajectory: 10 fs, checkpoint: 10 fs}}
"""
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(Interrupted):
        run(tmp_path / "run.yaml", tmp_path / "out", progress=interrupt_at("produce", 50))
    assert continue_run(tmp_path / "out").status == "finished"
    rows = [row for row in log_rows(tmp_path / "out") if row["stage"] == "produce"]
    assert [int(row["step"]) for row in rows] == list(range(0, 81, 10))
    volumes = [float(row["volume_nm3"]) for row in rows]
    assert len(set(volumes)) > 1
    densities = [float(row["density_g/mL"]) for row in rows]
    np.testing.assert_allclose(np.array(densities) * volumes, 216 * 18.015 / 602.214, rtol=1e-3)
    frames = mdtraj.load(tmp_path / "out" / "trajectory.xtc", top=tmp_path / "out" / "topology.pdb")
    np.testing.assert_allclose(frames.unitcell_volumes, volumes[2::2], rtol=1e-5)
    assert json.loads((tmp_path / "out" / "record.json").read_text())["pressure_bar"] == 1.0


def test_changed_classical_parameters_are_named_at_checkpoints(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""\
structure: {{file: {WATER_BOX}.prmtop, coordinates: {WATER_BOX}.crd, box: [18.9 A, 18.9 A, 18.9 A]}}
forcefield: {{nonbonded: PME, cutoff: 0.8 nm}}
potential: {{name: openmm-nn/hcno-1}}
region: {{atoms: [0, 1, 2], charge: 0}}
dynamics: {{temperature: 300 K, timestep: 0.5 fs, platform: CPU}}
produce: {{length: 2 fs}}
reporters: {{log: 1 fs, trajectory: 1 fs, checkpoint: 1 fs}}
"""
    (tmp_path / "run.yaml").write_text(text)
    monkeypatch.setattr(HybridSystem, "changes", lambda self: ("3 particles of NonbondedForce",))
    with pytest.warns(UserWarning, match="3 particles of NonbondedForce"):
        run(tmp_path / "run.yaml", tmp_path / "out")


def test_nose_hoover(tmp_path: pathlib.Path) -> None:
    """Its chains are part of the checkpoint: interrupted, the run is the same."""
    dynamics = "{temperature: 300 K, integrator: nose-hoover, friction: 10 /ps, timestep: 0.5 fs, platform: Reference}"
    file = waters_file(tmp_path, changes={"dynamics": dynamics})
    run(file, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(file, tmp_path / "broken", progress=interrupt_at("produce", 33))
    continue_run(tmp_path / "broken")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_some_atoms_in_the_trajectory(tmp_path: pathlib.Path) -> None:
    reporters = "{log: 1 fs, trajectory: 2 fs, checkpoint: 5 fs, atoms: name O}"
    run(waters_file(tmp_path, changes={"reporters": reporters}), tmp_path / "out")
    frames = mdtraj.load(tmp_path / "out" / "trajectory.xtc", top=tmp_path / "out" / "trajectory.pdb")
    assert [atom.name for atom in frames.topology.atoms] == ["O", "O"]
    whole = mdtraj.load_pdb(str(tmp_path / "out" / "equilibrated.pdb"))
    np.testing.assert_allclose(frames.xyz[0], whole.xyz[0][[0, 3]], atol=5e-3)
    wrong = waters_file(tmp_path, name="wrong.yaml", changes={"reporters": "{atoms: nam O}"})
    with refusal(RunFileError, "wrong.yaml, line 7: reporters.atoms", got="'nam O'"):
        run(wrong, tmp_path / "wrong")


def test_classical(tmp_path: pathlib.Path) -> None:
    """Without a potential: the twin that a hybrid is compared with."""
    changes = {
        "structure": "{file: waters.pdb, box: [2 nm, 2 nm, 2 nm]}",
        "forcefield": "{files: [amber14/tip3p.xml], cutoff: 0.9 nm, rigid_water: false}",
        "potential": "",
        "uncertainty": "",
    }
    result = run(waters_file(tmp_path, changes=changes), tmp_path / "out")
    assert result.status == "finished"
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["card"] is None
    assert record["region"]["atoms"] == []
    assert record["boundary"] is None
    assert not (tmp_path / "out" / "model.pt").exists()
    assert not (tmp_path / "out" / "uncertainty.csv").exists()


def test_on_the_engine_in_python(python_engine: str, tmp_path: pathlib.Path) -> None:
    """No System in XML: the run goes on from the run file; what needs the native engine is refused by name."""
    asking = waters_file(tmp_path, name="asking.yaml")
    with refusal(RunFileError, re.compile(r"asking\.yaml, line \d+: uncertainty"), remedy="openmm-nn build"):
        run(asking, tmp_path / "asking")
    file = waters_file(tmp_path, changes={"uncertainty": ""})
    run(file, tmp_path / "whole")
    assert not (tmp_path / "whole" / "system.xml").exists()
    with pytest.raises(Interrupted):
        run(file, tmp_path / "broken", progress=interrupt_at("produce", 33))
    continue_run(tmp_path / "broken")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_what_ran_is_what_is_archived(tmp_path: pathlib.Path) -> None:
    """The model file, the hash in the record and the System in XML are one; the energies are those of the log."""
    import hashlib

    run(waters_file(tmp_path), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert hashlib.sha256((tmp_path / "out" / "model.pt").read_bytes()).hexdigest() == record["model_sha256"]
    system = openmm.XmlSerializer.deserialize((tmp_path / "out" / "system.xml").read_text())
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform)
    context.setState(openmm.XmlSerializer.deserialize((tmp_path / "out" / "checkpoint" / "state.xml").read_text()))
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert float(log_rows(tmp_path / "out")[-1]["potential_kJ/mol"]) == pytest.approx(energy, abs=1e-6)
