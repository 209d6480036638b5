"""OpenMM's platforms, by name or as they are."""

from __future__ import annotations

from typing import TypeAlias

import openmm

from .errors import ParameterError

__all__ = ["PlatformLike", "find_platform"]

PlatformLike: TypeAlias = str | openmm.Platform
"""What every call takes for a platform: its name, or the platform."""


def find_platform(platform: PlatformLike, *, argument: str = "platform") -> openmm.Platform:
    """Return a platform of OpenMM.

    Parameters
    ----------
    platform
        Its name, or the platform.
    argument
        Name of the argument, for messages.

    Returns
    -------
    openmm.Platform
        The platform.

    Raises
    ------
    ParameterError
        If this OpenMM does not have it.

    Examples
    --------
    >>> from openmm_nn.platforms import find_platform
    >>> find_platform("Reference").getName()
    'Reference'
    """
    if isinstance(platform, openmm.Platform):
        return platform
    known = [openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())]
    if platform not in known:
        raise ParameterError(
            argument, repr(platform), f"an openmm.Platform, or a name: {', '.join(known)}", "choose one of these"
        )
    return openmm.Platform.getPlatformByName(platform)
