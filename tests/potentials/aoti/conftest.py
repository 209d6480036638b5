"""Fixtures of the tests of compiled packages. Each package takes about ten seconds to compile, so they are few."""

import pytest

from tests.potentials.aoti.packages import Packages


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The compiled potentials, made once a session."""
    return Packages(tmp_path_factory.mktemp("packages"))
