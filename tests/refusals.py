"""How an error of the package must read."""

import re
from collections.abc import Callable

import openmm as mm
import pytest

from openmm_nn.errors import OpenMMNNError


def refused(action: Callable[[], object], *words: str) -> None:
    """The action raises one of our errors, with all four parts and with these words (regular expressions)."""
    with pytest.raises((OpenMMNNError, mm.OpenMMException)) as info:
        action()
    said = str(info.value)
    for part in (r"allowed|must|should|only|there (is|are)", r"To fix|[.;] (then )?[A-Za-z]+ \w+"):
        assert re.search(part, said), f"no {part!r} in: {said}"
    for word in words:
        assert re.search(word, said), f"no {word!r} in: {said}"
