"""The engine in Python: what a potential sees, and what becomes of what it returns.

The steps, in order: make whole, place link atoms, bring to the origin, convert units, find edges, run, check that all
is finite, convert back, put the forces of link atoms where they belong. The native engine does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import EvaluationError, ParameterError, warn
from ..geometry import WholeMaker, cluster_error, minimum_image, smallest_height
from ..model.card import KNOWN_INPUTS, ModelCard
from ..model.card_values import energy_offset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .module_runner import RunnerResult

    Array = NDArray[np.float64]
    Runner = Callable[[Mapping[str, Any], bool, Sequence[str], bool], RunnerResult]

__all__ = ["EngineResult", "Evaluator", "LocalLink"]


# In cutoffs. vesin's cells overflow some way beyond, which ends the process.
_LARGEST_EXTENT = 1.0e4


class LocalLink(NamedTuple):
    """A link atom, by indices into the positions that an Evaluator is given."""

    inside: int
    outside: int
    rule: str
    value: float


@dataclass(frozen=True)
class EngineResult:
    """What one evaluation gives.

    Parameters
    ----------
    energy
        kJ/mol.
    forces
        (P,3) float64, kJ/mol/nm, on every position given; None if not asked for.
    member_energies
        (K,) float64, kJ/mol.
    forces_std
        (N,) float64, kJ/mol/nm, of every atom that the model sees, link atoms last; None if not asked for.
    derivatives
        dE/dparameter in kJ/mol per unit of the parameter.
    """

    energy: float
    forces: Array | None
    member_energies: Array
    forces_std: Array | None
    derivatives: Mapping[str, float]

    @property
    def energy_std(self) -> float | None:
        """Sample standard deviation of the members' energies in kJ/mol; None if there is one member."""
        return float(np.std(self.member_energies, ddof=1)) if len(self.member_energies) > 1 else None


class Evaluator:
    """Evaluates a potential for the atoms of a region.

    Parameters
    ----------
    card
        The potential's card.
    runner
        Evaluates the module: a `openmm_nn.engine.module_runner.ModuleRunner`.
    atomic_numbers
        (N,), of the atoms that the model sees without link atoms; zeros if unknown and not needed.
    links
        Link atoms.
    bonds
        Pairs of indices below N, for making a cluster whole.
    periodic
        Whether the model is given the box.
    charge, multiplicity
        Of the region with its link atoms.
    labels
        Index of every position in the System, for messages; by default 0, 1, 2...

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.model.card import ModelCard
    >>> from openmm_nn.engine.evaluator import Evaluator
    >>> from openmm_nn.engine.module_runner import ModuleRunner
    >>> card = ModelCard.torchforce()
    >>> evaluator = Evaluator(card, ModuleRunner(lambda x: (x**2).sum(), card), [1])
    >>> evaluator.evaluate(np.ones((1, 3))).energy
    3.0
    """

    def __init__(
        self,
        card: ModelCard,
        runner: Runner,
        atomic_numbers: Sequence[int],
        *,
        links: Sequence[LocalLink] = (),
        bonds: Sequence[tuple[int, int]] = (),
        periodic: bool = False,
        charge: int = 0,
        multiplicity: int = 1,
        labels: Sequence[int] | None = None,
    ) -> None:
        self.card = card
        self.runner = runner
        self.links = tuple(links)
        self.periodic = periodic
        self.charge, self.multiplicity = charge, multiplicity
        self.energy_offset = energy_offset(card, atomic_numbers, len(self.links))
        self.evaluations = self.edges = 0
        self._inside = len(atomic_numbers)
        self._numbers = np.array([*atomic_numbers, *([1] * len(self.links))], dtype=np.int64)
        self._labels = labels
        self._bonds = tuple(bonds)
        self._whole = WholeMaker(self._inside, bonds)
        self._offsets: Array | None = None
        self._neighbours: Any = None
        self._warned: set[str] = set()

    @property
    def atoms(self) -> int:
        """Number N of atoms that the model sees, link atoms included."""
        return len(self._numbers)

    def evaluate(
        self,
        positions: Array,
        box: Array | None = None,
        parameters: Mapping[str, float] | None = None,
        *,
        forces: bool = True,
        members: bool = False,
        derivatives: Sequence[str] = (),
        scale: float = 1.0,
    ) -> EngineResult:
        """Evaluate the potential.

        Parameters
        ----------
        positions
            (P,3) float64, nm: of the region's atoms, then of the outside atoms of links.
        box
            (3,3) float64, nm, reduced: of the System, if that is periodic.
        parameters
            Value of every parameter of the card; the defaults by default.
        forces
            Whether forces are wanted.
        members
            Whether the standard deviation of the members' forces is wanted too (K backward passes).
        derivatives
            Names of parameters whose derivative is wanted.
        scale
            Multiplies energy and forces.

        Returns
        -------
        EngineResult
            Energy, forces and the rest.

        Raises
        ------
        EvaluationError
            If positions, energy or forces are not finite, or the nearest images of a cluster are ambiguous.
        ParameterError
            If the box is missing, or too small for the potential's cutoff.
        ModelError
            If the model fails or returns what its card does not say.
        """
        atoms, directions, lengths = self._place(positions, box)
        inputs = self._convert(atoms, box, self.card.parameters if parameters is None else parameters)
        members = members and self.card.committee_size > 1
        energies, model_forces, model_derivatives = self.runner(inputs, forces or members, list(derivatives), members)
        self.evaluations += 1
        self._check_finite(energies, model_forces, atoms)
        unit = scale * self.card.energy_factor / self.card.length_factor
        projected = std = None
        if model_forces is not None:
            member_forces = unit * model_forces
            projected = self._project(member_forces.mean(axis=0), len(positions), directions, lengths)
            if members:
                std = np.sqrt(member_forces.var(axis=0, ddof=1).sum(axis=1))
        values = scale * (self.card.energy_factor * energies + self.energy_offset)
        factor = scale * self.card.energy_factor
        mean = float(scale * (self.card.energy_factor * energies.mean() + self.energy_offset))
        return EngineResult(mean, projected, values, std, {k: factor * v for k, v in model_derivatives.items()})

    def place(self, positions: Array, box: Array | None = None) -> Array:
        """Return the atoms that the model sees, made whole, with link atoms.

        Parameters
        ----------
        positions
            (P,3) float64, nm: of the region's atoms, then of the outside atoms of links.
        box
            (3,3) float64, nm, reduced: of the System, if that is periodic.

        Returns
        -------
        ndarray of float64
            (N,3), nm.
        """
        return self._place(positions, box)[0]

    def _place(self, positions: Array, box: Array | None) -> tuple[Array, Array, Array]:
        """Return the positions (N,3) of the model's atoms in nm, and direction and length of every cut bond."""
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        if len(bad):
            raise EvaluationError(
                "positions", f"no number for {self._name(bad, given=True)}", "finite coordinates",
                        "look at the last good state: the simulation is unstable or the positions were wrong"
            )  # fmt: skip
        if self.periodic and box is None:
            raise ParameterError("box", "None", "the periodic box of a periodic potential", "give the box")
        inside = np.array(positions[: self._inside], dtype=np.float64)
        invariant = self.card.frame == "invariant"
        if box is not None and not self.periodic and invariant:
            inside, offsets = self._whole.apply(inside, box)
            self._check_whole(inside, offsets, box)
        directions, lengths = np.zeros((len(self.links), 3)), np.zeros(len(self.links))
        added = np.zeros((len(self.links), 3))
        for i, link in enumerate(self.links):
            bond = positions[link.outside] - inside[link.inside]
            if box is not None:
                bond = minimum_image(bond, box)
            lengths[i] = np.linalg.norm(bond)
            directions[i] = bond / lengths[i]
            added[i] = inside[link.inside] + directions[i] * (
                link.value if link.rule == "fixed" else link.value * lengths[i]
            )
        atoms = np.concatenate([inside, added])
        # Near the origin a single precision number is most precise.
        if invariant and self.periodic and box is not None:
            atoms = minimum_image(atoms, box)
        elif invariant:
            atoms -= atoms.mean(axis=0)
        return atoms, directions, lengths

    def _convert(self, atoms: Array, box: Array | None, parameters: Mapping[str, float]) -> dict[str, Any]:
        card = self.card
        cell = np.zeros((3, 3)) if box is None or not self.periodic else box / card.length_factor
        values: dict[str, Any] = {
            "positions": atoms / card.length_factor,
            "box": cell,
            "atomic_numbers": self._numbers,
            "charge": self.charge,
            "multiplicity": self.multiplicity,
        }
        if card.uses_edges:
            values["edge_index"], values["edge_shifts"] = self._find_edges(values["positions"], cell)
        elif self.periodic and box is not None and card.cutoff_nm > 0.5 * smallest_height(box):
            raise ParameterError(
                "box", f"a smallest height of {smallest_height(box):.4g} nm",
                        f"at least twice the potential's cutoff of {card.cutoff_nm:.4g} nm",
                        "use a larger box, or a potential that takes edges, which counts several images"
            )  # fmt: skip
        for name in card.inputs:
            if name not in KNOWN_INPUTS:
                values[name] = float(parameters[name])
        return {name: values[name] for name in card.inputs}

    def _find_edges(self, positions: Array, cell: Array) -> tuple[NDArray[np.int64], Array]:
        """Return edge_index (2,E) and edge_shifts (E,3) in model units; both directions of every pair."""
        reach = float(self.card.cutoff or 0.0)
        extent = float(np.ptp(positions, axis=0).max()) if len(positions) else 0.0
        if not self.periodic and extent > _LARGEST_EXTENT * reach:
            raise EvaluationError(
                "positions", f"atoms {extent * self.card.length_factor:.4g} nm apart",
                        f"at most {_LARGEST_EXTENT:g} times the cutoff: beyond, no neighbour list can be made",
                        "look at the last good state: the simulation is unstable or the positions were wrong"
            )  # fmt: skip
        if self._neighbours is None:
            from vesin import NeighborList

            self._neighbours = NeighborList(cutoff=float(self.card.cutoff or 0.0), full_list=True, n_threads=1)
        pairs, shifts = self._neighbours.compute(positions, cell, self.periodic, quantities="PS")
        self.edges += len(pairs)
        index = np.ascontiguousarray(np.asarray(pairs).T, dtype=np.int64).reshape(2, -1)
        return index, np.asarray(shifts, dtype=np.float64).reshape(-1, 3) @ cell

    def _project(self, forces: Array, count: int, directions: Array, lengths: Array) -> Array:
        """Return the forces (P,3) on the positions given; those on link atoms by the chain rule."""
        result = np.zeros((count, 3))
        result[: self._inside] = forces[: self._inside]
        for i, link in enumerate(self.links):
            force, u = forces[self._inside + i], directions[i]
            across = force - (force @ u) * u
            outside = (link.value / lengths[i]) * across if link.rule == "fixed" else link.value * force
            result[link.outside] += outside
            result[link.inside] += force - outside
        return result

    def _check_whole(self, whole: Array, offsets: Array, box: Array) -> None:
        """Refuse a region that is no cluster at the first evaluation, and warn once where it becomes none later."""
        error = cluster_error(whole, self._bonds, box, lambda index: self._name(np.array([index])))
        if error is not None and self._offsets is None:
            raise error
        if error is not None and "extent" not in self._warned:
            self._warned.add("extent")
            warn(str(error), RuntimeWarning)
        half = 0.5 * float(np.diag(box).min())
        reaches = self.card.long_range is True or self.card.cutoff is None or self.card.cutoff_nm > half
        last, self._offsets = self._offsets, offsets
        jumped = last is not None and bool((np.linalg.norm(offsets - last, axis=1) > half).any())
        if jumped and reaches and "jump" not in self._warned:
            self._warned.add("jump")
            warn(
                "a molecule of the region has passed half the box from its first one, so the potential, which reaches "
                "as far, sees another of its images from now on, and its forces have jumped. Use a larger box, hold "
                "the region together, or give the potential the box with periodic=True.",
                RuntimeWarning,
            )

    def _check_finite(self, energies: Array, forces: Array | None, atoms: Array) -> None:
        remedy = "look at the last good state: atoms may be too close, or too far from what the potential knows"
        if forces is not None and not np.isfinite(forces).all():
            bad = np.flatnonzero(~np.isfinite(forces).all(axis=(0, 2)))
            raise EvaluationError("forces", f"no finite force on {self._name(bad)}", "finite forces", remedy)
        if not np.isfinite(energies).all():
            raise EvaluationError("energy", f"{energies.tolist()}", "finite energies", remedy)

    def _name(self, indices: NDArray[np.intp], *, given: bool = False) -> str:
        """Name atoms of the model, or positions as they were given, by their indices in the System."""

        def one(index: int) -> str:
            if index >= self._inside and not given:
                return f"the link atom of link {index - self._inside}"
            return f"atom {index if self._labels is None else self._labels[index]}"

        listed = [one(int(index)) for index in indices[:5]]
        more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
        return ", ".join(listed) + more
