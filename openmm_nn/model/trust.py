"""Which models that hold machine code may be run.

A TorchScript file (``.pt``) is run by libtorch's interpreter; a compiled package (``.pt2``) is a shared library, and
whoever wrote it can do with it what the user can do. It is run only if the hash of its bytes is trusted: by
`trust_hash`, by the environment variable ``OPENMM_NN_TRUST``, or because the user named the file or made it.
"""

from __future__ import annotations

import os
import re
from typing import Any

from .. import native
from ..errors import ModelError, ParameterError

__all__ = ["TRUST_VARIABLE", "check_trust", "is_trusted", "trust_hash"]

TRUST_VARIABLE = "OPENMM_NN_TRUST"
"""Environment variable that lists hashes, separated by spaces, commas or colons."""

_trusted: set[str] = set()


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
