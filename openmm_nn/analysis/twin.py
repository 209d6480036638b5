"""Two runs side by side: the hybrid and its classical twin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import as_trajectory
from .averages import Average, compute_average
from .structure import RadialDistribution, StructureSummary, compute_structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Difference", "TwinComparison", "compute_twin_comparison"]

_BINS = 36


@dataclass(frozen=True)
class Difference:
    """An observable in two runs.

    Parameters
    ----------
    first, second
        Its averages.
    """

    first: Average
    second: Average

    @property
    def value(self) -> float:
        """Mean of the first less that of the second."""
        return self.first.mean - self.second.mean

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return float(np.hypot(self.first.error, self.second.error))

    @property
    def significance(self) -> float:
        """The difference in units of its standard error; beyond 3 either way it is not chance."""
        return 0.0 if self.error == 0 else self.value / self.error


@dataclass(frozen=True)
class TwinComparison:
    """Two trajectories compared.

    Parameters
    ----------
    first, second
        What MDTraj sees in each.
    differences
        Observable (``rmsd``, of both to the first frame of the first; ``rg``, ``sasa``, ``hydrogen bonds within`` and
        so on) to its averages, in the unit of `StructureSummary`.
    dihedrals
        Dihedral to the Jensen-Shannon divergence of its two distributions: 0 for the same, ln 2 = 0.693 for disjoint
        ones.
    rdf
        The radial distributions of water, of the first and the second; None where either has none.
    """

    first: StructureSummary
    second: StructureSummary
    differences: dict[str, Difference]
    dihedrals: dict[str, float]
    rdf: tuple[RadialDistribution, RadialDistribution] | None


def compute_twin_comparison(
    traj: Any, twin: Any, region: str | Iterable[int] | None = None, *, equilibrate: bool = False
) -> TwinComparison:
    """Compare a run with its classical twin, or any two runs of the same atoms.

    Parameters
    ----------
    traj, twin
        mdtraj.Trajectory, of the same atoms.
    region
        An MDTraj selection or atom indices; all atoms by default.
    equilibrate
        Leave out the start of each series that has not equilibrated.

    Returns
    -------
    TwinComparison
        Observables side by side. Errors allow for correlation in time, but both runs must have seen every state:
        a barrier that neither crossed shows in no error.

    Raises
    ------
    ParticleError
        If the trajectories differ in their number of atoms.

    Examples
    --------
    >>> import mdtraj, numpy as np
    >>> from openmm_nn.analysis import compute_twin_comparison
    >>> topology = mdtraj.Topology()
    >>> residue = topology.add_residue("O2", topology.add_chain())
    >>> atoms = [topology.add_atom("O", mdtraj.element.oxygen, residue) for _ in range(2)]
    >>> xyz = np.zeros((8, 2, 3))
    >>> xyz[:, 1, 0] = 0.12
    >>> traj = mdtraj.Trajectory(xyz, topology)
    >>> compute_twin_comparison(traj, traj).differences["rg"].value
    0.0
    """
    region = list(region) if region is not None and not isinstance(region, str) else region
    as_trajectory(twin, atoms=as_trajectory(traj).n_atoms, argument="twin")
    first, second = compute_structure(traj, region), compute_structure(twin, region, reference=traj)
    series: dict[str, tuple[Array, Array]] = {"rg": (first.rg, second.rg), "rmsd": (first.rmsd, second.rmsd)}
    if first.sasa is not None and second.sasa is not None:
        series["sasa"] = (first.sasa, second.sasa)
    for kind in first.hydrogen_bonds:
        one, other = first.hydrogen_bonds[kind], second.hydrogen_bonds[kind]
        series[f"hydrogen bonds {kind}"] = (one.astype(np.float64), other.astype(np.float64))
    differences = {
        name: Difference(compute_average(one, equilibrate=equilibrate), compute_average(other, equilibrate=equilibrate))
        for name, (one, other) in series.items()
    }
    divergences = {
        name: _divergence(angle, second.dihedrals[name])
        for name, angle in first.dihedrals.items()
        if name in second.dihedrals
    }
    both = (first.rdf, second.rdf) if first.rdf is not None and second.rdf is not None else None
    return TwinComparison(first, second, differences, divergences, both)


def _divergence(first: Array, second: Array) -> float:
    """Jensen-Shannon divergence of two histograms of angles, in nats."""
    p, q = (np.histogram((x + np.pi) % (2 * np.pi), _BINS, (0, 2 * np.pi))[0] / len(x) for x in (first, second))
    middle = 0.5 * (p + q)

    def relative(part: Array) -> float:
        seen = part > 0
        return float(part[seen] @ np.log(part[seen] / middle[seen]))

    return max(0.0, 0.5 * relative(p) + 0.5 * relative(q))
