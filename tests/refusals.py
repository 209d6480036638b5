"""What a test asks of an error: its class, the argument it is about, and what it says of the other three parts.

A test names data (numbers, names of atoms, options, files), never sentences. Sentences are in test_messages.py.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import openmm as mm
import pytest

from openmm_nn.errors import OpenMMNNError

Pieces = str | re.Pattern[str] | tuple[str | re.Pattern[str], ...]


def parts(text: str) -> tuple[str, str, str, str]:
    """Split the text of an error, as C++ and the command line give it, into argument, got, allowed and remedy."""
    argument, got, rest = text.strip().partition(": got ")
    received, allowed, rest = rest.partition("; allowed: ")
    permitted, fix, remedy = rest.rpartition(". To fix: ")
    assert got and allowed and fix, f"no four parts in: {text}"
    return argument, received, permitted, remedy.removesuffix(".")


@contextmanager
def refusal(
    kind: type[Exception] | tuple[type[Exception], ...],
    argument: str | re.Pattern[str],
    *,
    got: Pieces = (),
    allowed: Pieces = (),
    remedy: Pieces = (),
    anywhere: Pieces = (),
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error of this class about this argument, with these pieces, as whole words, in its other parts."""
    with pytest.raises(kind) as info:
        yield info
    check_parts(info.value, argument, got=got, allowed=allowed, remedy=remedy, anywhere=anywhere)


def check_parts(
    error: Exception | str,
    argument: str | re.Pattern[str],
    *,
    got: Pieces = (),
    allowed: Pieces = (),
    remedy: Pieces = (),
    anywhere: Pieces = (),
) -> None:
    """Compare the four parts of an error, or of the text of one."""
    if isinstance(error, OpenMMNNError):
        found = (error.argument, error.got, error.allowed, error.remedy)
    else:
        assert isinstance(error, str | mm.OpenMMException), f"not an error of the package: {error!r}"
        found = parts(str(error))
    same = argument.fullmatch(found[0]) if isinstance(argument, re.Pattern) else argument == found[0]
    assert same, f"the argument is {found[0]!r}, not {argument!r}: {error}"
    assert all(part.strip() for part in found), f"an empty part in: {error}"
    assert not found[3].endswith("."), f"the remedy ends in a period: {error}"
    for part, pieces in zip((*found[1:], "\n".join(found)), (got, allowed, remedy, anywhere), strict=True):
        for piece in (pieces,) if isinstance(pieces, str | re.Pattern) else pieces:
            assert _holds(part, piece), f"no {piece!r} in {part!r} of: {error}"


def _holds(text: str, piece: str | re.Pattern[str]) -> bool:
    if isinstance(piece, re.Pattern):
        return piece.search(text) is not None
    start = r"(?<![\w.])" if piece[:1].isdigit() else r"(?<!\w)" if piece[:1].isalnum() else ""
    end = r"(?!\w)" if piece[-1:].isalnum() else ""
    return re.search(start + re.escape(piece) + end, text) is not None


def refused(action: Callable[[], object], *words: str) -> None:
    """The action raises one of our errors, with all four parts and with these words (regular expressions)."""
    with pytest.raises((OpenMMNNError, mm.OpenMMException)) as info:
        action()
    said = str(info.value)
    for part in (r"allowed|must|should|only|there (is|are)", r"To fix|[.;] (then )?[A-Za-z]+ \w+"):
        assert re.search(part, said), f"no {part!r} in: {said}"
    for word in words:
        assert re.search(word, said), f"no {word!r} in: {said}"
