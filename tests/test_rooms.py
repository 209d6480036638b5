"""The rooms of the package: which may import which, and that no two files share a name."""

import ast
import collections
import pathlib

import openmm_nn

PACKAGE = pathlib.Path(openmm_nn.__file__).resolve().parent
# From the ground up: a file imports from its own row and from the rows before it.
FLOORS = (
    ("_version", "errors", "units"),
    ("geometry", "selection", "disk", "native", "tables", "platforms"),
    ("model",),
    ("engine",),
    ("potentials",),
    ("testing", "systems"),
    ("dynamics",),
    ("checks",),
    ("analysis",),
    ("runs",),
    ("report",),
    ("bench",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def files() -> dict[str, pathlib.Path]:
    """Every module of the package by its dotted name, without the name of the package itself."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if "build" in parts[:-1]:
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: pathlib.Path, modules: dict[str, pathlib.Path]) -> set[str]:
    """The modules that a module imports, inside functions too, but not those that only a type checker reads."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and isinstance(test.test, ast.Name) and test.test.id == "TYPE_CHECKING"
        for body in test.body
        for node in ast.walk(body)
    }
    here = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node in typing:
            continue
        if node.level:
            start = here[: len(here) - node.level + 1]
            target = ".".join([*start, *(node.module or "").split(".")]).strip(".")
        elif (node.module or "").split(".")[0] == "openmm_nn":
            target = (node.module or "").partition(".")[2]
        else:
            continue
        for alias in node.names:
            inner = f"{target}.{alias.name}".strip(".")
            found.add(inner if inner in modules else target)
    return found - {""}


def test_every_room_has_a_floor() -> None:
    """A new room is given its place here."""
    assert {name.split(".")[0] for name in files()} - {""} == set(LEVEL)


def test_no_import_goes_up() -> None:
    """What lies lower does not know what lies higher."""
    modules = files()
    wrong = [
        f"{name} imports {target}"
        for name, path in modules.items()
        if name
        for target in imports(name, path, modules)
        if LEVEL[target.split(".")[0]] > LEVEL[name.split(".")[0]]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circles() -> None:
    """No file imports itself by way of others."""
    modules = files()
    graph = {name: imports(name, path, modules) for name, path in modules.items() if name}
    state: dict[str, int] = {}

    def visit(name: str, way: tuple[str, ...]) -> None:
        state[name] = 1
        for target in sorted(graph.get(name, ())):
            assert state.get(target) != 1, " -> ".join([*way[way.index(target) :], target])
            if target not in state:
                visit(target, (*way, target))
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, (name,))


def test_no_two_files_share_a_name() -> None:
    """A name tells which file is meant; nor has a file the name of a room."""
    stems = collections.Counter(
        name.split(".")[-1] for name, path in files().items() if name and path.stem != "__main__"
    )
    assert not {stem: count for stem, count in stems.items() if count > 1}
