"""The pipeline in miniature: data, training, export, and the file is loaded and run."""

from __future__ import annotations

import argparse
import json
import re
import time

import numpy as np
import pytest
import torch

from openmm_nn import load_potential

pytest.importorskip("rdkit", reason="RDKit makes the geometries: pip install rdkit")
pytest.importorskip("tblite", reason="tblite makes the labels: pip install tblite")

from rdkit import Chem

from training import dataset, export, holes, make_data, sample, scans, scatter, torsion_map, train
from training.dataset import Labels
from training.model import Committee
from training.molecules import Molecule, molecule_set

EPOCHS = 24
KCAL = 23.060547830619
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


def test_packed_labels_are_the_labels(labels, tmp_path):
    dataset.pack(labels, tmp_path, ["train"])
    for block, packed in zip(Labels(labels).blocks.values(), Labels(tmp_path).blocks.values(), strict=True):
        torch.testing.assert_close(packed.positions, block.positions, rtol=0, atol=dataset.RESOLUTION)
        torch.testing.assert_close(packed.forces, block.forces, rtol=6e-4, atol=1e-6)
        for name in ("numbers", "energies", "molecule", "kinds", "temperatures"):
            torch.testing.assert_close(getattr(packed, name), getattr(block, name), rtol=0, atol=0)
    with pytest.raises(ValueError, match="has no molecule"):
        dataset.pack(labels, tmp_path, ["validation"])


def test_an_epoch_has_every_label(labels):
    every = Labels(labels)
    plan = dataset.epoch(every, 400, 4, (1, 2))
    rows = {n: torch.cat([plan.rows[a:b] for k, a, b in plan.batches if k == n]) for n in every.blocks}
    for n, block in every.blocks.items():
        assert set(rows[n].tolist()) == set(range(len(block.energies)))
        assert len({b - a for k, a, b in plan.batches if k == n}) == 1
    assert plan.draws.shape == (4, len(plan.rows))
    assert float(plan.draws.min()) > 0


def test_a_step_never_waits_for_the_host(labels):
    # Tensors of the device "meta" have no values: whatever asks for one, or mixes devices, fails.
    every = Labels(labels)
    every.to("meta")
    model = Committee(channels=8, messages=4, hidden=16).to("meta")
    for block in every.blocks.values():
        rows, draws = torch.arange(3, device="meta"), torch.rand(4, 3, device="meta")
        left_out = torch.zeros(len(SMILES), dtype=torch.int64, device="meta")
        force, energy = train.losses(model, block, rows, draws, left_out)
        assert train.gradient(force + energy, model).shape == (sum(p.numel() for p in model.parameters()),)


def test_training_ends_in_time(labels, tmp_path):
    arguments = options(labels, tmp_path, 10**6)
    arguments.minutes = 0.05
    started = time.time()
    trainer = train.Trainer(Labels(labels, "train"), None, tmp_path, arguments)
    trainer.run()
    assert 3.0 <= time.time() - started < 20.0
    assert trainer.done == 1.0
    assert trainer.rate() < 0.02 * arguments.rate
    assert (tmp_path / "last.pt").exists()


@pytest.mark.parametrize(
    "wrong, said",
    [
        (["--graphs"], "--graphs: needs --device cuda, not cpu"),
        (["--device", "cuda"], "--device cuda: torch .* finds no GPU"),
        (["--device", "cuda", "--processes", "2"], "--processes 2: only 1 with --device cuda"),
    ],
)
def test_options_that_cannot_be(monkeypatch, wrong, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "--processes" in wrong)
    arguments = train.parser().parse_args(["--labels", "labels", "--out", "run", *wrong])
    assert re.match(said, train.check(arguments))


def test_stacked_rings_and_ways_down():
    dimer = sample.embed("c1ccoc1.c1ccoc1", 1, 1)
    minimum = dimer.GetConformer().GetPositions()
    first, second = (list(f) for f in Chem.GetMolFrags(dimer))
    frames = scans.stacks(dimer, minimum, 12, np.random.default_rng(1))
    closest = [np.linalg.norm(x[first][:, None] - x[second], axis=-1).min() for x in frames]
    assert len(frames) == 12
    assert min(closest) > 1.0
    assert max(closest) < 6.5
    assert scans.stacks(sample.embed("O.O", 1, 1), minimum[:6], 3, np.random.default_rng(1)) == []

    labels = make_data.label_molecule(Molecule("CC(=O)NCC(=O)NC", "peptide", "train"), 0.1)
    descents = labels["kinds"] == dataset.KINDS.index("descent")
    assert descents.sum() >= 4
    # The end of a way down is lower than its start.
    assert labels["energies"][descents][-1] < labels["energies"][descents][0]


def test_crushed_and_scattered_molecules_are_high():
    molecule = sample.embed("CC(=O)NC", 1, 1)
    minimum = molecule.GetConformer().GetPositions()
    forces = sample.gradient_function(molecule)
    frames = scatter.scattered(molecule, minimum, lambda x: -forces(x), 16, np.random.default_rng(1))
    assert len(frames) == 16
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()])

    def lengths(x):
        return np.linalg.norm(x[bonds[:, 0]] - x[bonds[:, 1]], axis=1)

    ratios = [lengths(x) / lengths(minimum) for x in frames]
    assert min(r.min() for r in ratios) < 0.7
    assert max(r.max() for r in ratios) > 1.5

    labels = make_data.label_molecule(Molecule("CC(=O)NC", "amide", "train"), 0.5)
    nowhere = np.isin(labels["kinds"], dataset.NOWHERE)
    height = (labels["energies"] - labels["energies"].min()) / len(labels["numbers"])  # eV an atom
    assert nowhere.sum() >= 8
    assert np.median(height[nowhere]) > 1.0 > height[~nowhere].max()
    assert np.abs(labels["forces"][nowhere]).max() < make_data.LIMITS["scatter"][1]


def test_high_labels_count_for_less(labels):
    every = Labels(labels)
    block = every.blocks[6]
    model = Committee(channels=8, messages=4, hidden=16)
    rows, draws = torch.arange(4), torch.ones(4, 4)
    nothing_left_out = torch.full((len(SMILES),), -1)
    found = []
    for height in (0.1, 2 * train.HIGH):
        block.heights = torch.full_like(block.heights, height)
        found.append([float(x.detach()) for x in train.losses(model, block, rows, draws, nothing_left_out)])
    assert found[0] == pytest.approx([2 * x for x in found[1]])


@pytest.mark.parametrize("hole", [False, True])
def test_holes_are_found(hole):
    # Two atoms on a spring, which has a hole beside its minimum or not.
    def spring(positions):
        distance = (positions[0] - positions[1]).norm()
        energy = 1e5 * (distance - 0.074) ** 2
        return energy - 2000.0 * torch.exp(-(((distance - 0.12) / 0.03) ** 2)) if hole else energy

    potential = load_potential(spring)
    minimum = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
    found = holes.holes(potential, np.array([1, 1]), minimum, np.random.default_rng(1))
    assert all(abs(np.linalg.norm(x[0] - x[1]) - 0.74) > holes.AWAY for x in found)
    assert bool(found) == hole


def test_minima_are_paired():
    molecule = sample.embed(torsion_map.SMILES, 3, 5)
    numbers = [a.GetAtomicNum() for a in molecule.GetAtoms()]
    assert len(numbers) == 22
    field = sample.force_field(molecule)

    def surface(x, bias=0.0):
        flat = x.ravel().tolist()
        energy, gradient = field.CalcEnergy(flat), np.array(field.CalcGrad(flat)).reshape(-1, 3)
        y = torch.tensor(x, requires_grad=True)
        phi = torsion_map.dihedrals(y, torch.tensor([torsion_map.PHI]))
        term = bias * (1 - torch.cos(phi - np.radians(60.0))).sum()
        (push,) = torch.autograd.grad(term, y)
        return (energy + float(term.detach())) / KCAL, -(gradient + push.numpy()) / KCAL

    starts = [c.GetPositions() for c in molecule.GetConformers()]
    same = torsion_map.pair_minima(surface, surface, starts)
    assert len(same["minima"]) >= 2
    assert same["minima_of_the_reference_alone"] == same["minima_of_the_potential_alone"] == []
    assert all(a == b for a, b in same["minima"])
    # A strong pull to one phi leaves less of them.
    pulled = torsion_map.pair_minima(lambda x: surface(x, 100.0), surface, starts)
    assert pulled["minima_of_the_reference_alone"] != []


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
