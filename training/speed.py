"""How long one evaluation takes."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.model import Committee, Folded, read


def speed(path: Path, reference: Path) -> dict[str, object]:
    """Energy and forces of alanine dipeptide (22 atoms): the frozen TorchScript file, and code compiled from it."""
    data = np.load(reference)
    x = torch.tensor(data["positions"][6, 12], dtype=torch.float32)
    z = torch.tensor(data["numbers"])
    distances = torch.cdist(x, x) + 100 * torch.eye(len(x))
    edges = torch.stack(torch.where(distances < 5.0))
    shifts = torch.zeros(edges.shape[1], 3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*")
        script = torch.jit.freeze(torch.jit.load(str(path)).eval())

    def scripted() -> None:
        y = x.clone().requires_grad_()
        torch.autograd.grad(script(y, z, edges, shifts).mean(0).sum(), y)

    package = compiled(Folded(read(path)), (x, z, edges, shifts))
    result: dict[str, object] = {"atoms": len(x), "edges": int(edges.shape[1])}
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, evaluate in (("torchscript", scripted), ("compiled", lambda: package(x, z, edges, shifts))):
            times = []
            for _ in range(500):
                start = time.perf_counter()
                evaluate()
                times.append(time.perf_counter() - start)
            result[f"{name}, {threads} threads"] = {
                "median_ms": round(float(np.median(times[100:])) * 1e3, 3),
                "fastest_ms": round(float(np.min(times[100:])) * 1e3, 3),
            }
    torch.set_num_threads(before)
    return {**result, "load_average": round(os.getloadavg()[0], 1)}


def compiled(model: Committee, example: tuple[Tensor, ...]) -> Callable[..., object]:
    """Energies and forces in one package by AOTInductor, for any number of atoms and edges; takes minutes."""
    from torch.fx.experimental.proxy_tensor import make_fx

    def function(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        x = inputs[0].detach().requires_grad_()
        atomic = model(x, *inputs[1:])
        (gradient,) = torch.autograd.grad([atomic.mean(0).sum()], [x])
        return atomic.detach(), -gradient

    graph = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*example)
    atoms, edges = torch.export.Dim("atoms", min=2, max=4096), torch.export.Dim("edges", min=2, max=1 << 20)
    shapes = ({0: atoms}, {0: atoms}, {1: edges}, {0: edges})
    program = torch.export.export(graph, example, dynamic_shapes=shapes)
    with tempfile.TemporaryDirectory() as folder:
        file = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/model.pt2")
        return torch._inductor.aoti_load_package(file)
