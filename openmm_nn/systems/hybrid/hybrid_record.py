"""What is known of how a hybrid was made: for the ledger, multiple time steps and whatever else splits its energy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import openmm

from ...errors import ParameterError
from .bond_graph import BondGraph
from .bonded import RegionAtoms
from .interpolation import Factor, bonded_forces, pair_forces
from .region import Region

ADDED = "added"
"""The role of a force that was added to a hybrid's System after the hybrid was made."""


def _addresses(system: openmm.System) -> tuple[int, ...]:
    """Where the forces of a System lie: it tells them apart whatever they are called and whichever are removed."""
    return tuple(int(force.this) for force in system.getForces())


@dataclass(frozen=True)
class HybridRecord:
    """How a hybrid was made.

    Parameters
    ----------
    classical : openmm.System
        A copy of the classical System.
    system : openmm.System
        The hybrid.
    graph : BondGraph
    region : Region
    bonded_rule : str
    ignored : frozenset of int
        Indices of the classical System's forces that were left alone.
    interpolated : str
        Name of the Context parameter by which the hybrid is interpolated; empty for none.
    replaces_images : bool
        Whether the potential takes the place of the region's periodic images.
    roles : tuple of str
        What each force of the hybrid was when it was made, see `openmm_nn.systems.hybrid.embeddings.ROLES`. The forces
        of the classical System come first, in their order.
    subtracted : bool
        Whether RegionForce subtracts the region's pairs, instead of exceptions that take them out.
    charges_from : tuple of int
        Atoms whose charges a charge scheme was made from.
    kept : frozenset of int
        Those of the forces left alone that are biases or restraints.
    kept_constraints : frozenset of (int, int)
        Constraints within the region that are the user's own.
    """

    classical: openmm.System
    system: openmm.System
    graph: BondGraph
    region: Region
    bonded_rule: str
    ignored: frozenset[int]
    interpolated: str
    replaces_images: bool
    roles: tuple[str, ...]
    subtracted: bool = False
    charges_from: tuple[int, ...] = ()
    kept: frozenset[int] = frozenset()
    kept_constraints: frozenset[tuple[int, int]] = frozenset()
    _made: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_made", _addresses(self.system))

    def __reduce__(self) -> Any:
        # A copy of the System lies elsewhere in memory; its forces are in the same order.
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.init}
        return _restored, ({**values, "roles": tuple(self.roles_now())},)

    def roles_now(self) -> list[str]:
        """Return the role of each force that the hybrid has now; `ADDED` for those that came later.

        Forces may have been renamed, removed and added since.
        """
        return [ADDED if place < 0 else self.roles[place] for place in self._places()]

    def forces_made(self) -> list[Any]:
        """Return the forces that the hybrid was made with, in their order; None for those that were removed since."""
        forces: list[Any] = [None] * len(self.roles)
        for place, force in zip(self._places(), self.system.getForces(), strict=True):
            if place >= 0:
                forces[place] = force
        return forces

    def _places(self) -> list[int]:
        """Where each force that the hybrid has now stood when it was made; -1 for those that came later."""
        # Removal keeps the order of the others, and what is added comes last: a force that lies where a removed one lay
        # comes after forces that followed that one.
        places, next_ = [], 0
        for address in _addresses(self.system):
            found = self._made.index(address, next_) if address in self._made[next_:] else -1
            places.append(found)
            next_ = max(next_, found + 1)
        return places

    def with_system(self, system: openmm.System) -> HybridRecord:
        """Return the same record of another copy of the hybrid; see `HybridSystem.with_system`."""
        kinds, given = ([type(force).__name__ for force in one.getForces()] for one in (self.system, system))
        if kinds != given or system.getNumParticles() != self.system.getNumParticles():
            raise ParameterError(
                "system",
                f"{system.getNumParticles()} particles and the forces {', '.join(given)}",
                f"{self.system.getNumParticles()} particles and the forces {', '.join(kinds)}",
                "give a copy of the hybrid's System",
            )
        return replace(self, system=system, roles=tuple(self.roles_now()))

    def region_forces(
        self, factor: Factor, purpose: str, *, images: bool = False, classical: openmm.System | None = None
    ) -> list[openmm.Force]:
        """Make forces whose energy is E_MM(R), the region's own classical energy, times a factor.

        Parameters
        ----------
        factor : Factor
        purpose : str
            What needs them, for messages.
        images : bool
            Include the region's interaction with its periodic images where there is Ewald summation.
        classical : openmm.System, optional
            A System with the same terms and other parameters, in place of the classical one.

        Returns
        -------
        list of openmm.Force
            In the force groups of the classical forces that they come from.
        """
        atoms = RegionAtoms.of(self.region.indices, self.graph.neighbours)
        system = self.classical if classical is None else classical
        pairs = pair_forces(system, self.region, self.ignored, factor, purpose, images=images)
        return pairs + bonded_forces(system, atoms, self.bonded_rule, self.ignored, factor)


def _restored(values: dict[str, Any]) -> HybridRecord:
    return HybridRecord(**values)
