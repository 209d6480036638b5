"""The public calls: their names, the order of their arguments, how many there are, and how objects show themselves."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import openmm_nn

ROOMS = ("", "analysis", "checks", "dynamics", "report", "runs", "bench", "testing", "systems.hybrid")
MOST = 15
# One order: these stand before what comes later in this line, where a call has both.
ORDER = ("topology", "system", "potential", "region", "positions")
# Records of everything that can be said of a model, or written into a run file: nobody gives them by their place.
RECORDS = {"ModelCard", "RunFile"}
SIGNATURES = {
    "select_region": (
        "topology, system, selection, *, expand=None, link='fixed', link_distances=None, allow_cuts=()"
    ),
    "load_potential": "source, *, card=None, device=None, trust=False",
    "available_potentials": "",
    "trust_hash": "sha256",
}
BEGINNINGS = {
    "add_neural_force": "topology, system, potential, region=None, *",
    "create_hybrid_system": "topology, system, potential, region, *, embedding='mechanical', interpolate=False",
    "create_system": "topology, potential, positions=None, *, charge=None",
    "export_potential": "module, path, card, *",
    "preflight": "topology, potential, positions, region=None, *",
    "tune": "system, positions, platform, *",
    "Potential.create_force": "self, topology=None, region=None, *",
    "Potential.evaluate": "self, positions, atomic_numbers=None, *, box=None, charge=0, multiplicity=1",
    "Potential.save": "self, path",
    "HybridSystem.boundary_report": "self",
    "HybridSystem.ledger": "self, positions, box=None, *",
}


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function, and every public method of a public class, each once."""
    seen = set()
    for room in ROOMS:
        module = importlib.import_module(f"openmm_nn.{room}" if room else "openmm_nn")
        for name in module.__all__:
            found = getattr(module, name)
            if not callable(found) or id(found) in seen:
                continue
            seen.add(id(found))
            yield name, found
            if inspect.isclass(found):
                for method, value in vars(found).items():
                    function = getattr(value, "__func__", value)
                    if not method.startswith("_") and inspect.isfunction(function):
                        yield f"{name}.{method}", function


PUBLIC = dict(public())


def written(function: Callable[..., Any]) -> str:
    """A signature without types, as one would write it."""
    parts, keywords = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            parts.append("*")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        parts.append(f"{parameter.name}{default}")
    return ", ".join(parts)


def find(name: str) -> Any:
    found: Any = openmm_nn
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name, wanted", SIGNATURES.items())
def test_signatures(name: str, wanted: str) -> None:
    assert written(find(name)) == wanted


@pytest.mark.parametrize("name, wanted", BEGINNINGS.items())
def test_beginnings_of_signatures(name: str, wanted: str) -> None:
    assert written(find(name)).startswith(wanted)


def test_options_of_embeddings() -> None:
    wanted = "bonded_rule='capped', charge_scheme='none', long_range=None, periodic=False, subtract_region=None"
    assert written(openmm_nn.Mechanical) == wanted


def test_top_level_names() -> None:
    names = {"Evaluation", "HybridSystem", "Link", "Mechanical", "ModelCard", "OpenMMNNError", "Potential", "Region"}
    assert names | set(SIGNATURES) | {name for name in BEGINNINGS if "." not in name} <= set(openmm_nn.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_at_most_fifteen_parameters(name: str) -> None:
    if name not in RECORDS:
        assert len(inspect.signature(PUBLIC[name]).parameters) <= MOST


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(PUBLIC[name])])
def test_order_of_arguments(name: str) -> None:
    """Of those that can be given by their place."""
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    given = [each.name for each in parameters if each.name in ORDER and each.kind is not each.KEYWORD_ONLY]
    if name != "preflight":  # whose region may be left out
        assert given == sorted(given, key=ORDER.index)


@pytest.mark.parametrize("name", PUBLIC)
def test_one_word_and_one_form(name: str) -> None:
    """A region is a region, not atoms; a platform is given by its name or as it is, with properties beside it."""
    parameters = inspect.signature(PUBLIC[name]).parameters
    assert not {"topology_or_numbers", "platform_name", "platform_properties"} & set(parameters)
    if inspect.isfunction(PUBLIC[name]):
        assert "atoms" not in parameters or parameters["atoms"].annotation == "int", "a number of atoms is none"
        if "platform" in parameters:
            assert str(parameters["platform"].annotation) in ("PlatformLike", "PlatformLike | None")


@pytest.mark.parametrize("name", [name for name in PUBLIC if "." not in name and inspect.isclass(PUBLIC[name])])
def test_classes_say_what_they_are(name: str) -> None:
    """No object shows itself as an address."""
    if not issubclass(PUBLIC[name], Exception) and not getattr(PUBLIC[name], "_is_protocol", False):
        assert PUBLIC[name].__repr__ is not object.__repr__


@pytest.mark.parametrize("name", ["HybridSystem", "Potential", "Region"])
def test_tables_in_a_notebook(name: str) -> None:
    assert callable(getattr(openmm_nn, name)._repr_html_)


def test_each_public_call_has_an_example() -> None:
    """Of the top level; doctests run them."""
    functions = [getattr(openmm_nn, name) for name in openmm_nn.__all__ if inspect.isfunction(getattr(openmm_nn, name))]
    assert [function.__name__ for function in functions if ">>>" not in (function.__doc__ or "")] == []
