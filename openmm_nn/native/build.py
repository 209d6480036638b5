"""Build the native extension against the torch and the OpenMM of this environment.

Run as ``python -m openmm_nn.native.build``. ``setup.py`` loads this file by its path, before anything is installed:
nothing but the standard library is imported here.

The result is one directory, the prefix, that holds the libraries, OpenMM's plugins, the Python wrapper, the headers
and ``build_info.json``. It is ``openmm_nn/native/build`` where that can be written, otherwise a directory in the user's
cache named by the versions that it was built for.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = [
    "BuildError",
    "build",
    "cache_directory",
    "candidate_prefixes",
    "current_build_info",
    "engines",
    "links_own_runtime",
    "missing_packages",
    "package_prefix",
    "read_build_info",
    "source_hash",
    "torch_version",
]

logger = logging.getLogger("openmm_nn.native.build")

BUILD_INFO = "build_info.json"
COMMAND = "python -m openmm_nn.native.build"
MINIMUM_SWIG = (4, 4)
# The kernels of "Reference" are those of the CPU platform too.
_PLATFORMS = {"reference": "Reference", "cpu": "Reference", "opencl": "OpenCL", "cuda": "CUDA", "hip": "HIP"}
_LIBRARY_SUFFIXES = (".so", ".dylib")
_SOURCE = Path(__file__).resolve().parent
_ENGINE = "torch-"


class BuildError(RuntimeError):
    """The extension cannot be built here; the message says what is missing and how to get it."""


# What the extension is built from and for


def source_hash() -> str:
    """Return the sha256 of the native sources: every file below this directory but Python's own and the results."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCE.rglob("*")):
        parts = path.relative_to(_SOURCE).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if hidden or parts[0] == "build" or (len(parts) == 1 and path.suffix in (".py", ".pyi")) or not path.is_file():
            continue
        digest.update("/".join(parts).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def current_build_info() -> dict[str, str]:
    """Return what ``build_info.json`` must say for the extension to fit this environment and these sources."""
    return {
        "openmm_nn": _assigned(_SOURCE.parent / "_version.py", "__version__"),
        "openmm": _minor(_version("openmm", "short_version")),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "sources": source_hash(),
    }


def torch_version(directory: Path | None = None) -> str:
    """Return the minor version of torch, that of this environment or the one in a directory, without importing it."""
    directory = directory or _package_directory("torch")
    return "none" if directory is None else _minor(_assigned(directory / "version.py", "__version__"))


def engines(prefix: Path) -> list[str]:
    """Return the minor versions of torch that the extension in `prefix` has an engine for, such as ``2.13``."""
    return sorted(path.name.removeprefix(_ENGINE) for path in prefix.glob(f"{_ENGINE}*"))


def read_build_info(prefix: Path) -> dict[str, str] | None:
    """Return what the extension in `prefix` was built for, or None where there is none."""
    try:
        info = json.loads((prefix / BUILD_INFO).read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return {str(key): str(value) for key, value in info.items()} if isinstance(info, dict) else None


def package_prefix() -> Path:
    """Return the place inside the package where the extension is installed."""
    return _SOURCE / "build"


def cache_directory() -> Path:
    """Return the place in the user's cache for an extension that fits this environment.

    The name holds the versions and, since the libraries remember where torch and OpenMM are, a digest of their places.
    """
    if sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    info = current_build_info()
    places = "\n".join(str(_package_directory(name)) for name in ("torch", "openmm", "vesin"))
    digest = hashlib.sha256(places.encode()).hexdigest()[:8]
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"{info['openmm_nn']}-openmm{info['openmm']}-{tag}-{digest}"
    return root / "openmm_nn" / name


def candidate_prefixes() -> tuple[Path, ...]:
    """Return the prefixes in the order in which they are searched: the package's own, then the user's cache."""
    return (package_prefix(), cache_directory())


def missing_packages() -> list[str]:
    """Return the names of the packages, among those the extension is built against, that are not installed."""
    return [name for name in ("torch", "openmm", "vesin") if _package_directory(name) is None]


def _package_directory(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None or not spec.origin else Path(spec.origin).resolve().parent


def _assigned(path: Path, name: str) -> str:
    match = re.search(rf"^{name}\s*(?::[^=]*)?=\s*['\"]([^'\"]+)['\"]", path.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise _problem(
            str(path), f"no {name}", "a line that assigns it", "install the package that it belongs to again"
        )
    return match.group(1)


def _version(package: str, name: str) -> str:
    directory = _package_directory(package)
    return "none" if directory is None else _assigned(directory / "version.py", name)


def _minor(version: str) -> str:
    """Return a version without its patch: torch and OpenMM keep their binary interface from patch to patch only."""
    return ".".join(version.split(".")[:2])


# Finding what is needed


def _problem(argument: str, got: str, allowed: str, remedy: str) -> BuildError:
    # The same four parts as openmm_nn.errors.message, which cannot be imported from here.
    return BuildError(f"{argument}: got {got}; allowed: {allowed}. To fix: {remedy}.")


def _has_library(directory: Path, name: str) -> bool:
    return any((directory / f"{name}{suffix}").is_file() for suffix in _LIBRARY_SUFFIXES)


def _required_directory(name: str) -> Path:
    directory = _package_directory(name)
    if directory is None:
        missing = missing_packages()
        raise _problem(
            "Python packages",
            f"an environment ({sys.executable}) without {', '.join(missing)}",
            "torch, openmm and vesin in the same environment, since the extension is built against them",
            f"{sys.executable} -m pip install {' '.join(missing)}; then {COMMAND}",
        )
    return directory


def _find_dependencies(torch: Path | None) -> dict[str, str]:
    """Return the directories that CMake is given, found without importing the packages."""
    torch = torch or _required_directory("torch")
    openmm, vesin = _required_directory("openmm"), _required_directory("vesin")
    environment = [Path(place) for place in (os.environ.get("CONDA_PREFIX"), sys.prefix) if place]
    places = [openmm.parent / "OpenMM.libs", *environment]
    if override := os.environ.get("OPENMM_DIR"):
        places = [Path(override)]
    for place in places:
        if (place / "include" / "OpenMM.h").is_file() and _has_library(place / "lib", "libOpenMM"):
            openmm_directory = place
            break
    else:
        raise _problem(
            "OpenMM's headers and library",
            f"no include/OpenMM.h with lib/libOpenMM in {', '.join(map(str, places))}",
            "the directory that holds both: the wheel of PyPI and the package of conda-forge have it",
            f"set OPENMM_DIR to it, or {sys.executable} -m pip install --force-reinstall openmm; then {COMMAND}",
        )
    for place in [vesin, *environment]:
        if (place / "include" / "vesin.h").is_file() and _has_library(place / "lib", "libvesin"):
            return {
                "OPENMM_DIR": str(openmm_directory),
                "TORCH_DIR": str(torch),
                "TORCH_VERSION": torch_version(torch),
                "VESIN_DIR": str(place),
            }
    raise _problem(
        "vesin's header and library",
        f"no include/vesin.h with lib/libvesin in {vesin}",
        "vesin >= 0.5, whose wheel has them",
        f"{sys.executable} -m pip install --upgrade vesin; then {COMMAND}",
    )


def _search_path() -> str:
    """Return PATH with the environment's own programs first, for an environment that is not activated."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def _find_programs() -> dict[str, str]:
    """Return the paths of cmake, ninja and swig, of which each is also a wheel of PyPI."""
    programs = {name: shutil.which(name, path=_search_path()) for name in ("cmake", "ninja", "swig")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        raise _problem(
            "programs of the build",
            f"no {', no '.join(missing)} in this Python environment or on PATH",
            "cmake, ninja and swig >= 4.4",
            f"{sys.executable} -m pip install {' '.join(missing)}; then {COMMAND}",
        )
    return {name: path for name, path in programs.items() if path}


def _check_swig(swig: str) -> None:
    text = subprocess.run([swig, "-version"], capture_output=True, encoding="utf-8", check=False).stdout
    match = re.search(r"SWIG Version (\d+)\.(\d+)", text)
    if match is None or (int(match.group(1)), int(match.group(2))) < MINIMUM_SWIG:
        raise _problem(
            "the program swig",
            f"{match.group(0) if match else 'an unknown version'} ({swig})",
            "SWIG >= 4.4, whose run-time types are those of OpenMM's own wrapper",
            f"{sys.executable} -m pip install 'swig>=4.4'; then {COMMAND}",
        )


def links_own_runtime(compiler: Sequence[str]) -> bool:
    """Return whether a C++ compiler puts a copy of the C++ library into what it links, as with ``-static-libstdc++``.

    Two copies in a process, torch's and another, take each other's locales for their own: std::regex, which
    AOTInductor's code uses too, ends in a segmentation fault.

    Parameters
    ----------
    compiler
        The command.

    Returns
    -------
    bool
        False also where it does not compile at all.

    Examples
    --------
    >>> from openmm_nn.native.build import links_own_runtime
    >>> links_own_runtime(["g++"])
    False
    """
    if not sys.platform.startswith("linux"):
        return False
    program = "#include <locale>\nbool probe() { return std::locale() == std::locale::classic(); }\n"
    with tempfile.TemporaryDirectory(prefix="openmm_nn-") as folder:
        library = Path(folder) / "probe.so"
        options = ["-shared", "-fPIC", "-x", "c++", "-", "-o", str(library)]
        subprocess.run([*compiler, *options], input=program, capture_output=True, encoding="utf-8", check=False)
        content = library.read_bytes() if library.is_file() else b"libstdc++.so"
    return b"libstdc++.so" not in content and b"libc++.so" not in content


def _find_compiler(torch: str) -> str:
    # The headers of torch 2.14 and newer need C++20.
    standard = "c++20" if tuple(map(int, torch.split("."))) >= (2, 14) else "c++17"
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    tried = []
    for name in names:
        command = shlex.split(name)
        if shutil.which(command[0], path=_search_path()) is None:
            tried.append(f"{name} is not on PATH")
            continue
        program = "#include <optional>\nint main() { return std::optional<int>(0).value(); }\n"
        options = [f"-std={standard}", "-fsyntax-only", "-x", "c++", "-"]
        result = subprocess.run([*command, *options], input=program, capture_output=True, encoding="utf-8", check=False)
        if result.returncode != 0:
            tried.append(f"{name} does not compile a program in {standard}")
        elif links_own_runtime(command):
            tried.append(f"{name} puts a copy of libstdc++ into what it links")
        else:
            return name
    raise _problem(
        "a C++ compiler",
        f"none ({'; '.join(tried)})",
        f"one that compiles {standard} and shares the C++ library with torch and OpenMM",
        "set CXX, to /usr/bin/g++ for example; or apt-get install g++ (Debian, Ubuntu), or "
        f"conda install -c conda-forge cxx-compiler; then {COMMAND}",
    )


def _check_python_headers() -> None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise _problem(
            "Python's C headers",
            f"no {header}",
            f"the headers of Python {version}",
            f"apt-get install python{version}-dev (Debian, Ubuntu), or use a Python that has them; then {COMMAND}",
        )


# Running the build


def _run(command: Sequence[str], what: str, environment: dict[str, str]) -> None:
    """Run a command, pass its output line by line to the logger, and keep it for the message of a failure."""
    logger.debug("running %s", shlex.join(command))
    lines: list[str] = []
    pipe, null, both = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
    with subprocess.Popen(
        command, stdin=null, stdout=pipe, stderr=both, encoding="utf-8", errors="replace", env=environment
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            # Ninja begins a line with the number of the step.
            logger.log(logging.INFO if re.match(r"\[\d+/\d+\] ", line) else logging.DEBUG, "  %s", lines[-1])
    if process.returncode:
        tail = "\n".join(lines[-60:])
        raise _problem(
            what,
            f"status {process.returncode} from {shlex.join(command)}",
            "status 0",
            f"read the end of its output, below, mend it, and run {COMMAND} --verbose. The output:\n{tail}",
        )


def _arguments(dependencies: dict[str, str], programs: dict[str, str]) -> list[str]:
    """Return the command that configures the build, but for where the objects and the results go."""
    definitions = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_MAKE_PROGRAM": programs["ninja"],
        "Python_EXECUTABLE": sys.executable,
        "SWIG_EXECUTABLE": programs["swig"],
        **dependencies,
    }
    values = [f"-D{name}={value}" for name, value in definitions.items()]
    return [programs["cmake"], "-G", "Ninja", "-S", str(_SOURCE), *values]


@contextlib.contextmanager
def _object_directory(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the directory of the objects: kept in a checkout, so that the next build is short, else temporary."""
    root = _SOURCE.parents[1]
    if (root / "pyproject.toml").is_file() and os.access(root, os.W_OK):
        import fcntl

        # One directory for each set of versions and places; the sources are left out, so that a build can go on.
        versions = [value for name, value in current_build_info().items() if name != "sources"]
        key = hashlib.sha256("\n".join([sys.version, *versions, *arguments]).encode()).hexdigest()
        directory = root / "build" / "native" / key[:12]
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield directory
    else:
        with tempfile.TemporaryDirectory(prefix="openmm_nn-") as name:
            yield Path(name)


def _swig_runtime(library: Path) -> str:
    match = re.search(rb"swig_runtime_data(\d+)", library.read_bytes())
    return match.group(1).decode() if match else "unknown"


def _check_wrapper(prefix: Path, environment: dict[str, str]) -> None:
    """Check that OpenMM's wrapper and ours know each other's types, and that ours can be imported."""
    openmm = _required_directory("openmm")
    ours = sorted(prefix.glob("_openmm_nn_native*.so"))
    theirs = sorted(openmm.glob("_openmm*.so"))
    if not ours or not theirs:
        raise _problem(
            "the Python wrapper",
            f"no {'_openmm_nn_native*.so in ' + str(prefix) if not ours else '_openmm*.so in ' + str(openmm)}",
            "one, installed by the build",
            f"{COMMAND} --force --verbose",
        )
    have, want = _swig_runtime(ours[0]), _swig_runtime(theirs[0])
    if have != want:
        raise _problem(
            "the Python wrapper",
            f"run-time types of version {have} from SWIG",
            f"version {want}, that of OpenMM's wrapper, without which a System does not take a NeuralForce",
            f"install the SWIG that OpenMM {current_build_info()['openmm']} was built with (4.5.1 fits OpenMM "
            f"8.6.1); then {COMMAND} --force",
        )
    logger.info("the wrapper has SWIG's run-time types of version %s, as OpenMM's wrapper has", have)
    script = (
        "import sys, openmm; sys.path.insert(0, sys.argv[1]); import openmm_nn_native as ours;"
        "system = openmm.System();"
        "system.addForce(ours.RegionForce(openmm.NonbondedForce(), []));"
        "type(system.getForce(0)) is ours.RegionForce or sys.exit('System.getForce() does not give a RegionForce')"
    )
    _run([sys.executable, "-c", script, str(prefix)], "importing the Python wrapper", environment)


def _replace(target: Path, staged: Path) -> None:
    """Put `staged` in the place of `target`; a process that has the old libraries open keeps them."""
    staged.chmod(0o755)
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=".build-", dir=target.parent))
        target.rename(old / "old")
        staged.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        staged.rename(target)


def _choose_prefix() -> Path:
    for prefix in candidate_prefixes():
        with contextlib.suppress(OSError):
            prefix.parent.mkdir(parents=True, exist_ok=True)
        if os.access(prefix.parent, os.W_OK):
            return prefix
    raise _problem(
        "the place of the extension",
        f"neither {package_prefix().parent} nor {cache_directory().parent} can be written",
        "a directory that can be written",
        f"set XDG_CACHE_HOME to one; then {COMMAND}",
    )


def _check_platforms(prefix: Path, torch: str, platforms: Sequence[str]) -> None:
    """Check that the kernels of the platforms that were asked for were built."""
    plugins = prefix / f"{_ENGINE}{torch}" / "plugins"
    for given in platforms:
        name = _PLATFORMS.get(given.lower())
        if name is None:
            raise _problem("platform", repr(given), ", ".join(sorted(set(_PLATFORMS.values()))), "correct the name")
        if not _has_library(plugins, f"libOpenMMNN{name}"):
            found = sorted(path.stem.removeprefix("libOpenMMNN") for path in plugins.glob("libOpenMMNN*"))
            raise _problem(
                "platform",
                f"{name}, whose kernels were not built",
                f"the platforms of which OpenMM's library and the headers are here: {', '.join(found)}",
                f"install what the line '{name} platform: no' of {COMMAND} --force --verbose names",
            )


def build(
    prefix: Path | None = None,
    *,
    force: bool = False,
    jobs: int | None = None,
    platforms: Sequence[str] = (),
    torch: Path | None = None,
    portable: bool = False,
) -> Path:
    """Build and install the extension, unless one that fits is there.

    Where an extension from the same sources is there already, only the engine for another torch is added to it.

    Parameters
    ----------
    prefix
        Where to install. By default the package's own directory, or the user's cache where that cannot be written.
    force
        Build even if an extension that fits this environment and these sources is there.
    jobs
        How many compilers run at a time; by default as many as there are cores.
    platforms
        OpenMM platforms whose kernels must be among the result, ``"cuda"`` for example. Without them whatever can be
        built is built.
    torch
        Directory of a torch package to build the engine for; by default that of this environment.
    portable
        Whether to leave the paths of this machine out of the libraries, as a wheel must.

    Returns
    -------
    pathlib.Path
        The prefix that holds the extension.

    Raises
    ------
    BuildError
        Something that the build needs is missing, or a step of it failed.

    Examples
    --------
    >>> from openmm_nn.native.build import build
    >>> prefix = build()  # doctest: +SKIP
    """
    expected, version = current_build_info(), torch_version(torch)
    if not force:
        for candidate in candidate_prefixes() if prefix is None else (prefix,):
            if read_build_info(candidate) == expected and version in engines(candidate):
                _check_platforms(candidate, version, platforms)
                logger.info("the native extension is up to date in %s", candidate)
                return candidate
    dependencies, programs = _find_dependencies(torch), _find_programs()
    _check_swig(programs["swig"])
    _check_python_headers()
    compiler, cmake = _find_compiler(version), programs["cmake"]
    arguments = [*_arguments(dependencies, programs), f"-DOPENMM_NN_PORTABLE={'ON' if portable else 'OFF'}"]
    target = _choose_prefix() if prefix is None else prefix
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": _search_path(), "CXX": compiler}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parallel = str(jobs or cores or 1)
    logger.info("building for torch %s and OpenMM %s: about a minute or two", version, expected["openmm"])
    staging = tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent)
    with _object_directory([*arguments, compiler]) as objects, staging as temporary:
        staged = Path(temporary) / "build"
        configure = [*arguments, "-B", str(objects), f"-DCMAKE_INSTALL_PREFIX={target}"]
        _run(configure, "configuring the build", environment)
        _run([cmake, "--build", str(objects), "--parallel", parallel], "compiling", environment)
        install = [cmake, "--install", str(objects), "--prefix", str(staged)]
        _run(install, "installing", environment)
        _check_platforms(staged, version, platforms)
        _check_wrapper(staged, environment)
        (staged / BUILD_INFO).write_text(json.dumps(expected, indent=2) + "\n")
        engine = f"{_ENGINE}{version}"
        if read_build_info(target) == expected and not force:
            _replace(target / engine, staged / engine)
        else:
            _replace(target, staged)
    logger.info("the native extension is in %s", target)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Build the native extension of openmm_nn.")
    parser.add_argument("--force", action="store_true", help="build even if an extension that fits is there")
    parser.add_argument("--jobs", type=int, metavar="N", help="compilers at a time (default: the number of cores)")
    parser.add_argument("--prefix", type=Path, help="install there instead of in the package or the user's cache")
    parser.add_argument(
        "--platform", action="append", default=[], metavar="NAME", help="fail if it cannot be built: cuda"
    )
    parser.add_argument("--torch", type=Path, metavar="DIR", help="build the engine for the torch package in DIR")
    parser.add_argument("--portable", action="store_true", help="leave the paths of this machine out, for a wheel")
    parser.add_argument("--cmake-dir", action="store_true", help="build, then write the OpenMMNN_DIR of a C++ project")
    parser.add_argument("--verbose", action="store_true", help="show the output of every step")
    options = parser.parse_args(arguments)
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        prefix = build(
            options.prefix,
            force=options.force,
            jobs=options.jobs,
            platforms=options.platform,
            torch=options.torch,
            portable=options.portable,
        )
    except BuildError as error:
        logger.error("%s", error)
        return 1
    if options.cmake_dir:
        sys.stdout.write(f"{prefix / 'cmake'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
