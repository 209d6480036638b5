"""What travels in a source archive and in a wheel, and that it works where it is installed."""

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from .conftest import ROOT, run

pytestmark = pytest.mark.process

PACKAGE = ROOT / "openmm_nn"
GENERATED = ("build", "__pycache__")


def sources() -> set[str]:
    """Files of the package that must travel, by their path from the root of the repository."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file()]
    names = [path.relative_to(ROOT) for path in files]
    return {
        name.as_posix()
        for name in names
        if not any(part in GENERATED or part.startswith(".") for part in name.parts) and name.suffix != ".pyc"
    }


def test_there_is_something_to_compare_with() -> None:
    for name in ("py.typed", "potentials/bundled/hcno-1.pt", "report/templates/report.html", "native/CMakeLists.txt"):
        assert f"openmm_nn/{name}" in sources()


def test_the_source_archive_has_everything(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in archive.getnames()}
    assert sources() <= names
    for name in (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "constraints.txt",
        "environment.yml",
        "Makefile",
    ):
        assert name in names
    for name in ("docs/index.md", "docs/conf.py", "conda/recipe.yaml", "examples/02_hybrid.py", "tests/conftest.py"):
        assert name in names
    left = [name for name in names if name.endswith((".so", ".pyc", ".xtc")) or "/output/" in name or "_build/" in name]
    assert left == []
    assert sdist.stat().st_size < 20e6


def test_the_wheel_has_everything(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        entry_points = archive.read(metadata).decode()
    assert sources() <= names
    assert "openmm-nn = openmm_nn.cli:main" in entry_points
    foreign = {name for name in names if not name.startswith(("openmm_nn/", "openmm_nn-"))}
    assert foreign == set()
    assert not [name for name in names if name.endswith(".so")]


def test_it_is_imported_from_where_it_is_installed(installed: Path) -> None:
    code = "import openmm_nn, json; print(json.dumps([openmm_nn.__file__, openmm_nn.native.reason()]))"
    output = run([installed / "venv/bin/python", "-c", code], installed, XDG_CACHE_HOME=str(installed / "cache")).stdout
    file, reason = json.loads(output)
    assert Path(file).is_relative_to(installed)
    assert reason == f"none has been built for the package in {Path(file).parent}"


def test_without_the_extension_the_commands_work_and_say_so(installed: Path) -> None:
    program, cache = installed / "venv/bin/openmm-nn", str(installed / "cache")
    assert "hcno-1" in run([program, "models"], installed, XDG_CACHE_HOME=cache).stdout
    doctor = run([program, "doctor"], installed, 1, XDG_CACHE_HOME=cache, COLUMNS="200")
    assert "openmm-nn build" in doctor.stdout or "openmm_nn.native.build" in doctor.stdout


EVALUATE = """
import warnings; warnings.simplefilter("error")
import openmm, openmm_nn
from openmm import app
assert openmm_nn.native.available(), openmm_nn.native.reason()
topology = app.Topology()
residue = topology.addResidue("HOH", topology.addChain())
for symbol in ("O", "H", "H"):
    topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
potential = openmm_nn.load_potential("openmm-nn/hcno-1")
positions = [[0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]]
system = openmm_nn.create_system(topology, potential)
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))
context.setPositions(positions)
energy = context.getState(energy=True).getPotentialEnergy()._value
assert abs(energy - potential.evaluate(positions, [8, 1, 1]).energy) < 1e-2, energy
"""


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_extension_is_built_by_one_command(installed: Path) -> None:
    """Compiles everything; about a minute and a half on two cores."""
    python, cache = installed / "venv/bin/python", str(installed / "cache")
    run([python, "-m", "openmm_nn.native.build"], installed, seconds=1500, XDG_CACHE_HOME=cache)
    run([python, "-c", EVALUATE], installed, XDG_CACHE_HOME=cache)
    run([installed / "venv/bin/openmm-nn", "doctor"], installed, XDG_CACHE_HOME=cache)
