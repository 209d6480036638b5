"""Habits of the package's code that a reader relies on, checked on its syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_rooms import PACKAGE, files

TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files().items()}
FRAMES = {"errors", "engine.python_force"}  # the second goes with its engine
# A name that a user gives, and the words for a person: neither tells what a force is.
NAMES = {f"systems.hybrid.named_forces.{name}" for name in ("resolve_names", "_matches", "handle")}
NAMES.add("systems.hybrid.nonbonded.force_label")


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions and methods with their names."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node


@pytest.mark.parametrize("name", TREES)
def test_no_module_is_callable(name: str) -> None:
    """No class of modules, and no module that changes its own class."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ClassDef):
            assert "ModuleType" not in {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            assert node.attr != "__class__"
    assert "__call__" not in {node.name for node in TREES[name].body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", TREES)
def test_no_frames_are_looked_at(name: str) -> None:
    if name in FRAMES:
        return
    for node in ast.walk(TREES[name]):
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        assert text not in ("sys._getframe", "inspect.stack", "inspect.currentframe", "sys._current_frames")


def room(name: str) -> str:
    """The room of a module: its folder, or the module on the ground."""
    return name.partition(".")[0]


def private_names(tree: ast.Module) -> set[str]:
    """Private names that a module gives to attributes, functions, methods and fields."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {each for each in found if each.startswith("_") and not each.startswith("__")}


# OpenMM's quantities keep their number there.
FOREIGN = {"_value"}
GIVEN: dict[str, set[str]] = {}
for _name, _tree in TREES.items():
    for _private in private_names(_tree):
        GIVEN.setdefault(_private, set()).add(room(_name))


@pytest.mark.parametrize("name", TREES)
def test_no_private_attribute_of_another_room(name: str) -> None:
    """`x._source`, where this package gives that name in other rooms only."""
    wrong = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute)
        and node.attr in GIVEN.keys() - FOREIGN
        and room(name) not in GIVEN[node.attr]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in TREES if room(name) in ("systems", "dynamics", "analysis")])
def test_no_force_is_known_by_its_name(name: str) -> None:
    """What a force is called is for people: it is not compared, searched or taken apart."""
    for function, node in functions(TREES[name]):
        if f"{name}.{function}" in NAMES:
            continue
        for inner in ast.walk(node):
            tests = (
                [inner.left, *inner.comparators]
                if isinstance(inner, ast.Compare)
                else [inner.func.value]
                if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute)
                else []
            )
            for test in tests:
                named = isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute)
                assert not (named and test.func.attr == "getName" and not _of_a_platform(test.func.value)), (
                    f"{name}.{function}, line {inner.lineno}: {ast.unparse(inner)}"
                )


def _of_a_platform(value: ast.expr) -> bool:
    text = ast.unparse(value).lower()
    return "platform" in text or text == "chosen"


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_no_paths_are_added_by_tests(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and path != Path(__file__):
            assert not ast.unparse(node.func).startswith("sys.path.")


def test_the_trees_are_those_of_the_package() -> None:
    assert len(TREES) > 150 and PACKAGE.name == "openmm_nn"
