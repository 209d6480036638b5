"""Embeddings are found by name, those of other packages too."""

import importlib.metadata
import sys
import types

import openmm as mm
import pytest

from openmm_nn import create_hybrid_system
from openmm_nn.errors import ParameterError
from openmm_nn.systems.hybrid import embeddings
from openmm_nn.systems.hybrid.embeddings import EmbeddingRequest, embedding_names, find_embedding
from openmm_nn.systems.hybrid.mechanical import Remainder
from tests.refusals import refusal
from tests.systems.hybrid.cases import peptide_in_water
from tests.systems.hybrid.region_energy import zero_potential


class Marked:
    """Mechanical embedding that leaves a mark, and keeps what it was asked."""

    name = "marked"

    def __init__(self) -> None:
        self.requests: list[EmbeddingRequest] = []

    def embed(self, request: EmbeddingRequest) -> Remainder:
        self.requests.append(request)
        remainder = find_embedding("mechanical").embed(request)
        mark = mm.CustomExternalForce("0")
        mark.setName("mark")
        remainder.system.addForce(mark)
        return remainder


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Marked:
    """Another package registers embeddings: one that works, and some that do not."""
    module = types.ModuleType("embeddings_of_another_package")
    module.MARKED, module.NOTHING = Marked(), object()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    group = embeddings.GROUP
    points = [
        importlib.metadata.EntryPoint("marked", f"{module.__name__}:MARKED", group),
        importlib.metadata.EntryPoint("nothing", f"{module.__name__}:NOTHING", group),
        importlib.metadata.EntryPoint("gone", f"{module.__name__}:GONE", group),
        importlib.metadata.EntryPoint("absent", "no_such_package_at_all:EMBEDDING", group),
        importlib.metadata.EntryPoint("mechanical", f"{module.__name__}:NOTHING", group),
    ]
    monkeypatch.setattr(embeddings, "entry_points", lambda group: points if group == embeddings.GROUP else [])
    return module.MARKED


def test_the_packages_own_is_registered_in_its_metadata() -> None:
    points = {point.name: point.value for point in importlib.metadata.entry_points(group=embeddings.GROUP)}
    assert points.get("mechanical") == embeddings._BUILT_IN["mechanical"]
    assert find_embedding("mechanical").name == "mechanical"


def test_an_embedding_of_another_package_builds_the_hybrid(registered: Marked) -> None:
    case = peptide_in_water(waters=30)
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), range(22), embedding="marked")
    assert "mark" in [force.getName() for force in hybrid.system.getForces()]
    (request,) = registered.requests
    assert request.region.atoms == tuple(range(22))
    assert request.system is case.system
    assert embedding_names() == ("absent", "gone", "marked", "mechanical", "nothing")


def test_no_entry_point_takes_the_place_of_the_packages_own(registered: Marked) -> None:
    assert find_embedding("mechanical").name == "mechanical"


def test_unknown_names_list_the_known_ones(registered: Marked) -> None:
    case = peptide_in_water(waters=30)
    known = "'absent', 'gone', 'marked', 'mechanical', 'nothing'"
    with refusal(ParameterError, "embedding", got="'electric'", allowed=known, remedy=embeddings.GROUP):
        create_hybrid_system(case.topology, case.system, zero_potential(), range(22), embedding="electric")


def test_embeddings_that_do_not_work(registered: Marked) -> None:
    with refusal(ParameterError, "embedding", got=("'gone'", ":GONE")):
        find_embedding("gone")
    with refusal(ParameterError, "embedding", got=("'absent'", "no_such_package_at_all:EMBEDDING")):
        find_embedding("absent")
    with pytest.raises(TypeError, match=r"entry point 'nothing' of openmm_nn.embeddings: got object; allowed is"):
        find_embedding("nothing")
