"""A region as its potential sees it: whole, with the link atoms that close its cut bonds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.evaluator import Evaluator, LocalLink
from ..engine.force import Link
from ..geometry import as_box
from ..model.card import ModelCard
from ..units import in_nanometers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openmm.app import Topology

__all__ = ["CappedRegion", "capped_region"]


@dataclass(frozen=True)
class CappedRegion:
    """Atoms of a region and its link atoms, as a cluster.

    Parameters
    ----------
    numbers
        (N,) atomic numbers: of the region in its order, then hydrogens.
    positions
        (N,3) float64, nm.
    bonds
        Pairs of indices below N.
    labels
        (N,) names of the atoms.
    """

    numbers: tuple[int, ...]
    positions: NDArray[np.float64]
    bonds: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]


def capped_region(
    card: ModelCard, topology: Topology, atoms: Sequence[int], links: Sequence[Link], positions: Any, box: Any = None
) -> CappedRegion:
    """Place the link atoms of a region by the rule of its force, and make it whole.

    Parameters
    ----------
    card
        Of the potential, whose frame says whether the region is made whole.
    topology
        Of the System.
    atoms
        Indices of the region.
    links
        Its link atoms.
    positions
        (N,3) of the whole System: a Quantity, or numbers in nm.
    box
        (3,3): a Quantity, or numbers in nm; None without a box.

    Returns
    -------
    CappedRegion
    """
    listed = list(topology.atoms())
    place = {atom: index for index, atom in enumerate(atoms)}
    numbers = [int(listed[atom].element.atomic_number) for atom in atoms]
    labels = [f"{listed[i].residue.name}{listed[i].residue.id}:{listed[i].name} (atom {i})" for i in atoms]
    bonds = [
        (place[bond[0].index], place[bond[1].index])
        for bond in topology.bonds()
        if bond[0].index in place and bond[1].index in place
    ]
    local = [
        LocalLink(place[link.inside], len(numbers) + number, link.rule, link.value) for number, link in enumerate(links)
    ]
    x = in_nanometers(positions)
    given = np.concatenate([x[list(atoms)], x[[link.outside for link in links]].reshape(-1, 3)])

    def never(*_: Any) -> Any:
        raise AssertionError

    evaluator = Evaluator(card, never, numbers, links=local, bonds=bonds)
    placed = evaluator.place(given, None if box is None else as_box(box))
    bonds += [(place[link.inside], len(numbers) + number) for number, link in enumerate(links)]
    labels += [f"the link atom of {labels[place[link.inside]]}" for link in links]
    return CappedRegion((*numbers, *([1] * len(links))), placed, tuple(bonds), tuple(labels))
