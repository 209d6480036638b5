"""Build the conda recipe from a local channel, run its tests, and install the result into an empty prefix.

    python packaging/conda.py [--folder build/conda]

conda-forge is not needed: its packages are stood in for by the wheels of PyPI that this environment has, repacked under
conda's names, with this machine's Python and compiler. So the recipe is shown to be complete and its requirements to be
solvable, not that conda-forge's own packages do.
"""

import argparse
import asyncio
import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import rattler
import rattler.index
import rattler_build

ROOT = Path(__file__).resolve().parents[1]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PINNED = f"python {PYTHON}.*"
# conda's name: the distributions that go into it, the first of which gives the version
PACKAGES = {
    "pip": ("pip",),
    "setuptools": ("setuptools",),
    "numpy": ("numpy",),
    "openmm": ("openmm",),
    "vesin": ("vesin",),
    "pytorch": (
        "torch",
        "typing_extensions",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
        "markupsafe",
        "fsspec",
        "filelock",
    ),
    "mdtraj": ("mdtraj", "packaging", "scipy", "pyparsing"),
    "rich": ("rich", "markdown-it-py", "mdurl", "pygments"),
    "ruamel.yaml": ("ruamel.yaml",),
    "typer": (
        "typer",
        "annotated_doc",
        "click",
        "shellingham",
        "typing_extensions",
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_inspection",
    ),
}
TRY = """
import openmm, openmm_nn
from openmm import app, unit
pdb = app.PDBFile({structure!r})
forcefield = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
system = forcefield.createSystem(pdb.topology, nonbondedMethod=app.PME)
potential = openmm_nn.load_potential("openmm-nn/hcno-1")
hybrid = openmm_nn.create_hybrid_system(pdb.topology, system, potential, "resname ACE ALA NME", charge=0)
context = openmm.Context(hybrid.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))
context.setPositions(pdb.positions)
print(openmm_nn.__file__, openmm_nn.native.available(), context.getState(energy=True).getPotentialEnergy())
"""


class Channel:
    """A folder of conda packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stage = folder / "channel", folder / "stage"
        (self.folder / "linux-64").mkdir(parents=True, exist_ok=True)
        (self.folder / "noarch").mkdir(exist_ok=True)
        self.url = f"file://{self.folder}"

    def pack(self, name: str, version: str, files: Path, depends: tuple[str, ...] = (), build: str = "0") -> None:
        """Make a package of a folder of files."""
        rattler_build.assemble_package(
            name, version, "linux-64", build, self.folder / "linux-64",
            files_dir=files, depends=list(depends), compression_level=1, license="other",
        )  # fmt: skip
        print("packed", name, version, flush=True)

    def place(self, name: str) -> Path:
        """Return an empty folder for the files of a package."""
        place = self.stage / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def index(self) -> None:
        """Write what the channel holds; the packages' records change with every package."""
        for old in self.folder.glob("*/repodata.json*"):
            old.unlink()
        asyncio.run(rattler.index.index_fs(self.folder))


def pack_python(channel: Channel) -> None:
    """Pack the Python that runs this script, made relocatable."""
    base, place = Path(sys.base_prefix), channel.place("python")
    (place / "bin").mkdir()
    shutil.copy2(base / "bin" / f"python{PYTHON}", place / "bin")
    for link in ("python", "python3"):
        (place / "bin" / link).symlink_to(f"python{PYTHON}")
    for library in base.glob("lib/libpython3*"):
        (place / "lib").mkdir(exist_ok=True)
        shutil.copy2(library, place / "lib", follow_symlinks=False)
    left = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-3*")
    shutil.copytree(base / "lib" / f"python{PYTHON}", place / "lib" / f"python{PYTHON}", ignore=left)
    (place / "lib" / f"python{PYTHON}" / "site-packages").mkdir()
    (place / "lib" / f"python{PYTHON}" / "site-packages" / "README.txt").write_text("packages\n")
    shutil.copytree(base / "include", place / "include")
    subprocess.run(["patchelf", "--set-rpath", "$ORIGIN/../lib", place / "bin" / f"python{PYTHON}"], check=True)
    channel.pack("python", platform.python_version(), place, build="1_cpython")


def pack_wheels(channel: Channel) -> None:
    """Pack the distributions of this environment under conda's names."""
    for name, distributions in PACKAGES.items():
        if list(
            (channel.folder / "linux-64").glob(f"{name}-{importlib.metadata.version(distributions[0]).split('+')[0]}-*")
        ):
            continue
        place = channel.place(name)
        wanted = [f"{each}=={importlib.metadata.version(each)}" for each in distributions]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--ignore-installed",
             "--prefix", place, *wanted],
            check=True,
        )  # fmt: skip
        channel.pack(name, importlib.metadata.version(distributions[0]).split("+")[0], place, (PINNED,))


def pack_tools(channel: Channel) -> None:
    """Pack cmake, ninja and swig as programs, and names for the compiler of this machine and what OpenCL needs."""
    site = Path(sys.prefix) / "lib" / f"python{PYTHON}" / "site-packages"
    channel.pack("cmake", importlib.metadata.version("cmake"), site / "cmake" / "data")
    ninja = channel.place("ninja")
    (ninja / "bin").mkdir()
    programs = [path for path in site.glob("ninja/**/ninja") if path.is_file()] + [Path(sys.prefix) / "bin" / "ninja"]
    shutil.copy2(programs[0], ninja / "bin" / "ninja")
    channel.pack("ninja", importlib.metadata.version("ninja").split(".git")[0], ninja)
    swig = channel.place("swig")
    shutil.copytree(site / "swig" / "data", swig, dirs_exist_ok=True)
    program = swig / "bin" / "swig"
    program.rename(swig / "bin" / "swig.program")
    (library,) = swig.rglob("swig.swg")
    program.write_text(
        '#!/bin/sh\nplace=$(cd "$(dirname "$0")/.." && pwd)\n'
        f'SWIG_LIB="$place/{library.parent.relative_to(swig)}" exec "$place/bin/swig.program" "$@"\n'
    )
    for path in (program, swig / "bin" / "swig.program"):
        path.chmod(0o755)
    channel.pack("swig", importlib.metadata.version("swig"), swig)
    for name, version in (("ocl-icd", "2.3.3"), ("opencl-headers", "2025.6"), ("sysroot_linux-64", "2.28")):
        place = channel.place(name)
        (place / "share").mkdir()
        (place / "share" / f"{name}.txt").write_text("stands in for conda-forge's package\n")
        channel.pack(name, version, place)
    compiler = channel.place("gxx_linux-64")
    script = compiler / "etc" / "conda" / "activate.d" / "gxx.sh"
    script.parent.mkdir(parents=True)
    script.write_text("export CXX=/usr/bin/g++\n")
    channel.pack("gxx_linux-64", "14.3.0", compiler)


def build(channel: Channel) -> None:
    """Build the recipe, and let rattler-build run the recipe's tests."""
    recipe = rattler_build.Stage0Recipe.from_file(ROOT / "conda" / "recipe.yaml")
    variants = rattler_build.VariantConfig(
        {"python": [f"{PYTHON}.*"], "cxx_compiler": ["gxx"], "cxx_compiler_version": ["14"],
         "c_stdlib": ["sysroot"], "c_stdlib_version": ["2.28"]}
    )  # fmt: skip
    isolation = rattler_build.EnvironmentIsolation.CONDA_BUILD
    made = recipe.run_build(
        variant_config=variants, output_dir=channel.folder, channels=[channel.url], env_isolation=isolation
    )
    for each in made:
        print("built", each.name, each.version, each.packages, flush=True)


async def install(channel: Channel, prefix: Path, specs: list[str]) -> None:
    """Solve for packages and install them into a prefix."""
    virtual = [each.into_generic() for each in rattler.VirtualPackage.detect()]
    records = await rattler.solve([channel.url], specs, platforms=["linux-64", "noarch"], virtual_packages=virtual)
    shutil.rmtree(prefix, ignore_errors=True)
    await rattler.install(records, prefix, show_progress=False)
    print("installed", len(records), "packages in", prefix, flush=True)


def refused(channel: Channel, specs: list[str]) -> None:
    """Check that the solver refuses a set of packages."""
    try:
        asyncio.run(rattler.solve([channel.url], specs, platforms=["linux-64", "noarch"]))
    except rattler.exceptions.SolverError as error:
        print("refused", specs, str(error).splitlines()[0], flush=True)
    else:
        raise SystemExit(f"the solver accepts {specs}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "conda")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    channel = Channel(folder)
    if not list((channel.folder / "linux-64").glob("gxx_linux-64-*.conda")):
        pack_python(channel)
        pack_wheels(channel)
        pack_tools(channel)
    for old in (channel.folder / "linux-64").glob("openmm-nn-*.conda"):
        old.unlink()
    channel.index()
    build(channel)
    channel.index()
    refused(channel, ["openmm-nn", "python 3.12.*"])
    refused(channel, ["openmm-nn", "pytorch 2.12.*"])
    prefix = folder / "installed"
    asyncio.run(install(channel, prefix, ["openmm-nn"]))
    structure = str(ROOT / "examples" / "data" / "alanine-dipeptide.pdb")
    code = TRY.format(structure=structure)
    subprocess.run([prefix / "bin" / "python", "-c", code], check=True, cwd=folder, env={"PATH": "/usr/bin:/bin"})


if __name__ == "__main__":
    main()
