"""The conda recipe and environment, as far as they can be checked without a channel: parsed, rendered, compared."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import openmm_nn
from tests import ROOT

pytestmark = pytest.mark.process

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# conda-forge's names where they are not those of PyPI
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "jinja2": "jinja2"}


def names(requirements: list[str]) -> dict[str, str]:
    """Name and condition of each requirement."""
    found = {}
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9_.-]+)\s*(.*)", requirement)
        assert match, requirement
        found[match[1].lower()] = match[2].replace(" ", "")
    return found


@pytest.fixture
def rendered() -> dict[str, Any]:
    """The recipe as rattler-build renders it for Linux."""
    rattler_build = pytest.importorskip("rattler_build", reason="py-rattler-build is not installed")
    from rattler_build.tool_config import PlatformConfig

    recipe = rattler_build.Stage0Recipe.from_file(ROOT / "conda" / "recipe.yaml")
    platform = PlatformConfig(target_platform="linux-64")
    # Of conda-forge's pinning, what the recipe asks for.
    pinning = rattler_build.VariantConfig({"python": ["3.11.*"], "c_stdlib": ["sysroot"], "c_stdlib_version": ["2.28"]})
    variants = recipe.render(pinning, rattler_build.RenderConfig(platform=platform))
    assert len(variants) == 1
    result: dict[str, Any] = variants[0].recipe.to_dict()
    return result


def test_rattler_build_renders_the_recipe(rendered: dict[str, Any]) -> None:
    assert rendered["package"]["name"] == PROJECT["name"]
    assert str(rendered["package"]["version"]) == openmm_nn.__version__
    assert rendered["about"]["license"] == PROJECT["license"]


def test_a_mistake_in_the_recipe_is_found(tmp_path: Path) -> None:
    rattler_build = pytest.importorskip("rattler_build", reason="py-rattler-build is not installed")
    text = (ROOT / "conda" / "recipe.yaml").read_text().replace("requirements:", "requirments:")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(rattler_build.RattlerBuildError, match="requirments"):
        rattler_build.Stage0Recipe.from_file(tmp_path / "recipe.yaml")


def test_the_recipe_needs_what_the_package_needs() -> None:
    recipe = YAML(typ="safe").load((ROOT / "conda" / "recipe.yaml").read_text())
    lines = [re.sub(r'\$\{\{ pin_compatible\("([^"]+)".*', r"\1", line) for line in recipe["requirements"]["run"]]
    run, host = names(lines), names(recipe["requirements"]["host"])
    for name, condition in names(PROJECT["dependencies"]).items():
        conda = CONDA.get(name, name)
        assert conda in run, name
        if conda in ("openmm", "pytorch"):  # pinned to the minor version that the binary is built against
            assert host[conda] == ""
        else:
            assert run[conda] == condition, name


def test_the_environment_has_what_the_package_needs() -> None:
    environment = YAML(typ="safe").load((ROOT / "environment.yml").read_text())
    dependencies = environment["dependencies"]
    conda = names([item for item in dependencies if isinstance(item, str)])
    pip = names(next(item["pip"] for item in dependencies if isinstance(item, dict)))
    for name, condition in names(PROJECT["dependencies"]).items():
        found = {**conda, **pip}
        assert CONDA.get(name, name) in found, name
        assert found[CONDA.get(name, name)] == condition, name
    for name in names(PROJECT["optional-dependencies"]["build"]):
        assert name in conda, name
