from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests.potentials.bundled.bundled_support import KCAL, energies, energy_and_forces

ELEMENTS = (1, 6, 7, 8)


def test_forces_are_minus_the_gradient(kept, double):
    rng = np.random.default_rng(3)
    step = 1e-4
    for label in rng.choice(kept.labels_of("test"), 6, replace=False):
        x, z = kept.molecule_of(label)
        _, forces = energy_and_forces(double, x, z)
        for atom, axis in rng.integers(0, [len(z), 3], (5, 2)):
            shift = torch.zeros_like(x)
            shift[atom, axis] = step
            plus, minus = (energies(double, x + s * shift, z).mean() for s in (1, -1))
            assert float(-(plus - minus) / (2 * step)) == pytest.approx(float(forces[atom, axis]), abs=2e-6)


def test_smooth_across_the_cutoff(double):
    # Water leaves formaldehyde through the cutoff of every pair, 0.001 A a step: no jump in E, F or dF/dr.
    first = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2], [0.94, 0.0, -0.54], [-0.94, 0.0, -0.54]])
    second = torch.tensor([[0.0, 0.0, 0.0], [0.76, 0.0, 0.59], [-0.76, 0.0, 0.59]])
    z = torch.tensor([6, 8, 1, 1, 8, 1, 1])
    gaps = torch.arange(4.0, 6.6, 0.001, dtype=torch.float64)
    start = torch.cat([first.double(), second.double() + torch.tensor([0.0, 0.3, 1.2]).double()])
    frames = start.repeat(len(gaps), 1, 1)
    frames[:, 4:, 2] += gaps.unsqueeze(1)
    frames.requires_grad_()
    # All frames at once; that `dense` and the list of pairs agree is tested elsewhere.
    energy = double.energies(frames, z.repeat(len(gaps), 1)).mean(0)
    (gradient,) = torch.autograd.grad(energy.sum(), frames)
    values = energy.detach().numpy()
    pulls = -gradient[:, 4:, 2].sum(1).numpy()
    # E is the integral of F: no step between frames.
    np.testing.assert_allclose(np.diff(values), -0.5 * (pulls[1:] + pulls[:-1]) * 1e-3, atol=1e-7)
    curvature = np.diff(pulls) / 1e-3
    assert np.abs(curvature).max() < 1.0  # eV/A^2; a bond has 30
    assert np.abs(np.diff(curvature)).max() < 0.02  # the second derivative has no jump
    assert abs(pulls[-1]) < 1e-14  # out of reach: what is left is the rounding of forces within a molecule


def test_edges_beyond_the_cutoff_add_nothing(kept, double):
    x, z = kept.molecule_of(int(kept.labels_of("test")[0]))
    n = len(z)
    i, j = torch.where(~torch.eye(n, dtype=torch.bool))
    every = torch.stack([i, j])
    full = double(x, z, every, x.new_zeros(every.shape[1], 3)).sum(1)
    torch.testing.assert_close(full, energies(double, x, z), rtol=0, atol=1e-11)


def test_size_consistent(kept, double, single):
    a, za = kept.molecule_of(int(kept.labels_of("test")[1]))
    b, zb = kept.molecule_of(int(kept.labels_of("test")[-1]))
    together = energies(double, torch.cat([a, b + 40.0]), torch.cat([za, zb]))
    apart = energies(double, a, za) + energies(double, b, zb)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-11)


@pytest.mark.parametrize("pair", list(itertools.combinations_with_replacement(ELEMENTS, 2)))
def test_wall_between_atoms(double, pair):
    # Deep inside, whatever the pair, every member pushes apart, and harder the closer.
    z = torch.tensor(pair)
    gaps = np.arange(0.05, 0.36, 0.01)
    pushes = []
    for gap in gaps:
        x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, gap]], dtype=torch.float64)
        pushes.append(float(energy_and_forces(double, x, z)[1][1, 2]))
    assert min(pushes) > 0
    # Harder at the closest end than at the far one: the energy diverges as 1/r.
    assert pushes[0] > 20 * max(1.0, pushes[-1]) or pushes[0] > 5 * pushes[-1]
    start = energies(double, torch.tensor([[0.0, 0, 0], [0, 0, 0.05]], dtype=torch.float64), z).mean()
    end = energies(double, torch.tensor([[0.0, 0, 0], [0, 0, 0.35]], dtype=torch.float64), z).mean()
    assert float(start - end) > 2.0 * pair[0] * pair[1]


def test_two_waters_meet_a_wall(double):
    first = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.76, -0.59], [0.0, -0.76, -0.59]], dtype=torch.float64)
    second = torch.tensor([[0.0, 0.0, 0.0], [0.76, 0.0, 0.59], [-0.76, 0.0, 0.59]], dtype=torch.float64)
    z = torch.tensor([8, 1, 1, 8, 1, 1])
    gaps = np.arange(10.0, 0.5, -0.02)
    values = []
    for gap in gaps:
        y = torch.cat([first, second + torch.tensor([0.0, 0.0, gap], dtype=torch.float64)])
        values.append(float(energies(double, y, z).mean()) * KCAL)
    values = np.array(values) - values[0]
    assert np.abs(values[gaps > 5.7 + 0.6]).max() < 1e-9  # no pair of atoms within the cutoff
    inside = gaps < 2.4
    assert (np.diff(values[inside]) > 0).all()
    assert values[-1] > 1000
