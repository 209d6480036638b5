from __future__ import annotations

import json

import numpy as np
import openmm
import pytest

import openmm_nn
from openmm_nn.bench.model_cost import compile_bundled
from tests.potentials.bundled.bundled_support import MODEL

pytest.importorskip("rdkit", reason="RDKit makes the geometries: pip install rdkit")
pytest.importorskip("tblite", reason="tblite makes the labels: pip install tblite")

from rdkit import Chem
from rdkit.Chem import AllChem

from training import dynamics, validate
from training.dataset import KINDS
from training.validate import held_out, weights_hash

NAME = "openmm-nn/hcno-1"


def test_short_dynamics_of_held_out_molecules():
    found = dynamics.stability(openmm_nn.load_potential(NAME), held_out(MODEL.parent), 0.25, 3, 12, dynamics.Keep())
    assert (found["molecules"], found["picoseconds"]) == (3, 0.25)
    assert found["broken"] == []
    assert 1.0 < found["longest_relative_bond"] < 1.25


def test_record_is_of_these_weights_and_nothing_broke(single):
    report = json.loads((MODEL.parent / "validation.json").read_text(encoding="utf-8"))
    assert report["weights_sha256"] == weights_hash(single)
    for section, count in (("dynamics", 30), ("endurance", 5)):
        record = report[section]
        assert record["molecules"] == count
        assert record["picoseconds"] >= record["picoseconds_wanted"]
        assert record["broken"] == []
        assert record["finite"]
        assert record["longest_relative_bond"] < dynamics.BROKEN


def test_minimisation_ends_where_there_are_molecules(kept):
    report = json.loads((MODEL.parent / "validation.json").read_text(encoding="utf-8"))["minimisation"]
    assert report["molecules"] >= 60
    assert dict(report["lost"]) == {0.03: 0, 0.1: 0, 0.2: 0}

    minima = np.intersect1d(kept.labels_of("test"), np.where(kept.kinds == KINDS.index("minimum"))[0])[:4]
    assert len(minima) == 4
    found = [(kept.numbers[kept.atoms(k)].astype(int), kept.positions[kept.atoms(k)]) for k in minima]
    assert dict(validate.minimisation(openmm_nn.load_potential(NAME), found)["lost"]) == {0.03: 0, 0.1: 0, 0.2: 0}


@pytest.mark.parametrize("stretched_bond", [False, True])
def test_a_broken_bond_is_seen(stretched_bond):
    # A potential that knows one bond length, 1.5 times that of the molecule at first, or the same.
    hydrogen = Chem.AddHs(Chem.MolFromSmiles("[H][H]"))
    AllChem.EmbedMolecule(hydrogen, randomSeed=1)

    def spring(positions):
        return 1e4 * ((positions[0] - positions[1]).norm() - 0.08) ** 2

    ensemble = dynamics.Ensemble(openmm_nn.load_potential(spring), [hydrogen])
    assert ensemble.lengths == pytest.approx([0.08], abs=1e-3)
    if stretched_bond:
        ensemble.lengths = ensemble.lengths / 1.5
    log = ensemble.run(openmm.VerletIntegrator(0.0001), 10.0, 20, 10, dynamics.Keep(), 1)
    assert bool((log["stretch"] > dynamics.BROKEN).any()) == stretched_bond


def test_a_run_goes_on_where_it_stopped(tmp_path):
    potential = openmm_nn.load_potential(NAME)
    entries = [e for e in held_out(MODEL.parent) if e["atoms"] < 10]
    keep = dynamics.Keep(tmp_path, deadline=0.0)
    first = dynamics.stability(potential, entries, 0.15, 2, 9, keep)
    assert first["picoseconds"] == 0.05
    whole = dynamics.stability(potential, entries, 0.15, 2, 9, dynamics.Keep(tmp_path))
    assert whole["picoseconds"] == 0.15
    assert whole["broken"] == []
    kept = json.loads((tmp_path / "run.json").read_text())
    assert kept["steps"] == 300
    assert len(kept["log"]["stretch"]) == 3


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The same potential, compiled, so that long runs take a third of the time."""
    return compile_bundled(tmp_path_factory.mktemp("bundled") / "hcno-1.pt2")


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("picoseconds, count, largest", [(20.0, 30, 22), (500.0, 5, 12)])
def test_no_bond_breaks(compiled, picoseconds, count, largest):
    found = dynamics.stability(compiled, held_out(MODEL.parent), picoseconds, count, largest, dynamics.Keep())
    assert found["picoseconds"] == picoseconds
    assert found["broken"] == []
    assert found["finite"]
    assert found["mean_temperature"] == pytest.approx(300.0, abs=15.0)


def test_record_conserves_energy():
    check_conservation(json.loads((MODEL.parent / "validation.json").read_text(encoding="utf-8"))["conservation"])


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_energy_is_conserved(tmp_path):
    compiled = compile_bundled(tmp_path / "double.pt2", dtype="float64")
    check_conservation(dynamics.conservation(compiled, 20.0, dynamics.Keep()))


def check_conservation(found):
    assert found["picoseconds"] >= 20.0
    for step in ("0.5 fs", "0.25 fs"):
        record = found[step]
        assert len(record["runs"]) >= 3
        assert abs(record["mean_slope"]) <= 3 * record["standard_error_of_the_mean"]
        for row in record["runs"]:
            assert abs(row["slope_kJ_per_ps"]) <= 3 * record["standard_error_of_a_slope"]
            # What the steps conserve is known much more sharply.
            assert row["conserved_std_kJ"] < 0.2 * row["std_kJ"]
            assert abs(row["conserved_slope_kJ_per_ps"]) <= 1e-3
    assert 3 < found["std_ratio"] < 5


def test_what_verlet_conserves():
    # One particle on a spring: x" = -w^2 x by steps of h conserves v^2/2 + w^2 x^2 (1 - w^2 h^2/4)/2, v at whole steps.
    hydrogen = Chem.AddHs(Chem.MolFromSmiles("[H][H]"))
    AllChem.EmbedMolecule(hydrogen, randomSeed=1)
    stiffness = 2e5  # kJ/(mol nm^2)

    def spring(positions):
        return 0.5 * stiffness * ((positions[0] - positions[1]).norm() - 0.08) ** 2

    ensemble = dynamics.Ensemble(openmm_nn.load_potential(spring), [hydrogen], {"precision": "double"})
    deviations = []
    for step in (2e-4, 1e-4):
        integrator = openmm.VerletIntegrator(step)
        log = ensemble.run(integrator, 300.0, round(0.1 / step), 1, dynamics.Keep(), 1, verlet=True)
        total = log["potential"] + log["kinetic"]
        deviations.append([total.std(), (total + log["beyond"]).std()])
    (total, conserved), (half_total, half_conserved) = deviations
    assert conserved < 0.1 * total
    assert total / half_total == pytest.approx(4.0, rel=0.1)
    assert conserved / half_conserved == pytest.approx(16.0, rel=0.3)
