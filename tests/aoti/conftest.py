"""Fixtures of the tests of compiled packages. Each package takes about ten seconds to compile, so they are few."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from packages import Packages  # noqa: E402


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The compiled potentials, made once a session."""
    return Packages(tmp_path_factory.mktemp("packages"))
