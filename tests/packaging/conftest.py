"""A source archive, a wheel made from it, and an environment that has the wheel and nothing else of this checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

from tests import ROOT


def run(
    command: list[str | Path], folder: Path, status: int | None = 0, *, seconds: int = 280, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, without what this process has in its environment for Python and for this package."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENMM_NN"))}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**keep, **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
    )
    assert status is None or result.returncode == status, result.stdout + result.stderr
    return result


def call_backend(source: Path, target: Path, what: str) -> Path:
    """Let the build backend make a distribution of a source tree; its file."""
    code = f"import sys, setuptools.build_meta as backend; backend.{what}(sys.argv[1])"
    run([sys.executable, "-c", code, target], source, OPENMM_NN_NO_NATIVE="1")
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return call_backend(ROOT, tmp_path_factory.mktemp("sdist"), "build_sdist")


@pytest.fixture(scope="session")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive as a user unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


@pytest.fixture(scope="session")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the source archive, without the extension, which is compiled in a test of its own."""
    return call_backend(unpacked, tmp_path_factory.mktemp("wheel"), "build_wheel")


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; its dependencies are those of this environment, by path.

    A path file adds that folder, but not the path files inside it: the checkout itself cannot be imported.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", vars=scheme))
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel], folder)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # cmake, ninja and swig are found beside the interpreter.
    for name in ("cmake", "ninja", "swig"):
        program = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if program:
            (python.parent / name).symlink_to(program)
    return folder
