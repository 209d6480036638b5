"""The pipeline in miniature: data, training, export, and the file is loaded and run."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import torch

from openmm_nn import load_potential

pytest.importorskip("rdkit", reason="RDKit makes the geometries: pip install rdkit")
pytest.importorskip("tblite", reason="tblite makes the labels: pip install tblite")

from training import export, make_data, sample, train
from training.dataset import Labels
from training.molecules import Molecule, molecule_set

EPOCHS = 24
SMILES = ("O", "CO", "O.O")


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    out = tmp_path_factory.mktemp("labels")
    molecules = [Molecule(s, "cluster" if "." in s else "single", "train") for s in SMILES]
    make_data.make_data(out, molecules, workers=1, scale=0.25)
    return out


def options(labels, out, epochs=EPOCHS):
    chosen = ["--labels", str(labels), "--out", str(out), "--epochs", str(epochs), "--pairs", "400"]
    chosen += ["--channels", "8", "--messages", "4", "--hidden", "16"]
    return train.parser().parse_args(chosen)


def run(labels, out, epochs):
    arguments = options(labels, out, epochs)
    trainer = train.Trainer(Labels(labels, "train"), None, out, arguments)
    trainer.run()
    return trainer


def test_data_is_made_again_the_same(labels, tmp_path):
    molecule = Molecule("CO", "single", "train")
    again = make_data.label_molecule(molecule, 0.25)
    before = np.load(labels / f"{molecule.key}.npz")
    np.testing.assert_array_equal(again["positions"], before["positions"])
    np.testing.assert_allclose(again["energies"], before["energies"], atol=1e-9)


def test_data_is_resumed(labels):
    manifest = json.loads((labels / "manifest.json").read_text())
    times = {p: p.stat().st_mtime_ns for p in labels.glob("*.npz")}
    molecules = [Molecule(s, "cluster" if "." in s else "single", "train") for s in SMILES]
    assert make_data.make_data(labels, molecules, workers=1, scale=0.25) == manifest
    assert {p: p.stat().st_mtime_ns for p in labels.glob("*.npz")} == times
    assert manifest["labels"] == sum(e["labels"] for e in manifest["entries"]) > 40


def test_training_learns_resumes_and_exports(labels, tmp_path):
    whole = run(labels, tmp_path / "whole", EPOCHS)
    curve = [json.loads(line) for line in (tmp_path / "whole" / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["train_force_norm"] < 0.8 * curve[0]["train_force_norm"]

    # A run stopped after three epochs goes on where it was.
    stopped = train.Trainer(Labels(labels, "train"), None, tmp_path / "parts", options(labels, tmp_path / "parts"))
    stopped.arguments.epochs = 3
    stopped.run()
    resumed = run(labels, tmp_path / "parts", EPOCHS)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)

    model, offsets = export.load_run(tmp_path / "whole")
    card = export.make_card(model, offsets, "water-and-methanol", "a miniature", "made by a test")
    export.write_model(model, card, tmp_path / "small.pt")
    potential = load_potential(tmp_path / "small.pt")
    block = next(iter(Labels(labels, "train").blocks.values()))
    evaluation = potential.evaluate(block.positions[0].numpy() * 0.1, block.numbers[0].numpy())
    assert evaluation.energy == pytest.approx(float(block.energies[0]) * 96.4853, abs=500)
    assert evaluation.forces_std is not None


def test_split_and_molecules():
    molecules = molecule_set()
    assert len({m.smiles for m in molecules}) == len(molecules) > 1000
    assert len({m.key for m in molecules}) == len(molecules)
    assert {m.group for m in molecules if m.split == "test"} == {m.group for m in molecules}


def test_force_field_gradient_is_fresh():
    # RDKit remembers distances between calls of the gradient; two calls in a row must not see each other.
    molecule = sample.embed("CO", 1, 1)
    gradient = sample.gradient_function(molecule)
    x = molecule.GetConformer().GetPositions()
    shaken = x + np.random.default_rng(0).normal(size=x.shape) * 0.1
    first = gradient(shaken)
    gradient(x)
    np.testing.assert_allclose(gradient(shaken), first, rtol=1e-12)


def test_learning_rate_falls(labels, tmp_path):
    arguments = options(labels, tmp_path)
    assert isinstance(arguments, argparse.Namespace)
    trainer = train.Trainer(Labels(labels, "train"), None, tmp_path, arguments)
    trainer.step = trainer.total
    trainer.done = trainer.progress(trainer.step)
    assert trainer.rate() < 0.02 * arguments.rate
