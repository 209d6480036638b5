"""Mutated files end in named errors: never in a crash, a hang, or memory without bound."""

import importlib.metadata
import json
import pathlib
import time

import pytest

from openmm_nn.native.build import source_hash
from tests import REFERENCE_FOLDER
from tests.model.fuzz import harness, mutate
from tests.models import ModelSet

HERE = pathlib.Path(__file__).resolve().parent
FILES = 2000
SEED = 2026


def fail_on_bad(outcomes: list[harness.Outcome]) -> None:
    bad = [(e.mutant.kind, e.mutant.how, e.outcome, e.said, e.megabytes) for e in outcomes if e.bad]
    assert not bad, "\n".join(map(str, bad[:20]))


@pytest.mark.process
def test_a_hundred_mutants(models: ModelSet, tmp_path: pathlib.Path) -> None:
    mutants = harness.make_corpus(models, 100, seed=1, quick=True)
    outcomes = harness.read_all(mutants, tmp_path)
    fail_on_bad(outcomes)
    # The corpus is worth its name: most mutants are refused, and by more than one reader.
    assert sum(entry.outcome != "read" for entry in outcomes) > 60
    assert {"ModelError", "CardError", "RunFileError", "OpenMMException"} <= {entry.outcome for entry in outcomes}


@pytest.mark.process
def test_the_sound_files_are_read(models: ModelSet, tmp_path: pathlib.Path) -> None:
    """What the mutants are made from is read without an error, by the same reader."""
    seeds = harness.make_seeds(models, quick=True)
    sound = [mutate.Mutant("pt", "sound", data) for data in seeds.models[:3]]
    sound += [mutate.Mutant("card", "sound", seeds.card.encode()), mutate.Mutant("run", "sound", seeds.run.encode())]
    sound += [mutate.Mutant("xml", "sound", seeds.xml.encode())]
    outcomes = harness.read_all(sound, tmp_path)
    assert [entry.outcome for entry in outcomes] == ["read"] * len(sound), [entry.said for entry in outcomes]


def test_the_same_seed_makes_the_same_mutants(models: ModelSet) -> None:
    first, second = (harness.make_corpus(models, 30, seed=5, quick=True) for _ in range(2))
    assert first == second and first != harness.make_corpus(models, 30, seed=6, quick=True)


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_thousand_mutants(models: ModelSet, tmp_path: pathlib.Path) -> None:
    start = time.monotonic()
    outcomes = harness.read_all(harness.make_corpus(models, FILES, SEED), tmp_path, readers=6)
    kinds = ", ".join(sorted({entry.mutant.kind for entry in outcomes}))
    result = {
        "what": f"mutated files ({kinds}), each read in a process of its own with limits",
        "command": "make soak",
        "seed": SEED,
        **harness.summary(outcomes),
        "minutes": round((time.monotonic() - start) / 60.0, 1),
        "native_sources_sha256": source_hash(),
        "python_sources_sha256": harness.python_sources(),
        "versions": {name: importlib.metadata.version(name) for name in ("openmm-nn", "openmm", "torch")},
    }
    (REFERENCE_FOLDER / "soak_fuzz.json").write_text(json.dumps(result, indent=2) + "\n")
    fail_on_bad(outcomes)
    assert result["files"] == FILES
    assert abs(result["archives_with_checksums_repaired"] / result["archives"] - 0.5) < 0.1
