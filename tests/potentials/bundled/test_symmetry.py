from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.potentials.bundled.bundled_support import all_edges, energies, energy_and_forces

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def model(request, single, double):
    return single if request.param is torch.float32 else double


@pytest.fixture
def molecules(kept):
    rng = np.random.default_rng(0)
    return [kept.molecule_of(i) for i in rng.choice(kept.labels_of("test"), 12, replace=False)]


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def atomic_energies(model, x, z):
    edges = all_edges(x)
    return model(x, z, edges, x.new_zeros(edges.shape[1], 3))


def test_rotation_reflection_translation(model, molecules):
    dtype = model.mix.dtype
    for index, (x, z) in enumerate(molecules):
        r = torch.tensor(Rotation.random(random_state=index).as_matrix())
        if index % 2:
            r = -r  # a reflection
        shift = torch.tensor([1.3, -0.7, 2.1], dtype=torch.float64)
        e0, f0 = energy_and_forces(model, x.to(dtype), z)
        e1, f1 = energy_and_forces(model, (x @ r.T + shift).to(dtype), z)
        before = atomic_energies(model, x.to(dtype), z)
        after = atomic_energies(model, (x @ r.T + shift).to(dtype), z)
        assert relative(after, before) < TOLERANCE[dtype]
        # Forces near a minimum are differences of large terms: relative to the force of a bond stretched by 0.3 A.
        scale = max(10.0, float(f0.abs().max()))
        assert float((f1 - f0 @ r.T.to(dtype)).abs().max()) < TOLERANCE[dtype] * scale
        assert float((e1 - e0).abs()) < TOLERANCE[dtype] * float(before.abs().sum(1).max())


def test_permutation(model, molecules):
    dtype = model.mix.dtype
    for index, (x, z) in enumerate(molecules):
        order = torch.tensor(np.random.default_rng(index).permutation(len(z)))
        e0, f0 = energy_and_forces(model, x.to(dtype), z)
        e1, f1 = energy_and_forces(model, x[order].to(dtype), z[order])
        before = atomic_energies(model, x.to(dtype), z)
        assert relative(atomic_energies(model, x[order].to(dtype), z[order]), before[:, order]) < TOLERANCE[dtype]
        assert float((f1 - f0[order]).abs().max()) < TOLERANCE[dtype] * max(10.0, float(f0.abs().max()))
        assert float((e1 - e0).abs()) < TOLERANCE[dtype] * float(before.abs().sum(1).max())


def test_order_of_edges_does_not_matter(double, molecules):
    x, z = molecules[0]
    edges = torch.stack(torch.where((torch.cdist(x, x) + 100 * torch.eye(len(z), dtype=x.dtype)) < 5.0))
    order = torch.tensor(np.random.default_rng(1).permutation(edges.shape[1]))
    a = double(x, z, edges, x.new_zeros(edges.shape[1], 3))
    b = double(x, z, edges[:, order], x.new_zeros(edges.shape[1], 3))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_edge_shifts_are_added(double, molecules):
    # A molecule cut by a periodic boundary, with the shift that mends it, is the molecule.
    x, z = molecules[1]
    moved = x.clone()
    box = 30.0
    moved[0, 0] += box
    edges = torch.stack(torch.where((torch.cdist(x, x) + 100 * torch.eye(len(z), dtype=x.dtype)) < 5.0))
    shifts = x.new_zeros(edges.shape[1], 3)
    shifts[edges[0] == 0, 0] = box
    shifts[edges[1] == 0, 0] = -box
    a = double(x, z, edges, x.new_zeros(edges.shape[1], 3)).sum(1)
    torch.testing.assert_close(double(moved, z, edges, shifts).sum(1), a, rtol=0, atol=1e-11)


def test_members_are_potentials_of_their_own(double, molecules):
    x, z = molecules[2]
    members = energies(double, x, z)
    assert members.shape == (4,)
    assert members.std() > 1e-4


def test_dense_evaluation_is_the_same(double, molecules):
    # Training uses all pairs without edges; dynamics uses edges.
    for x, z in molecules:
        torch.testing.assert_close(double.energies(x[None], z[None])[:, 0], energies(double, x, z), rtol=0, atol=1e-11)
