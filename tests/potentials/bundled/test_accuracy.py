from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import openmm_nn
from tests.potentials.bundled.bundled_support import KCAL, MODEL, energies
from training.dataset import NOWHERE, WALL

NAME = "openmm-nn/hcno-1"


@pytest.fixture(scope="module")
def report():
    return json.loads((MODEL.parent / "validation.json").read_text())


@pytest.fixture(scope="module")
def held_out(kept, single):
    """Forces (true, predicted, spread), kcal/mol/A, of the kept labels of molecules that training never saw."""
    true, predicted, spread = [], [], []
    # Walls and places where no molecule is have forces of hundreds of kcal/mol/A.
    for label in kept.labels_of("test")[~np.isin(kept.kinds[kept.labels_of("test")], WALL)]:
        x, z = kept.molecule_of(label)
        y = x.float().requires_grad_()
        members = energies(single, y, z)
        parts = torch.stack([-torch.autograd.grad(e, y, retain_graph=True)[0] for e in members])
        true.append(kept.forces[kept.atoms(label)])
        predicted.append(parts.mean(0).numpy())
        spread.append(parts.var(0).sum(-1).sqrt().numpy())
    return np.concatenate(true) * KCAL, np.concatenate(predicted) * KCAL, np.concatenate(spread) * KCAL


def test_forces_of_unseen_molecules(held_out, report):
    true, predicted, _ = held_out
    mae = np.abs(true - predicted).mean()
    assert mae < 2.0
    # The kept labels are a sample of those that the page of provenance reports on.
    assert mae == pytest.approx(report["errors"]["all"]["force_mae"], rel=0.25)


def test_spread_tells_the_error(held_out):
    true, predicted, spread = held_out
    error = np.linalg.norm(true - predicted, axis=1)
    assert spearmanr(spread, error).statistic > 0.4
    order = np.argsort(spread)
    deciles = [error[part].mean() for part in np.array_split(order, 10)]
    assert deciles[-1] > 3 * deciles[0]


def test_split_is_by_molecule(kept):
    manifest = json.loads((MODEL.parent / "manifest.json").read_text())
    columns = manifest["columns"]
    split = {row[columns.index("smiles")]: row[columns.index("split")] for row in manifest["rows"]}
    assert len(split) == len(manifest["rows"])
    assert [split[str(s)] for s in kept.smiles] == list(kept.splits)
    classes = {row[columns.index("class")] for row in manifest["rows"]}
    tested = {row[columns.index("class")] for row in manifest["rows"] if row[columns.index("split")] == "test"}
    assert classes == tested
    assert sum(s == "test" for s in split.values()) >= 60


def test_files_are_small():
    assert MODEL.stat().st_size < 10e6
    assert (MODEL.parent / "labels_sample.npz").stat().st_size < 5e6


def test_labels_can_be_made_again(kept):
    pytest.importorskip("tblite", reason="tblite makes the labels: pip install tblite")
    from training.label import Labeller

    rng = np.random.default_rng(5)
    for label in rng.choice(len(kept.energies), 100, replace=False):
        atoms = kept.atoms(label)
        labeller = Labeller(kept.numbers[atoms].astype(int))
        again = (labeller.afresh if kept.kinds[label] in NOWHERE else labeller)(kept.positions[atoms])
        assert again is not None
        hartree = 27.211386245988
        assert abs(again[0] - kept.energies[label]) / hartree < 1e-6
        np.testing.assert_allclose(again[1], kept.forces[atoms], atol=3e-3)


def test_it_is_listed():
    entry = next(e for e in openmm_nn.available_potentials() if e.name == NAME)
    assert entry.card is not None
    assert entry.card.committee_size == 4
    assert entry.missing == ""
    assert openmm_nn.load_potential(NAME).card == openmm_nn.load_potential(MODEL).card


def test_evaluates_as_labelled(kept):
    potential = openmm_nn.load_potential(NAME)
    label = int(kept.labels_of("test")[0])
    atoms = kept.atoms(label)
    result = potential.evaluate(kept.positions[atoms] * 0.1, kept.numbers[atoms].astype(int))
    # The reference energies are in the card: the total energy is that of GFN2-xTB.
    assert result.energy == pytest.approx(kept.energies[label] * 96.48533, abs=80.0)
    error = (result.forces - kept.forces[atoms] * 964.8533) / 41.84
    assert np.abs(error).mean() < 6.0
    assert result.energy_std is not None
    assert result.energy_std > 0
