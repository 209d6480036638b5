"""Importing the package: in any order, lightly, and without leaving anything behind."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import openmm_nn
from tests import ROOT


def run(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    variables.pop("OPENMM_NN_ENGINE", None)
    variables.update(environment)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=variables, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


EVALUATE = """
import openmm, numpy, openmm_nn
force = openmm_nn.load_potential({path!r}).create_force(atomic_numbers=[8, 1, 6])
assert type(force).__name__ == "NeuralForce", type(force)
system = openmm.System()
for _ in range(3):
    system.addParticle(1.0)
system.addForce(force)
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName({platform!r}))
context.setPositions(numpy.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.1]]))
print(context.getState(getEnergy=True).getPotentialEnergy()._value)
"""
ORDERS = [
    "openmm_nn",
    "openmm,openmm_nn",
    "torch,openmm_nn",
    "mdtraj,openmm_nn",
    "openmm,torch,mdtraj,openmm_nn",
    "torch,openmm,openmm_nn,mdtraj",
    "openmm_nn,mdtraj,torch",
    "mdtraj,torch,openmm,openmm_nn",
    "openmm_nn,openmm.app,torch",
    "numpy,scipy.linalg,openmm_nn,torch",
]


@pytest.mark.process
@pytest.mark.parametrize("order", ORDERS)
def test_any_order(models: object, native: str, order: str) -> None:
    from tests import oracle

    path = str(models.pair_file("edges"))  # type: ignore[attr-defined]
    expected = oracle.pair_energy([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.1]], [8, 1, 6])
    found = run(f"import {order}\n" + EVALUATE.format(path=path, platform="Reference"))
    assert abs(float(found) - expected) < 1e-10 * abs(expected)


@pytest.mark.process
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_torch_comes_when_it_is_needed(models: object, native: str, platform: str) -> None:
    """A System read from XML runs with no torch module in Python at all."""
    path = str(models.pair_file("edges"))  # type: ignore[attr-defined]
    code = f"""
import sys
import openmm_nn
assert "torch" not in sys.modules
potential = openmm_nn.load_potential({path!r})
import openmm
system = openmm.System()
for _ in range(3):
    system.addParticle(1.0)
system.addForce(potential.create_force(atomic_numbers=[8, 1, 6]))
open("system.xml", "w").write(openmm.XmlSerializer.serialize(system))
"""
    folder = pathlib.Path(path).parent
    run(f"import os; os.chdir({str(folder)!r})\n" + code)
    reader = f"""
import os, sys
os.chdir({str(folder)!r})
import openmm, openmm_nn
system = openmm.XmlSerializer.deserialize(open("system.xml").read())
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName({platform!r}))
context.setPositions([openmm.Vec3(0, 0, 0), openmm.Vec3(0.1, 0, 0), openmm.Vec3(0, 0.2, 0.1)])
context.getIntegrator().step(5)
context.getState(getEnergy=True)
print("torch" in sys.modules)
"""
    assert run(reader).split() == ["False"]


@pytest.mark.process
def test_few_modules_and_no_heavy_ones() -> None:
    """Under 0.3 s beyond openmm, told by what is loaded: clocks on shared machines lie."""
    code = """
import json, sys
import openmm, openmm.unit, numpy
before = set(sys.modules)
import openmm_nn
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = json.loads(run(code))
    roots = {name.partition(".")[0] for name in loaded}
    assert roots.isdisjoint(
        {"torch", "mdtraj", "torchani", "scipy", "pandas", "matplotlib", "ase", "vesin", "openmmml"}
    )
    assert len([n for n in loaded if n.partition(".")[0] not in ("openmm_nn", "openmm")]) < 120, loaded


@pytest.mark.process
def test_nothing_is_left_behind(tmp_path: pathlib.Path) -> None:
    """No file, no logger, no change of threads, no output."""
    code = f"""
import logging, os
os.chdir({str(tmp_path)!r})
handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
import openmm_nn
assert logging.getLogger().handlers == handlers and logging.getLogger().level == level
assert logging.getLogger("openmm_nn").handlers == []
import torch
print(torch.get_num_threads())
"""
    plain = run("import torch\nprint(torch.get_num_threads())", HOME=str(tmp_path))
    assert run(code, HOME=str(tmp_path)) == plain
    assert list(tmp_path.iterdir()) == []


def test_public_names() -> None:
    assert list(openmm_nn.__all__) == sorted(openmm_nn.__all__)
    wanted = {"ModelCard", "Potential", "add_neural_force", "available_potentials", "create_hybrid_system"}
    wanted |= {"create_system", "export_potential", "load_potential", "trust_hash"}
    assert wanted <= set(openmm_nn.__all__)
    for name in openmm_nn.__all__:
        assert getattr(openmm_nn, name).__doc__, name
    with pytest.raises(AttributeError, match="no_such_name"):
        openmm_nn.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_engine_by_environment(models: object, python_engine: str) -> None:
    import openmm

    force = models.pair("edges").create_force(atomic_numbers=[8, 1, 6])  # type: ignore[attr-defined]
    assert isinstance(force, openmm.PythonForce)


@pytest.mark.process
def test_missing_extension_is_said_once(models: object) -> None:
    """Without the extension the other engine takes over, with the reason and the command that builds it."""
    path = str(models.pair_file("edges"))  # type: ignore[attr-defined]
    code = f"""
import warnings
import openmm_nn.native as native
from openmm_nn.errors import NativeExtensionError
def load():
    raise NativeExtensionError("built for torch 1.0")
native.load = load
native.available = lambda: False
native.reason = lambda: "built for torch 1.0"
import openmm, openmm_nn
potential = openmm_nn.load_potential({path!r})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    forces = [potential.create_force(atomic_numbers=[8, 1, 6]) for _ in range(3)]
assert all(isinstance(f, openmm.PythonForce) for f in forces), forces
said = [str(w.message) for w in caught if "openmm_nn.native.build" in str(w.message)]
assert len(said) == 1, [str(w.message) for w in caught]
assert "built for torch 1.0" in said[0]
"""
    run(code)
