"""Make wheels that need no compiler: one for each Python, with an engine for each minor version of torch.

    python packaging/wheel.py --python python3.11 python3.12 --torch 2.12.1 2.13.0 --output dist

Each Python gets a virtual environment with OpenMM, vesin and the programs of the build. A torch is only unpacked, since
headers and libraries are all that the build needs of it. The engines do not depend on Python, so the first Python
builds them all. auditwheel names the oldest glibc that the wheel runs with; libtorch, OpenMM and vesin stay outside.
The compiler is that of CXX; ``g++-11`` gives wheels for glibc 2.34 (manylinux_2_34), as OpenMM's own.
"""

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("openmm==8.6.1", "vesin>=0.5", "numpy", "setuptools>=77", "wheel", "cmake", "ninja", "swig==4.5.1")
TORCH_FILES = ("torch/include/", "torch/version.py")
TORCH_LIBRARIES = ("libtorch", "libtorch_cpu", "libc10", "libtorch_cuda", "libc10_cuda")
EXCLUDED = ("libtorch*", "libc10*", "libOpenMM*.so*", "libvesin*", "libgomp*", "libOpenCL*", "libcuda*")


def run(*command: object, **variables: str) -> None:
    """Run a program in the root of the project; what it prints is shown."""
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], cwd=ROOT, env={**os.environ, **variables}, check=True)


def unpack_torch(version: str, folder: Path) -> Path:
    """Return the directory of a torch package with its headers and libraries, fetched where it is not there yet."""
    target = folder / f"torch-{version}"
    if not (target / "torch" / "version.py").is_file():
        fetched = folder / "fetched"
        run(sys.executable, "-m", "pip", "download", "--no-deps", "--dest", fetched, f"torch=={version}")
        (wheel,) = fetched.glob(f"torch-{version}*.whl")
        libraries = {f"torch/lib/{name}.so" for name in TORCH_LIBRARIES}
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(TORCH_FILES) or name in libraries]
            archive.extractall(target, wanted)
    return target / "torch"


def environment(python: str, folder: Path) -> Path:
    """Return the interpreter of a virtual environment that has what the build needs, torch left out."""
    name = subprocess.run(
        [python, "-c", "import sys; print('py%d%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    interpreter = folder / name / "bin" / "python"
    if not interpreter.is_file():
        run(python, "-m", "venv", folder / name)
        run(interpreter, "-m", "pip", "install", "--quiet", *TOOLS)
    return interpreter


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters to make a wheel for")
    parser.add_argument("--torch", nargs="+", default=["2.12.1", "2.13.0"], help="versions of torch for the engines")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "wheels", help="of what is fetched and built")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    torches = [unpack_torch(version, folder) for version in options.torch]
    engines: list[Path] = []
    for python in options.python:
        interpreter = environment(python, folder)
        prefix = interpreter.parents[1] / "prefix"
        build = (interpreter, ROOT / "openmm_nn" / "native" / "build.py", "--portable", "--prefix", prefix)
        for torch in torches[:1] if engines else torches:
            run(*build, "--torch", torch)
        for engine in engines:
            shutil.copytree(engine, prefix / engine.name, dirs_exist_ok=True)
        engines = engines or sorted(prefix.glob("torch-*"))
        made = interpreter.parents[1] / "wheel"
        shutil.rmtree(made, ignore_errors=True)
        # Built from a copy, so that nothing of the checkout's own build gets in.
        run(interpreter, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", made, ROOT,
            OPENMM_NN_PREBUILT=str(prefix))  # fmt: skip
        (wheel,) = made.glob("*.whl")
        excluded = [word for pattern in EXCLUDED for word in ("--exclude", pattern)]
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", options.output, *excluded, wheel)


if __name__ == "__main__":
    main()
