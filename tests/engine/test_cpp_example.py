"""The C++ example: a hybrid System written to XML runs on the plugin without Python."""

import os
import pathlib
import re
import subprocess
import sys

import openmm as mm
import pytest
import torch

from openmm_nn import create_hybrid_system
from tests import ROOT
from tests.models import ModelSet
from tests.samples import amber_system, cut_to_waters, peptide_atoms, peptide_pdb

pytestmark = pytest.mark.process


def run(*command: object, **options: object) -> str:
    """The output of a command that succeeds."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, encoding="utf-8", check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The example, compiled against the extension of this environment."""
    build = tmp_path_factory.mktemp("cpp")
    where = run(sys.executable, "-m", "openmm_nn.native.build", "--cmake-dir").strip()
    tools = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run("cmake", "-S", ROOT / "examples" / "cpp", "-B", build, f"-DOpenMMNN_DIR={where}", env=tools)
    run("cmake", "--build", build, env=tools)
    return build / "run_hybrid"


def test_runs_a_serialised_hybrid(
    program: pathlib.Path, shared: pathlib.Path, models: ModelSet, native: str, tmp_path: pathlib.Path
) -> None:
    small = cut_to_waters(peptide_pdb(shared), 60)
    classical = amber_system(small.topology)
    # Restrained by a potential of pairs in place of a molecule's own energy: what matters is that it runs.
    hybrid = create_hybrid_system(
        small.topology, classical, models.pair("edges"), peptide_atoms(small.topology), charge=0
    )
    context = mm.Context(hybrid.system, mm.VerletIntegrator(0.0005), mm.Platform.getPlatformByName("CPU"))
    context.setPositions(small.positions)
    mm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
    state = context.getState(positions=True, velocities=True, energy=True)
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(hybrid.system))
    (tmp_path / "state.xml").write_text(mm.XmlSerializer.serialize(state))
    # No variable points at Python, torch or OpenMM; the version of torch says which engine, where there are several.
    chosen = {"OPENMM_NN_TORCH": ".".join(torch.__version__.split(".")[:2])}
    output = run(program, tmp_path / "system.xml", tmp_path / "state.xml", env=chosen)
    before, after = (float(number) for number in re.findall(r": (\S+) kJ/mol", output))
    assert f"22 of {small.topology.getNumAtoms()} particles" in output
    assert before == pytest.approx(state.getPotentialEnergy().value_in_unit(mm.unit.kilojoules_per_mole), abs=0.05)
    assert abs(after - before) > 1e-3


def test_says_what_is_wrong(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [program, tmp_path / "none.xml", tmp_path / "none.xml"], capture_output=True, encoding="utf-8", env={}
    )
    assert done.returncode == 1
    assert "cannot read" in done.stderr and "none.xml" in done.stderr
