"""Potentials go to other processes by their bytes and hash, to whom they are known."""

import concurrent.futures
import copy
import multiprocessing
import operator
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from openmm_nn import create_hybrid_system, load_potential, trust_hash
from openmm_nn.errors import ModelError, UnsupportedError
from openmm_nn.model import trust
from openmm_nn.model.trust import is_known, known_hashes_file
from tests import ROOT, oracle
from tests.models import ModelSet
from tests.samples import random_cluster
from tests.systems.hybrid.cases import peptide_in_water
from tests.systems.hybrid.region_energy import energy_and_forces, reference_context

NUMBERS = [8, 1, 6, 7, 1, 6]
READER = """
import pickle
import sys
import numpy as np
import openmm_nn
if len(sys.argv) > 3:
    openmm_nn.trust_hash(sys.argv[3])
with open(sys.argv[1], "rb") as file:
    potential = pickle.load(file)
print(potential.evaluate(np.load(sys.argv[2]), [8, 1, 6, 7, 1, 6]).energy.hex(), potential.sha256)
"""


def read_elsewhere(
    folder: pathlib.Path, home: pathlib.Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Unpickle and evaluate in a fresh process of a user with that folder for data."""
    return subprocess.run(
        [sys.executable, "-c", READER, str(folder / "potential.pkl"), str(folder / "positions.npy"), *arguments],
        capture_output=True, encoding="utf-8", timeout=120, check=False,
        env={**os.environ, "XDG_DATA_HOME": str(home), "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


@pytest.mark.parametrize("way", [lambda p: pickle.loads(pickle.dumps(p)), copy.copy, copy.deepcopy])
def test_copies_are_the_same(models: ModelSet, way: object) -> None:
    potential = models.pair("edges", offset=True)
    other = way(potential)
    positions = random_cluster(NUMBERS, seed=3)
    assert (other.card, other.sha256, other.data) == (potential.card, potential.sha256, potential.data)
    assert other.evaluate(positions, NUMBERS).energy == potential.evaluate(positions, NUMBERS).energy


@pytest.mark.process
def test_a_pool_of_spawned_workers(models: ModelSet) -> None:
    potential = models.pair("plain", dtype="float64")
    clusters = [random_cluster(NUMBERS, seed=seed) for seed in range(3)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        energies = [
            pool.submit(operator.methodcaller("evaluate", x, NUMBERS), potential).result().energy for x in clusters
        ]
    assert energies == pytest.approx([oracle.pair_energy(x, NUMBERS) for x in clusters], abs=1e-6)


@pytest.mark.process
def test_unknown_models_are_refused_and_every_remedy_works(models: ModelSet, tmp_path: pathlib.Path) -> None:
    potential = models.pair("plain", dtype="float64")
    positions = random_cluster(NUMBERS, seed=3)
    (tmp_path / "potential.pkl").write_bytes(pickle.dumps(potential))
    np.save(tmp_path / "positions.npy", positions)
    stranger = tmp_path / "stranger"
    refused = read_elsewhere(tmp_path, stranger)
    assert refused.returncode != 0
    assert "ModelError: pickled potential" in refused.stderr
    assert f"openmm_nn.trust_hash('{potential.sha256}')" in refused.stderr
    expected = [f"{potential.evaluate(positions, NUMBERS).energy.hex()} {potential.sha256}"]
    assert read_elsewhere(tmp_path, stranger, str(potential.sha256)).stdout.splitlines() == expected
    listed = read_elsewhere(tmp_path, stranger, OPENMM_NN_TRUST=str(potential.sha256))
    assert listed.stdout.splitlines() == expected
    same_user = read_elsewhere(tmp_path, pathlib.Path(os.environ["XDG_DATA_HOME"]))
    assert same_user.stdout.splitlines() == expected


def test_models_loaded_by_name_are_known(
    models: ModelSet, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(trust, "_remembered", set())
    path = tmp_path / "model.pt"
    path.write_bytes(models.pair("plain").data)
    potential = load_potential(path)
    assert known_hashes_file().read_text().split().count(potential.sha256) == 1
    load_potential(path)
    assert known_hashes_file().read_text().split().count(potential.sha256) == 1
    assert is_known(potential.sha256)


def test_data_that_cannot_be_written(models: ModelSet, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is read-only, or full, costs nothing but that other processes do not know the model."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(trust, "_remembered", set())
    path = tmp_path / "model.pt"
    path.write_bytes(models.pair("plain").data)
    potential = load_potential(path)
    assert pickle.loads(pickle.dumps(potential)).sha256 == potential.sha256


def test_a_changed_pickle_is_refused(models: ModelSet) -> None:
    potential = models.pair("plain")
    function, (card, data, sha256, device) = potential.__reduce__()
    with pytest.raises(ModelError) as caught:
        function(card, data[:-1] + b"x", sha256, device)
    assert caught.value.remedy == "take an undamaged copy of the pickle"
    with pytest.raises(ModelError) as caught:
        function(card, b"x", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", device)
    assert "has not named" in caught.value.got
    trust_hash("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    assert function(card, b"x", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", device).data == b"x"


def test_callables_are_refused_by_name_and_copied_in_their_process() -> None:
    potential = load_potential(lambda positions: (positions**2).sum())
    with pytest.raises(UnsupportedError) as caught:
        pickle.dumps(potential)
    assert (caught.value.argument, caught.value.got.split(",")[0]) == ("potential", "'TorchForce'")
    assert "export_potential" in caught.value.remedy
    assert copy.deepcopy(potential).evaluate(np.ones((1, 3))).energy == 3.0
    assert copy.deepcopy({"a": [potential]})["a"][0] is potential


def test_what_comes_with_a_potential_is_pickled_too(models: ModelSet) -> None:
    """What a worker returns, and the hybrid that it is sent."""
    case = peptide_in_water(method="CutoffPeriodic", waters=10, rigidWater=False)
    potential = models.pair("edges")
    for item in (potential.card, potential.evaluate(random_cluster(NUMBERS, seed=3), NUMBERS)):
        assert repr(pickle.loads(pickle.dumps(item))) == repr(item)
    hybrid = create_hybrid_system(case.topology, case.system, potential, range(22), charge=0)
    again = pickle.loads(pickle.dumps(hybrid))
    one, two = (energy_and_forces(reference_context(h.system, case.positions))[0] for h in (hybrid, again))
    assert one == pytest.approx(two, abs=1e-9)
    assert again.ledger(case.positions).terms == pytest.approx(hybrid.ledger(case.positions).terms, abs=1e-6)
