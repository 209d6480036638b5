"""The examples in docstrings run as a reader would run them: with no names but their own, in an empty folder."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import openmm_nn


def modules() -> list[str]:
    """Every module of the package, and the wrapper of the extension."""
    found = [module.name for module in pkgutil.walk_packages(openmm_nn.__path__, "openmm_nn.")]
    found.append("openmm_nn_native")
    return [name for name in found if not name.startswith("openmm_nn.native.build.") and not name.endswith("__main__")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", modules())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name, globs={}):
        runner.run(test, out=report.append, clear_globs=True)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_there_are_examples() -> None:
    """The finder finds them: a change of its interface would make the test above pass without a look."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in modules() for test in finder.find(importlib.import_module(name), name)]
    assert sum(bool(test.examples) for test in examples) > 100
