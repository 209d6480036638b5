"""Memory does not grow with steps or Contexts.  Each measurement has a process of its own."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from openmm_nn.native.build import source_hash
from tests import ROOT

pytestmark = pytest.mark.process

PRELUDE = """
import gc, os, pathlib, sys
import numpy as np
import openmm as mm
import torch
torch.set_num_threads(1)
import openmm_nn
from openmm import app, unit

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def grown(before):
    print(resident() - before)
"""
HYBRID = """
from tests.models import ElasticNetwork
from tests.models.generate import script
from tests.samples import amber_system, cut_to_waters, peptide_atoms, peptide_pdb
modeller = cut_to_waters(peptide_pdb(pathlib.Path({shared!r})), 20)
topology = modeller.topology
x = np.array(modeller.positions.value_in_unit(unit.nanometer))
atoms = peptide_atoms(topology)
network = ElasticNetwork(torch.tensor(x[atoms], dtype=torch.float64))
card = openmm_nn.ModelCard(
    name="elastic", inputs=("positions",), outputs=("energy",), frame="invariant", long_range=False
)
openmm_nn.export_potential(script(network), {path!r}, card)
potential = openmm_nn.load_potential({path!r})
system = amber_system(topology, method=app.CutoffNonPeriodic)
hybrid = openmm_nn.create_hybrid_system(topology, system, potential, "resname ACE ALA NME")
platform = mm.Platform.getPlatformByName("CPU")
context = mm.Context(hybrid.system, mm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005), platform, {{"Threads": "1"}})
context.setPositions(x)
mm.LocalEnergyMinimizer.minimize(context, 10.0, 50)
context.getIntegrator().step(500)
before = resident()
for _ in range({blocks}):
    context.getIntegrator().step(200)
    context.getState(getPositions=True, getEnergy=True, getForces=True)
assert np.isfinite(context.getState(getEnergy=True).getPotentialEnergy()._value)
grown(before)
"""
CONTEXTS = """
potential = openmm_nn.load_potential({path!r})
numbers = [8, 1, 6, 7, 1, 6]
positions = np.random.default_rng(0).uniform(0.0, 0.6, (6, 3))
system = mm.System()
for _ in numbers:
    system.addParticle(12.0)
system.addForce(potential.create_force(atomic_numbers=numbers))
def once():
    platform = mm.Platform.getPlatformByName({platform!r})
    properties = {{"Threads": "1"}} if {platform!r} == "CPU" else {{}}
    context = mm.Context(system, mm.VerletIntegrator(0.0001), platform, properties)
    context.setPositions(positions)
    context.getIntegrator().step(3)
for _ in range(20):
    once()
before = resident()
for _ in range(200):
    once()
grown(before)
"""

FAULTS = """
import resource
numbers = [8, 1, 1] * 64
lattice = np.stack(np.meshgrid(*[np.arange(4) * 0.31] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
water = np.array([[0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]])
positions = (lattice + water).reshape(-1, 3)
system = mm.System()
for number in numbers:
    system.addParticle(16.0 if number == 8 else 1.0)
potential = openmm_nn.load_potential("openmm-nn/hcno-1")
system.addForce(potential.create_force(atomic_numbers=numbers))
platform = mm.Platform.getPlatformByName("CPU")
context = mm.Context(system, mm.VerletIntegrator(0.0001), platform, {"Threads": "1"})
context.setPositions(positions)
context.getIntegrator().step(5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
context.getIntegrator().step(10)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def measure(code: str, engine: str) -> float:
    """What the code prints last: MB by which the process grew, or a count."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in (
        "OPENMM_NN_ENGINE",
        "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TOP_PAD_",
        "GLIBC_TUNABLES",
    ):
        environment.pop(name, None)
    if engine == "python":
        environment["OPENMM_NN_ENGINE"] = "python"
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        timeout=7000,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return float(result.stdout.split()[-1])


def test_steps_of_a_hybrid(shared: pathlib.Path, tmp_path: pathlib.Path, engine: str) -> None:
    """20,000 steps."""
    code = HYBRID.format(shared=str(shared), path=str(tmp_path / "elastic.pt"), blocks=100)
    assert measure(code, engine) < 20.0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_steps_of_a_hybrid(shared: pathlib.Path, tmp_path: pathlib.Path, native: str) -> None:
    """A million steps; the result is kept with the hash of the sources that it speaks for."""
    steps = 1_000_000
    code = HYBRID.format(shared=str(shared), path=str(tmp_path / "elastic.pt"), blocks=steps // 200)
    start = time.monotonic()
    grown = measure(code, native)
    record = {
        "what": "resident memory of a hybrid on the CPU platform: the peptide as an elastic network in 20 waters",
        "command": "make soak",
        "steps": steps,
        "grown_MB": round(grown, 2),
        "minutes": round((time.monotonic() - start) / 60, 1),
        "native_sources_sha256": source_hash(),
        "versions": {name: importlib.metadata.version(name) for name in ("openmm-nn", "openmm", "torch")},
    }
    (ROOT / "tests" / "reference" / "soak_memory.json").write_text(json.dumps(record, indent=2) + "\n")
    assert grown < 20.0


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_contexts(models: object, engine: str, platform: str) -> None:
    """200 Contexts, created, run and deleted."""
    path = str(models.pair_file("edges"))  # type: ignore[attr-defined]
    assert measure(CONTEXTS.format(path=path, platform=platform), engine) < 20.0


def test_a_step_takes_no_memory_from_the_system(native: str) -> None:
    """Page faults a step: 192 atoms of a real model cost thousands where the allocator gives back what it gets."""
    assert measure(FAULTS, native) < 500.0
