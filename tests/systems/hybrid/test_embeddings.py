"""Embeddings are found by name, those of other packages too."""

import dataclasses
import importlib.metadata
import sys
import tomllib
import types

import openmm as mm
import pytest

from openmm_nn import Mechanical, create_hybrid_system
from openmm_nn.errors import ParameterError
from openmm_nn.systems.hybrid import embeddings
from openmm_nn.systems.hybrid.embeddings import Embedded, EmbeddingRequest, embedding_names, find_embedding
from tests import ROOT
from tests.systems.hybrid.cases import peptide_in_water
from tests.systems.hybrid.region_energy import zero_potential


class Marked:
    """Mechanical embedding that leaves a mark, and keeps what it was asked."""

    name = "marked"

    def __init__(self) -> None:
        self.requests: list[EmbeddingRequest] = []

    def embed(self, request: EmbeddingRequest) -> Embedded:
        self.requests.append(request)
        made = find_embedding("mechanical").embed(request)
        mark = mm.CustomExternalForce("0")
        mark.setName("mark")
        made.system.addForce(mark)
        return dataclasses.replace(made, roles=(*made.roles, "classical"))


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][embeddings.GROUP]
    assert points.get("mechanical") == embeddings._BUILT_IN["mechanical"]
    assert find_embedding("mechanical").name == "mechanical"


def test_an_embedding_of_another_package_builds_the_hybrid(registered: Marked) -> None:
    case = peptide_in_water(waters=30)
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), range(22), embedding="marked")
    assert "mark" in [force.getName() for force in hybrid.system.getForces()]
    (request,) = registered.requests
    assert request.region.indices == tuple(range(22))
    assert request.system is case.system
    assert embedding_names() == ("absent", "gone", "marked", "mechanical", "nothing")


def test_no_entry_point_takes_the_place_of_the_packages_own(registered: Marked) -> None:
    assert find_embedding("mechanical").name == "mechanical"


def test_unknown_names_list_the_known_ones(registered: Marked) -> None:
    case = peptide_in_water(waters=30)
    known = "'absent', 'gone', 'marked', 'mechanical', 'nothing'"
    with pytest.raises(ParameterError) as caught:
        create_hybrid_system(case.topology, case.system, zero_potential(), range(22), embedding="electric")
    assert (caught.value.argument, caught.value.got, caught.value.allowed) == ("embedding", "'electric'", known)


def test_embeddings_that_do_not_work(registered: Marked) -> None:
    for name, target in (("gone", ":GONE"), ("absent", "no_such_package_at_all")):
        with pytest.raises(ParameterError) as caught:
            find_embedding(name)
        assert caught.value.argument == "embedding" and target in caught.value.got
    with pytest.raises(TypeError, match="'nothing'"):
        find_embedding("nothing")


def test_an_object_is_taken_as_it_is() -> None:
    case = peptide_in_water(waters=30)
    marked = Marked()
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), range(22), embedding=marked)
    assert hybrid.embedding is marked and len(marked.requests) == 1
    for wrong in (Mechanical, object(), None):
        with pytest.raises(ParameterError) as caught:
            create_hybrid_system(case.topology, case.system, zero_potential(), range(22), embedding=wrong)
        assert caught.value.argument == "embedding" and "Mechanical(" in caught.value.remedy


def test_options_of_a_named_embedding() -> None:
    assert find_embedding("mechanical", charge_scheme="rcd") == Mechanical(charge_scheme="rcd")
    with pytest.raises(ParameterError) as caught:
        find_embedding("mechanical", cutoff=1.0)
    assert caught.value.argument == "cutoff" and "charge_scheme" in caught.value.allowed
    for option, value in (("bonded_rule", "charmm"), ("charge_scheme", "z9")):
        with pytest.raises(ParameterError) as caught:
            Mechanical(**{option: value})
        assert (caught.value.argument, caught.value.got) == (option, repr(value))
