"""Fixtures of the tests of the bundled potential."""

from __future__ import annotations

import numpy as np
import pytest

from tests.potentials.bundled.bundled_support import MODEL, Kept
from training.model import Committee, read


@pytest.fixture(scope="session")
def kept() -> Kept:
    data = np.load(MODEL.parent / "labels_sample.npz")
    return Kept(**{name: data[name] for name in Kept.__dataclass_fields__})


@pytest.fixture(scope="session")
def single() -> Committee:
    """The bundled potential in float32, as it is shipped."""
    return read(MODEL)


@pytest.fixture(scope="session")
def double() -> Committee:
    """The bundled potential in float64."""
    return read(MODEL).double()
