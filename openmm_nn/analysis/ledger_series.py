"""The ledger over time: every term of a hybrid's energy in each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..platforms import PlatformLike
from .arrays import as_trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..systems.hybrid import HybridSystem

__all__ = ["LedgerSeries", "compute_ledger"]


@dataclass(frozen=True)
class LedgerSeries:
    """The terms of a hybrid's energy over time.

    Parameters
    ----------
    time
        (n_frames,) float64, ps.
    terms
        Name of a term, as `openmm_nn.systems.hybrid.ledger` lists them, to (n_frames,) float64, kJ/mol.
    total
        (n_frames,) float64, kJ/mol: OpenMM's own.
    """

    time: NDArray[np.float64]
    terms: dict[str, NDArray[np.float64]]
    total: NDArray[np.float64]

    @property
    def residual(self) -> NDArray[np.float64]:
        """What the terms miss of OpenMM's total, kJ/mol."""
        return np.asarray(self.total - sum(self.terms.values()))


def compute_ledger(
    traj: Any, hybrid: HybridSystem, *, platform: PlatformLike = "CPU", properties: Mapping[str, str] | None = None
) -> LedgerSeries:
    """Evaluate the ledger of every frame.

    Parameters
    ----------
    traj
        mdtraj.Trajectory of all particles; a frame costs about ten evaluations of the energy, so `traj[::10]` may do.
    hybrid
        The hybrid System.
    platform
        An OpenMM platform, or its name.
    properties
        Of the platform.

    Returns
    -------
    LedgerSeries
        `HybridSystem.ledger` over time.

    Raises
    ------
    ParticleError
        If the trajectory has another number of atoms than the System has particles.
    UnsupportedError
        If bonds of the region were made constraints, so that their classical energy is not known.

    Examples
    --------
    >>> import mdtraj, openmm
    >>> from openmm import app
    >>> from openmm_nn import create_hybrid_system, load_potential
    >>> from openmm_nn.analysis import compute_ledger
    >>> topology, system, force = app.Topology(), openmm.System(), openmm.NonbondedForce()
    >>> chain = topology.addChain()
    >>> for _ in range(3):
    ...     atom = topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
    ...     particle = force.addParticle(0.0, 0.34, 1.0), system.addParticle(39.9)
    >>> number = system.addForce(force)
    >>> spring = load_potential(lambda x: ((x[0] - x[1]) ** 2).sum())
    >>> hybrid = create_hybrid_system(topology, system, spring, [0, 1])
    >>> traj = mdtraj.Trajectory([[[0, 0, 0], [2, 0, 0], [0, 0.4, 0]]], mdtraj.Topology.from_openmm(topology))
    >>> compute_ledger(traj, hybrid, platform="Reference").terms["NN"]
    array([4.])
    """
    traj = as_trajectory(traj, atoms=hybrid.system.getNumParticles())
    ledger = hybrid.ledger(traj, platform=platform, properties=properties)
    terms = {name: np.atleast_1d(np.asarray(value, dtype=np.float64)) for name, value in ledger.terms.items()}
    return LedgerSeries(np.asarray(traj.time, dtype=np.float64), terms, np.atleast_1d(np.asarray(ledger.total)))
