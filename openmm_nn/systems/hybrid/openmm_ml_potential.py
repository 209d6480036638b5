"""A Potential in the shape that OpenMM-ML knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openmm
from openmm import app
from openmmml.mlpotential import MLPotentialImpl

from ...potentials.potential import Potential

__all__ = ["NeuralPotentialImpl"]


class NeuralPotentialImpl(MLPotentialImpl):  # type: ignore[misc]
    """A Potential as OpenMM-ML sees it.

    Parameters
    ----------
    potential : Potential
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = potential

    def addForces(
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        charge: int = 0,
        multiplicity: int = 1,
        periodic: bool | None = None,
        properties: dict[str, str] | None = None,
        **args: Any,
    ) -> None:
        """Add the potential's force to a System.

        Parameters
        ----------
        topology : openmm.app.Topology
        system : openmm.System
            Changed in place.
        atoms : iterable of int, optional
            All by default.
        forceGroup : int
        charge, multiplicity : int
            Of the atoms.
        periodic : bool, optional
            Whether the potential is given the box.
        properties : dict of str to str, optional
            ``device``, ``precision``, ``threads``, ``concurrent``, ``cuda_graphs``, ``geometry``.
        args
            Options of OpenMM-ML's embeddings, which are not for the potential.
        """
        force = self.potential.create_force(
            topology=topology,
            region=None if atoms is None else list(atoms),
            periodic=periodic,
            charge=charge,
            multiplicity=multiplicity,
            force_group=forceGroup,
            properties=properties,
        )
        system.addForce(force)

    def getMLLongRange(self) -> bool | None:
        """Say whether the potential holds interactions with periodic images, as its card does."""
        return self.potential.card.long_range
