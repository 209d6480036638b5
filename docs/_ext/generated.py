"""Pages that are written from the program itself: its commands, the keys of a run file, results that tests left."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer
from sphinx.application import Sphinx


def commands() -> str:
    """Write the page of the command line."""
    from openmm_nn.cli.app import app

    root = typer.main.get_command(app)
    context = click.Context(root, info_name="openmm-nn")
    lines = ["# Command line", "", "Written from the program itself; `openmm-nn COMMAND --help` says the same.", ""]
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        lines += [f"## openmm-nn {name}", ""]
        help_text = (command.help or command.short_help or "").replace("\b", "").strip()
        lines += [paragraph(part) for part in help_text.split("\n\n")]
        rows = [row for parameter in command.params for row in describe(parameter, context)]
        if rows:
            lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def paragraph(text: str) -> str:
    """A paragraph; one that is a command becomes code."""
    joined = " ".join(text.split())
    return f"```bash\n{joined}\n```\n" if joined.startswith("openmm-nn ") else joined + "\n"


def describe(parameter: Any, context: click.Context) -> Iterator[str]:
    """One row of a parameter."""
    if parameter.name == "help" or getattr(parameter, "hidden", False):
        return
    text = " ".join((getattr(parameter, "help", None) or "").split())
    if parameter.param_type_name == "argument":
        yield f"| `{parameter.metavar or parameter.name.upper()}` | {text} |"
        return
    default = parameter.get_default(context)
    if default not in (None, False, "", ()) and not callable(default) and not parameter.required:
        text += f" Default: `{default}`."
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    yield f"| {names} | {text} |"


def keys() -> str:
    """Write the page of a run file's keys."""
    from openmm_nn.runs import SCHEMA

    lines = [
        "# Keys of a run file",
        "",
        "Written from the schema that checks run files; `openmm-nn run --schema` prints it as JSON.",
        "Quantities are a number and its unit, such as `0.5 fs`. **Bold**: must be given.",
        "",
    ]
    plain = {key: value for key, value in SCHEMA["properties"].items() if value.get("type") != "object"}
    sections = {key: value for key, value in SCHEMA["properties"].items() if key not in plain}
    lines += table(plain, SCHEMA["required"], "")
    for name, section in sections.items():
        lines += [f"## {name}", "", section["description"][0].upper() + section["description"][1:] + ".", ""]
        lines += table(section.get("properties", {}), section.get("required", []), "")
    return "\n".join(lines)


def table(properties: dict[str, Any], required: list[str], prefix: str) -> list[str]:
    """The rows of a section, those of sections inside it included."""
    rows = list(rows_of(properties, required, prefix))
    return ["| key | meaning | allowed | default |", "|---|---|---|---|", *rows, ""] if rows else []


def rows_of(properties: dict[str, Any], required: list[str], prefix: str) -> Iterator[str]:
    """One row a key."""
    for key, schema in properties.items():
        name = f"`{prefix}{key}`"
        name = f"**{name}**" if key in required else name
        yield f"| {name} | {schema.get('description', '')} | {allowed(schema)} | {default(schema)} |"
        if schema.get("properties"):
            yield from rows_of(schema["properties"], schema.get("required", []), f"{prefix}{key}.")


def allowed(schema: dict[str, Any]) -> str:
    """What a key may be, in words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "x-dimension" in schema:
        return f"a {schema['x-dimension']}, such as `{schema['examples'][0]}`"
    kind = {"boolean": "`true` or `false`", "integer": "a whole number", "number": "a number", "array": "a list",
            "object": "a mapping", "string": "text"}[schema["type"]]  # fmt: skip
    examples = schema.get("examples")
    return f"{kind}, such as `{examples[0]}`" if examples else kind


def default(schema: dict[str, Any]) -> str:
    """The default of a key."""
    value = schema.get("default")
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def long_runs(root: Path) -> str:
    """What long tests and measurements left in tests/reference, one table a file."""
    lines: list[str] = []
    for file in sorted((root / "tests" / "reference").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or "command" not in result:
            continue
        title = str(result.pop("what", file.stem))
        lines += [f"**{title[0].upper()}{title[1:]}** (`{result.pop('command')}`; `tests/reference/{file.name}`)", ""]
        lines += ["| | |", "|---|---|", *values(result, ""), ""]
    return "\n".join(lines) if lines else "None is kept.\n"


def values(result: dict[str, Any], prefix: str) -> Iterator[str]:
    """Rows of the numbers and words of a result; long lists are left to the file."""
    for key, value in result.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from values(value, f"{name}, ")
        elif isinstance(value, list):
            short = ", ".join(str(item) for item in value)
            yield f"| {name} | {short if len(short) < 80 else f'{len(value)} values'} |"
        elif key.endswith("sha256"):
            yield f"| {name} | `{str(value)[:12]}...` |"
        else:
            yield f"| {name} | {value} |"


def bundled(root: Path) -> str:
    """The errors of the bundled potential, from the file that its validation left."""
    result = json.loads((root / "openmm_nn" / "potentials" / "bundled" / "validation.json").read_text(encoding="utf-8"))
    errors = result["errors"]
    rows = [
        ("molecules that training never saw", errors["molecules"]),
        ("labels of these", errors["all"]["labels"]),
        ("force components, mean absolute error, kcal/mol/Å", errors["all"]["force_mae"]),
        ("their mean size, kcal/mol/Å", errors["all"]["force_mean_abs"]),
        ("energies against the molecule's median, mean absolute error, kcal/mol", errors["all"]["relative_energy_mae"]),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""])


def write(app: Sphinx) -> None:
    """Write the pages, if they have changed."""
    root = Path(app.srcdir).parent
    pages = {
        "reference/commands.md": commands(),
        "reference/run_file_keys.md": keys(),
        "_generated/long_runs.md": long_runs(root),
        "_generated/bundled.md": bundled(root),
    }
    (Path(app.srcdir) / "_generated").mkdir(exist_ok=True)
    for name, text in pages.items():
        file = Path(app.srcdir) / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
