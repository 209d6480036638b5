"""Tests every foreign family in an environment of its own, and writes down what was found: ``make test-formats``.

The libraries conflict with one another (MACE pins e3nn 0.4, SevenNet and NequIP need newer ones), so each gets a
virtual environment with torch, OpenMM and itself. The package is taken from this tree, with the native extension that
is built in it, which fits because torch and OpenMM are the same. Results go to ``tests/reference/formats.json``.

    python tests/potentials/formats/environments.py --folder build/formats [--only mace nequip] [--page]
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PAGE = ROOT / "docs" / "formats.md"
BEGIN, END = "<!-- from tests/reference/formats.json -->", "<!-- end -->"
RESULTS = ROOT / "tests" / "reference" / "formats.json"
# Not named on the page: what an environment needs besides the library.
HELPERS = ("openmm", "numpy", "numba", "requests", "click", "jinja2", "omegaconf", "pyyaml")
PINNED = ("torch", "openmm", "numpy", "mdtraj", "vesin", "pytest", "pytest-timeout", "ase")


@dataclasses.dataclass(frozen=True)
class Family:
    """A library and how it is tested.

    Attributes
    ----------
    packages : tuple of str
        Installed with torch and OpenMM.
    licence : str
        Of the library.
    tests : str
        File in this folder.
    without : tuple of str
        Packages that are installed without what they say that they need.
    """

    packages: tuple[str, ...]
    licence: str
    tests: str
    without: tuple[str, ...] = ()


FAMILIES = {
    "sevennet": Family(("sevenn==0.13.0",), "GPL-3.0", "test_sevennet.py"),
    "mace": Family(("mace-torch==0.3.16",), "MIT", "check_mace.py"),
    "nequip": Family(("nequip==0.19.1", "nequip-allegro==0.8.3"), "MIT", "check_nequip.py"),
    "metatomic": Family(
        ("metatomic-torch==0.1.19", "metatomic-ase==0.1.4", "metatrain==2026.4.1"), "BSD-3-Clause", "check_metatomic.py"
    ),
    # The last release of AIMNet that can write TorchScript files; it pins an older numpy, without need.
    "aimnet2": Family(
        ("numba", "requests", "click", "jinja2", "omegaconf", "pyyaml"), "MIT", "check_aimnet2.py", ("aimnet==0.0.1",)
    ),
    "torchmdnet": Family(("torchmd-net==3.1.0",), "MIT", "check_torchmdnet.py"),
    "schnetpack": Family(("schnetpack==2.1.1",), "MIT", ""),
    # deepmd-kit 3.2.0 is compiled for torch 2.11: files that it made there, with torch alone.
    "deepmd": Family((), "LGPL-3.0", "test_deepmd.py"),
}


def pinned() -> list[str]:
    """Requirements with the versions of constraints.txt."""
    text = (ROOT / "constraints.txt").read_text()
    found = {line.partition("==")[0].lower(): line for line in text.splitlines() if "==" in line}
    return [found[name] for name in PINNED]


def install(family: Family, folder: pathlib.Path) -> str:
    """Make the environment if it is not there; return why that failed, or an empty string."""
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join([*pinned(), *family.packages, *family.without])
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    steps = [[*pinned(), *family.packages]]
    steps += [["--no-deps", *family.without]] if family.without else []
    for step in steps:
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", *step], capture_output=True, encoding="utf-8")
        if done.returncode:
            reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
            return reasons[0].removeprefix("ERROR: ") if reasons else done.stderr[-500:]
    stamp.write_text(wanted)
    return ""


def versions(folder: pathlib.Path, family: Family) -> dict[str, str]:
    """Versions of the packages that matter, as installed."""
    done = subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "list", "--format=json"], capture_output=True, check=True
    )
    found = {entry["name"].lower(): entry["version"] for entry in json.loads(done.stdout)}
    names = [re.split(r"[=<>]", package)[0].lower() for package in (*family.packages, *family.without)]
    return {name: found[name] for name in (*names, "torch", "openmm", "e3nn", "numpy") if name in found}


def run(name: str, family: Family, folder: pathlib.Path) -> dict[str, object]:
    """Test one family; what is returned goes into the file of results."""
    failed = install(family, folder)
    result: dict[str, object] = {"packages": [*family.packages, *family.without], "licence": family.licence}
    if failed:
        return {**result, "result": "not installable", "reason": failed}
    result["versions"] = versions(folder, family)
    if not family.tests:
        return {**result, "result": "not tested"}
    with tempfile.TemporaryDirectory() as scratch:
        measured = pathlib.Path(scratch) / "measured.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OPENMM_NN_FORMATS_RESULTS": str(measured),
            "OMP_NUM_THREADS": "1",
        }
        start = time.perf_counter()
        command = [str(folder / "bin" / "python"), "-m", "pytest", str(HERE / family.tests), "-m", "", "-q"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "--timeout", "1800"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            encoding="utf-8",
        )
        result["seconds"] = round(time.perf_counter() - start)
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
        counts = re.findall(r"(\d+) (passed|failed|xfailed|skipped|error)", last)
        result["tests"] = {word: int(number) for number, word in counts}
        result["result"] = "passed" if done.returncode == 0 else "failed"
        if done.returncode:
            result["failures"] = re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)", done.stdout, re.MULTILINE)
            sys.stderr.write(done.stdout[-4000:])
        result["measured"] = json.loads(measured.read_text()) if measured.exists() else {}
    files = [ROOT / "openmm_nn" / "potentials" / "formats" / f"{name}.py", HERE / family.tests]
    content = b"".join(path.read_bytes() for path in files if path.exists())
    result["sources_sha256"] = hashlib.sha256(content).hexdigest()
    return result


def table(found: dict[str, dict[str, object]]) -> str:
    """What the page on formats says of the results, as Markdown."""
    rows = [
        "| family | versions | result | energy, eV/atom | forces, eV/Å | largest force |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in found.items():
        versions = entry.get("versions", {})
        listed = [f"{package} {versions[package]}" for package in versions if package not in HELPERS]
        measured = list(entry.get("measured", {}).values())
        counts = entry.get("tests", {})
        result = f"{counts.get('passed', 0)} of {sum(counts.values())} tests" if counts else str(entry["result"])
        if not versions or not counts:
            listed = [str(package).replace("==", " ") for package in entry["packages"]]
        cells = [f"{max(m[key] for m in measured):.0e}" for key in ("energy", "force")] if measured else ["", ""]
        largest = f"{max(m['largest_force'] for m in measured):.2g}" if measured else ""
        rows.append(f"| {name} | {', '.join(listed)} | {result} | {cells[0]} | {cells[1]} | {largest} |")
    return "\n".join(rows)


def write_page(found: dict[str, dict[str, object]]) -> None:
    """Put the table into the page."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table(found)}\n\n{END}{rest.partition(END)[2]}")


def main() -> int:
    """Run what was asked for; other families' results in the file are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "formats", help="of the environments")
    parser.add_argument("--only", nargs="*", choices=sorted(FAMILIES), help="families; by default all")
    parser.add_argument("--page", action="store_true", help="only write the table of docs/formats.md again")
    arguments = parser.parse_args()
    if arguments.page:
        write_page(json.loads(RESULTS.read_text()))
        return 0
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, object]] = {}
    wrong = []
    for name in arguments.only or FAMILIES:
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        result = run(name, FAMILIES[name], arguments.folder.resolve() / name)
        # Read again: another of these may have written its own meanwhile.
        found = {**(json.loads(RESULTS.read_text()) if RESULTS.exists() else {}), name: result}
        found = {key: found[key] for key in FAMILIES if key in found}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        sys.stdout.write(f"  {found[name]['result']} {found[name].get('tests', found[name].get('reason', ''))}\n")
        wrong += [name] if found[name]["result"] == "failed" else []
    write_page(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
