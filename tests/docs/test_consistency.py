"""What README, changelog, citation and documentation say is what the package is."""

import ast
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from ruamel.yaml import YAML

import openmm_nn
import openmm_nn.analysis
import openmm_nn.report
import openmm_nn.runs
from openmm_nn.cli.app import app
from tests import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = ("commands.md", "run_file_keys.md")  # by the build of the documentation
PAGES = [page for page in PAGES if not {"_build", "_generated"} & set(page.parts) and page.name not in WRITTEN]
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """Pages and blocks of code of a kind."""
    for page in PAGES:
        for match in FENCE.finditer(page.read_text(encoding="utf-8")):
            if match[2].strip() == kind:
                yield page.name, textwrap.dedent(match[3])


def commands() -> list[tuple[str, str]]:
    """Every call of openmm-nn in blocks of shell commands."""
    found = []
    for page, text in blocks("bash"):
        for line in text.splitlines():
            for part in line.split("&&"):
                words = part.split(" # ")[0].strip()
                if words.startswith("openmm-nn "):
                    found.append((page, words))
    return found


def test_versions() -> None:
    version = openmm_nn.__version__
    assert YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())["version"] == version
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## .*{re.escape(version)}", changelog, re.MULTILINE)
    assert f"Version {version}" in (ROOT / "README.md").read_text()
    recipe = YAML(typ="safe").load((ROOT / "conda" / "recipe.yaml").read_text())
    assert str(recipe["context"]["version"]) == version


def test_licence() -> None:
    assert YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())["license"] == "MIT"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


@pytest.mark.parametrize("page, command", commands(), ids=lambda value: value.replace(" ", "_"))
def test_commands_exist(page: str, command: str) -> None:
    """Each is parsed as the program would parse it, and not run."""
    words = shlex.split(command.split(">")[0])[1:]
    words = [word for word in words if word not in ("--help", "-h")]
    root: Any = typer.main.get_command(app)
    inner = root.get_command(click.Context(root), words[0])
    assert inner is not None, f"{page}: {command}"
    if words[0] != "bench":
        inner.make_context(words[0], words[1:]).close()


def test_there_are_commands() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("page, text", list(blocks("python")), ids=lambda value: value[:12])
def test_python_is_python(page: str, text: str) -> None:
    """Blocks that are not run; `...` may stand for arguments."""
    ast.parse(text.replace("(..., ", "(None, ").replace("...,\n", ""), page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        found = page.parent / target
        assert found.exists() or found.name in WRITTEN, f"{page.name}: {target}"


def test_pictures_are_small() -> None:
    pictures = [path for path in (ROOT / "docs").rglob("*.png") if "_build" not in path.parts]
    assert len(pictures) > 3
    assert [path.name for path in pictures if path.stat().st_size > 100_000] == []


@pytest.mark.parametrize("module", [openmm_nn, openmm_nn.runs, openmm_nn.analysis, openmm_nn.report])
def test_public_names_are_in_the_reference(module: object) -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    documented = set(re.findall(r"\.\. auto(?:function|class):: (\w+)", pages))
    exempt = {"__version__", "OpenMMNNError", "SCHEMA"}
    assert set(module.__all__) - documented - exempt == set()  # type: ignore[attr-defined]
