"""Which models that hold machine code may be run.

A TorchScript file (``.pt``) is run by libtorch's interpreter; a compiled package (``.pt2``) is a shared library, and
whoever wrote it can do with it what the user can do. It is run only if the hash of its bytes is trusted: by
`trust_hash`, by the environment variable ``OPENMM_NN_TRUST``, or because the user named the file or made it.

A pickled potential is named by nobody who unpickles it, whatever its kind: it is restored if its hash is trusted or
known to this user. The hashes of what a user has loaded by name, exported or pickled are kept in a file in the user's
data directory, so that the workers of the same user know them.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from .. import native
from ..errors import ModelError, ParameterError

__all__ = [
    "TRUST_VARIABLE",
    "check_trust",
    "is_known",
    "is_trusted",
    "known_hashes_file",
    "remember_hash",
    "trust_hash",
]

logger = logging.getLogger(__name__)

TRUST_VARIABLE = "OPENMM_NN_TRUST"
"""Environment variable that lists hashes, separated by spaces, commas or colons."""

_trusted: set[str] = set()
_remembered: set[str] = set()


def trust_hash(sha256: str) -> None:
    """Trust a model that holds machine code (a compiled package, ``.pt2``), for this process.

    A System read from XML has its model inside. If that is a compiled package, a Context is made only when its hash is
    trusted: whoever wrote the XML could otherwise run anything with your rights. A package that `load_potential` is
    given by its path, or that `export_potential` has written, is trusted by that.

    Parameters
    ----------
    sha256
        Hash of the file's bytes, in hexadecimal: `Potential.sha256`, ``sha256sum model.pt2``, or what the error
        message names, once you know that it is the right one.

    Raises
    ------
    ParameterError
        If it is no such hash.

    Examples
    --------
    >>> from openmm_nn import trust_hash
    >>> trust_hash("0" * 64)
    """
    given: Any = sha256
    if not isinstance(given, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", given):
        raise ParameterError("sha256", repr(sha256), "64 hexadecimal digits", "give Potential.sha256")
    _trusted.add(sha256.lower())
    if native.available():
        native.load().NeuralForce.trustHash(sha256)


def is_trusted(sha256: str) -> bool:
    """Return whether a model with this hash may be run.

    Parameters
    ----------
    sha256
        Hash of the file's bytes, in hexadecimal.

    Returns
    -------
    bool
        Whether it is trusted.

    Examples
    --------
    >>> from openmm_nn import trust_hash
    >>> from openmm_nn.model.trust import is_trusted
    >>> trust_hash("0" * 64)
    >>> is_trusted("0" * 64)
    True
    """
    listed = re.split(r"[\s,:;]+", os.environ.get(TRUST_VARIABLE, "").lower())
    return sha256.lower() in _trusted or sha256.lower() in listed


def check_trust(sha256: str, name: str) -> None:
    """Raise an error unless a model may be run.

    Parameters
    ----------
    sha256
        Hash of the file's bytes, in hexadecimal.
    name
        Name of the potential.

    Raises
    ------
    ModelError
        If its hash is not trusted.
    """
    if not is_trusted(sha256):
        raise ModelError(
            f"potential {name!r}", f"a compiled package (.pt2) whose hash is not trusted: {sha256}",
                    "packages that you trust, since machine code can do whatever you can do",
                    f"if you know where it comes from, openmm_nn.trust_hash({sha256!r}), or set {TRUST_VARIABLE} to it"
        )  # fmt: skip


def known_hashes_file() -> Path:
    """Return the file that holds the hashes of the models that this user has named, one on a line.

    Returns
    -------
    pathlib.Path
        In ``$XDG_DATA_HOME``, or where the system keeps data of users.

    Examples
    --------
    >>> from openmm_nn.model.trust import known_hashes_file
    >>> known_hashes_file().name
    'known-hashes'
    """
    if os.environ.get("XDG_DATA_HOME"):
        root = Path(os.environ["XDG_DATA_HOME"])
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "share")
    return root / "openmm_nn" / "known-hashes"


def _written_hashes() -> set[str]:
    try:
        return set(known_hashes_file().read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return set()


def remember_hash(sha256: str) -> None:
    """Write down that this user has named a model: loaded it by its name, exported it, or pickled it.

    Where the file cannot be written, this process remembers it.

    Parameters
    ----------
    sha256
        Hash of the file's bytes, in hexadecimal.
    """
    if sha256 in _remembered:
        return
    _remembered.add(sha256)
    if sha256 in _written_hashes():
        return
    path = known_hashes_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as file:
            file.write(f"{sha256}\n")
    except OSError as error:
        logger.info("the hash of a model cannot be written to %s (%s); only this process knows it", path, error)


def is_known(sha256: str) -> bool:
    """Return whether this user has named a model with this hash, in this process or before, or trusts it.

    Parameters
    ----------
    sha256
        Hash of the file's bytes, in hexadecimal.

    Returns
    -------
    bool
        Whether it is known.

    Examples
    --------
    >>> from openmm_nn.model.trust import is_known
    >>> is_known("1" * 64)
    False
    """
    return sha256 in _remembered or is_trusted(sha256) or sha256 in _written_hashes()
