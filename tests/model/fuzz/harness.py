"""Makes the sound files, writes the mutants, has them read, and sums up."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import openmm as mm

from openmm_nn import export_potential, load_potential
from openmm_nn.errors import UnsupportedError
from tests.model.fuzz.mutate import Mutant, Seeds, corpus
from tests.models import ModelSet

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MOST_MEMORY = 3000
"""Megabytes that a child may have used at most, torch and OpenMM included."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How reading a mutant ended."""

    mutant: Mutant
    outcome: str
    said: str
    seconds: float
    megabytes: int

    @property
    def bad(self) -> bool:
        """Whether it ended in anything but a result or a named error."""
        named = self.outcome == "read" or self.outcome.endswith(("Error", "Exception"))
        return not named or self.outcome.startswith("unnamed") or self.megabytes > MOST_MEMORY


def make_seeds(models: ModelSet, *, quick: bool = False) -> Seeds:
    """The sound files: small ones if it is to be quick, the bundled potential and a compiled package as well if not."""
    bundled = load_potential("openmm-nn/hcno-1")
    without_card = models.torchforce_file("harmonic").read_bytes()
    data = [models.pair("edges").data, models.pair("charge").data, without_card]
    if not quick:
        data.append(bundled.data)
    system = mm.System()
    for _ in range(3):
        system.addParticle(1.0)
    system.addForce(models.pair("plain").create_force(atomic_numbers=[8, 1, 1]))
    run = (ROOT / "examples" / "05_run_file" / "run.yaml").read_text()
    return Seeds(
        tuple(entry for entry in data if entry is not None),
        bundled.card.to_json(),
        mm.XmlSerializer.serialize(system),
        run,
        None if quick else make_package(models),
    )


def make_package(models: ModelSet) -> bytes | None:
    """A compiled package; None where this version cannot write one."""
    path = models.folder / "fuzz.pt2"
    try:
        export_potential(models.pair_module("edges"), path, models.pair("edges").card, format="aotinductor")
    except UnsupportedError:
        return None
    return path.read_bytes()


def python_sources() -> str:
    """SHA-256 of the Python sources that read files."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "openmm_nn").rglob("*.py")):
        if "native/build" not in path.as_posix():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_all(mutants: list[Mutant], folder: pathlib.Path, readers: int = 2) -> list[Outcome]:
    """Write every mutant to a file and have it read in a process of its own; several readers share the work."""
    parts = [range(first, len(mutants), readers) for first in range(readers)]
    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        found = list(pool.map(lambda part: _read_some(mutants, part, folder), parts))
    merged = {
        k: outcome
        for part, outcomes in zip(parts, found, strict=True)
        for k, outcome in zip(part, outcomes, strict=True)
    }
    return [merged[k] for k in range(len(mutants))]


def _read_some(mutants: list[Mutant], part: range, folder: pathlib.Path) -> list[Outcome]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    variables.pop("OPENMM_NN_ENGINE", None)
    command = [sys.executable, str(HERE / "reader.py")]
    found = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=variables
    ) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        assert reader.stdout.readline().strip() == "ready"
        for k in part:
            mutant = mutants[k]
            path = folder / f"mutant-{k}.{'yaml' if mutant.kind == 'run' else mutant.kind}"
            path.write_bytes(mutant.data)
            reader.stdin.write(f"{mutant.kind}\t{path}\n")
            reader.stdin.flush()
            result: dict[str, Any] = json.loads(reader.stdout.readline())
            outcome = Outcome(mutant, result["outcome"], result["said"], result["seconds"], result["megabytes"])
            found.append(outcome)
            if not outcome.bad:
                path.unlink()
        reader.stdin.close()
    return found


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts by kind and outcome, and the extremes."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for entry in outcomes:
        counts[entry.mutant.kind][entry.outcome] += 1
    archives = [entry for entry in outcomes if entry.mutant.kind in ("pt", "pt2")]
    return {
        "files": len(outcomes),
        "archives": len(archives),
        "archives_with_checksums_repaired": sum(entry.mutant.repaired for entry in archives),
        "outcomes": {kind: dict(sorted(counter.items())) for kind, counter in sorted(counts.items())},
        "bad": [[e.mutant.kind, e.mutant.how, e.outcome, e.said[:200]] for e in outcomes if e.bad],
        "longest_seconds": max(entry.seconds for entry in outcomes),
        "most_megabytes": max(entry.megabytes for entry in outcomes),
    }


def make_corpus(models: ModelSet, count: int, seed: int, *, quick: bool = False) -> list[Mutant]:
    """The mutants of a seed."""
    return corpus(make_seeds(models, quick=quick), count, seed)
