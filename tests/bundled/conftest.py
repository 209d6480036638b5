"""Fixtures of the tests of the bundled potential."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
# The training scripts are not installed with the package; the helpers of these tests lie beside them.
for folder in (HERE, HERE.parents[1]):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from bundled_support import MODEL, Kept  # noqa: E402

from training.model import Committee, read  # noqa: E402


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
