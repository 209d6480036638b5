from __future__ import annotations

import zipfile

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from openmm_nn.model.torchscript import quiet_torchscript
from tests.potentials.bundled.bundled_support import MODEL, all_edges


def test_exports_with_dynamic_atoms_and_edges(kept, single):
    x, z = kept.molecule_of(int(kept.labels_of("test")[0]))
    x = x.float()
    edges = all_edges(x)
    atoms, pairs = torch.export.Dim("atoms", min=2, max=4096), torch.export.Dim("edges", min=2, max=1 << 20)
    program = torch.export.export(
        single,
        (x, z, edges, torch.zeros(edges.shape[1], 3)),
        dynamic_shapes=({0: atoms}, {0: atoms}, {1: pairs}, {0: pairs}),
    )
    module = program.module()
    for label in kept.labels_of("test")[5:60:9]:
        y, w = kept.molecule_of(int(label))
        e = all_edges(y.float())
        s = torch.zeros(e.shape[1], 3)
        torch.testing.assert_close(module(y.float(), w, e, s), single(y.float(), w, e, s), rtol=1e-5, atol=1e-5)


def test_exports_with_its_gradient(kept, single):
    # What AOTInductor compiles: energies and forces in one graph.
    def with_forces(x, z, edges, shifts):
        x = x.detach().requires_grad_()
        atomic = single(x, z, edges, shifts)
        (gradient,) = torch.autograd.grad([atomic.mean(0).sum()], [x])
        return atomic.detach(), -gradient

    x, z = kept.molecule_of(int(kept.labels_of("test")[0]))
    x = x.float()
    edges = all_edges(x)
    shifts = torch.zeros(edges.shape[1], 3)
    graph = make_fx(with_forces, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x, z, edges, shifts)
    y, w = kept.molecule_of(int(kept.labels_of("test")[30]))
    e = all_edges(y.float())
    s = torch.zeros(e.shape[1], 3)
    atomic, forces = graph(y.float(), w, e, s)
    ours = y.float().requires_grad_()
    expected = single(ours, w, e, s)
    torch.testing.assert_close(atomic, expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(forces, -torch.autograd.grad(expected.mean(0).sum(), ours)[0], rtol=1e-4, atol=1e-4)


def test_torchscript_file_runs_frozen_in_both_precisions(kept, single, double):
    x, z = kept.molecule_of(int(kept.labels_of("test")[0]))
    for dtype, model in ((torch.float32, single), (torch.float64, double)):
        with quiet_torchscript():
            scripted = torch.jit.freeze(torch.jit.load(str(MODEL)).to(dtype).eval())
        y = x.to(dtype)
        edges = all_edges(y)
        shifts = torch.zeros(edges.shape[1], 3, dtype=dtype)
        value = scripted(y, z, edges, shifts)
        assert value.dtype == dtype
        torch.testing.assert_close(value, model(y, z, edges, shifts))


def test_all_pairs_and_a_list_of_pairs_agree(kept):
    # Small clusters are evaluated over all pairs; one atom in another cell needs shifts, and thus the list.
    with quiet_torchscript():
        scripted = torch.jit.freeze(torch.jit.load(str(MODEL)).double().eval())
    for label in kept.labels_of("test")[:40:8]:
        x, z = kept.molecule_of(int(label))
        edges = all_edges(x)
        cell = torch.tensor([30.0, 1.0, -2.0], dtype=torch.float64)
        moved = torch.zeros_like(x)
        moved[0] = cell
        shifts = moved[edges[0]] - moved[edges[1]]
        assert bool((shifts != 0).any())
        results = []
        for positions, given in ((x, torch.zeros_like(shifts)), (x + moved, shifts)):
            y = positions.clone().requires_grad_()
            value = scripted(y, z, edges, given)
            results.append((value.detach(), torch.autograd.grad(value.mean(0).sum(), y)[0]))
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("bonded", [True, False], ids=["molecules", "atoms alone"])
def test_list_of_pairs_in_any_order(kept, double, bonded):
    # On a CPU the file makes a table of neighbours of a list: in any order, and for atoms that have none.
    parts = [kept.molecule_of(int(label)) for label in kept.labels_of("test")[:40:10]]
    x = torch.cat([y + 4.0 * k for k, (y, _) in enumerate(parts)] + [torch.tensor([[90.0, 0.0, 0.0]]).double()])
    z = torch.cat([w for _, w in parts] + [torch.tensor([8])])
    if not bonded:
        x = 20.0 * torch.arange(len(x), dtype=torch.float64).unsqueeze(1).repeat(1, 3)
    assert len(x) > double.small
    edges = all_edges(x)
    edges = edges[:, torch.randperm(edges.shape[1], generator=torch.Generator().manual_seed(1))]
    assert (edges.shape[1] > 100) == bonded
    shifts = x.new_zeros(edges.shape[1], 3)
    with quiet_torchscript():
        scripted = torch.jit.freeze(torch.jit.load(str(MODEL)).double().eval())
    results = []
    for model in (scripted, double):
        y = x.clone().requires_grad_()
        value = model(y, z, edges, shifts)
        results.append((value.detach(), torch.autograd.grad(value.mean(0).sum(), y)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)


def test_weights_are_float32():
    with quiet_torchscript():
        scripted = torch.jit.load(str(MODEL))
    assert {p.dtype for p in scripted.parameters()} == {torch.float32}


def test_file_names_no_folder_of_the_machine_that_made_it():
    with zipfile.ZipFile(MODEL) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    assert any(name.endswith("training/model.py") for name in records)
    assert not [name for name in records if name.endswith(".debug_pkl")]
    for places in (str(MODEL.parents[3]).encode(), b"site-packages", b"/home/", b"/tmp/"):
        assert not [name for name, content in records.items() if places in content]
