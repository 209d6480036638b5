"""Checks that every observable makes of what it is given."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingDependencyError, ParameterError, ParticleError

if TYPE_CHECKING:
    import mdtraj
    from numpy.typing import ArrayLike, NDArray

__all__ = ["as_atoms", "as_series", "as_trajectory", "quiet_pymbar"]

_INSTALL = "pip install 'openmm-nn[analysis]'"


def as_series(name: str, values: ArrayLike, *, dimensions: int = 1, least: int = 2) -> NDArray[np.float64]:
    """Make an array of what should be numbers over time.

    Parameters
    ----------
    name
        Of the argument, for messages.
    values
        The numbers.
    dimensions
        How many axes the array must have; the first is time.
    least
        How many frames are needed.

    Returns
    -------
    numpy.ndarray
        float64.

    Raises
    ------
    ParameterError
        If the values are no numbers, are not finite, or have another shape.

    Examples
    --------
    >>> from openmm_nn.analysis.arrays import as_series
    >>> as_series("energy", [1, 2, 3])
    array([1., 2., 3.])
    """
    try:
        array = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            name, f"a {type(values).__name__}", f"an array with {dimensions} axes", "convert it to numbers"
        ) from error
    if array.ndim != dimensions or len(array) < least:
        raise ParameterError(
            name, f"shape {array.shape}", f"{dimensions} axes and {least} frames or more",
                    "give one row for each frame"
        )  # fmt: skip
    if not np.isfinite(array).all():
        frame = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ParameterError(
            name, f"{array[frame]} in frame {frame}", "finite numbers", "leave frames without a value out"
        )
    return array


def as_trajectory(trajectory: Any, *, atoms: int | None = None, argument: str = "traj") -> mdtraj.Trajectory:
    """Check that something is a trajectory, with as many atoms as expected.

    Parameters
    ----------
    trajectory
        An MDTraj trajectory.
    atoms
        How many atoms it must have; None for any number.
    argument
        Name of the argument, for messages.

    Returns
    -------
    mdtraj.Trajectory
        The same object.

    Raises
    ------
    ParameterError
        If it is none, or has no frame.
    ParticleError
        If it has another number of atoms.

    Examples
    --------
    >>> import mdtraj
    >>> from openmm_nn.analysis.arrays import as_trajectory
    >>> traj = mdtraj.Trajectory([[[0.0, 0.0, 0.0]]], None)
    >>> as_trajectory(traj, atoms=1) is traj
    True
    """
    if not (hasattr(trajectory, "xyz") and hasattr(trajectory, "unitcell_vectors")) or trajectory.n_frames == 0:
        got = "an empty trajectory" if hasattr(trajectory, "n_frames") else f"a {type(trajectory).__name__}"
        raise ParameterError(argument, got, "an mdtraj.Trajectory with a frame or more", "use mdtraj.load")
    if atoms is not None and trajectory.n_atoms != atoms:
        raise ParticleError(
            argument, f"{trajectory.n_atoms} atoms", f"{atoms}, as the System has particles",
                    "load all atoms, with the topology that the System was made from"
        )  # fmt: skip
    return trajectory


def as_atoms(traj: mdtraj.Trajectory, atoms: str | Iterable[int] | None, argument: str = "atoms") -> NDArray[np.int64]:
    """Return indices of atoms of a trajectory.

    Parameters
    ----------
    traj
        The trajectory.
    atoms
        An MDTraj selection, indices, or None for all.
    argument
        Name of the argument, for messages.

    Returns
    -------
    numpy.ndarray
        (n,) int64.

    Raises
    ------
    ParticleError
        If there is no such atom, or a selection is not understood.

    Examples
    --------
    >>> import mdtraj
    >>> from openmm_nn.analysis.arrays import as_atoms
    >>> as_atoms(mdtraj.Trajectory([[[0.0, 0.0, 0.0]] * 3], None), [2, 0])
    array([2, 0])
    """
    if atoms is None:
        return np.arange(traj.n_atoms)
    if isinstance(atoms, str):
        from ..selection import select_atoms

        if traj.topology is None:
            raise ParticleError(argument, repr(atoms), "indices, as there is no topology", "give indices")
        return np.array(select_atoms(traj.topology.to_openmm(), atoms, argument=argument), dtype=np.int64)
    indices = np.array([int(atom) for atom in atoms], dtype=np.int64)
    if not len(indices) or indices.min() < 0 or indices.max() >= traj.n_atoms:
        got = f"index {indices.max() if indices.min() >= 0 else indices.min()}" if len(indices) else "no atom"
        raise ParticleError(argument, got, f"0 to {traj.n_atoms - 1}", "count the trajectory's atoms from 0")
    return indices


def quiet_pymbar(part: str = "") -> Any:
    """Import pymbar, or a part of it, without the notes that it logs while it is imported.

    Parameters
    ----------
    part
        Such as ``timeseries``.

    Returns
    -------
    module
        pymbar, or the part.

    Raises
    ------
    MissingDependencyError
        If pymbar is not installed.

    Examples
    --------
    >>> from openmm_nn.analysis.arrays import quiet_pymbar
    >>> quiet_pymbar("timeseries").__name__
    'pymbar.timeseries'
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return importlib.import_module(f"pymbar.{part}" if part else "pymbar")
    except ImportError as error:
        raise MissingDependencyError(
            "statistics", f"an error when pymbar was imported ({error})", "pymbar >= 4", _INSTALL
        ) from error
    finally:
        logging.disable(before)
