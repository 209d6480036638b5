"""What is examined: a potential, a structure, and the ways of evaluating one on the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import System, app, unit

from ..engine.evaluator import EngineResult, Evaluator
from ..errors import ModelError, ParameterError, ParticleError
from ..geometry import WholeMaker, as_box, cluster_error
from ..model.card import ModelCard
from ..model.card_values import potential_parameters
from ..potentials.potential import Potential
from ..systems.capped import CappedRegion, capped_region
from ..systems.electrons import Molecules, sees_elements, settle_charge
from ..systems.hybrid.region import Region, select_region
from ..units import in_nanometers, in_unit
from .fragments import Fragment, find_bonds, mass_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Subject", "make_subject"]

_LARGEST = 100
"""Atoms of a fragment on which the checks that need hundreds of evaluations are made."""

_LINE = 0.0005
"""Half the length in nm of the line on which the scatter of the energy is measured."""


class Subject:
    """A potential and a structure, with everything that checks share.

    Parameters
    ----------
    potential
        The potential.
    numbers
        (N,) atomic numbers.
    positions
        (N,3) float64, nm.
    box
        (3,3) float64, nm, or None for a cluster.
    bonds
        Pairs of atoms; None to find them by distances.
    charge, multiplicity
        Of the structure.
    parameters
        Values of the potential's parameters.
    reference
        What `committee_sigma` compares with.
    timestep
        ps.
    temperature
        K.
    steps
        Of the simulation at constant energy.
    seed
        Of all random numbers.
    """

    def __init__(
        self,
        potential: Potential,
        numbers: Sequence[int],
        positions: Array,
        *,
        box: Array | None,
        bonds: Sequence[tuple[int, int]] | None,
        charge: int,
        multiplicity: int,
        parameters: Mapping[str, float] | None,
        reference: Any,
        timestep: float,
        temperature: float,
        steps: int | None,
        seed: int,
    ) -> None:
        self.potential = potential
        self.card = potential.card
        self.numbers = tuple(numbers)
        self.positions = positions
        self.box = box
        self.charge, self.multiplicity = charge, multiplicity
        self.parameters = potential_parameters(self.card, parameters)
        self.reference = reference
        self.timestep, self.temperature, self.steps, self.seed = timestep, temperature, steps, seed
        self.given_bonds = None if bonds is None else tuple(bonds)
        self.evaluations = 0
        self._evaluators: dict[tuple[Any, ...], Evaluator] = {}
        self._cache: dict[str, Any] = {}

    # ---- evaluating ------------------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """The device on which the potential is examined."""
        return self.potential.source().device or "cpu"

    def random(self, name: str) -> np.random.Generator:
        """Random numbers of a check: the same whichever checks are made."""
        return np.random.default_rng([self.seed, *name.encode()])

    def run(
        self,
        positions: Array,
        numbers: Sequence[int] | None = None,
        *,
        box: Array | None = None,
        precision: str = "double",
        raw: bool = False,
        forces: bool = True,
        members: bool = False,
        charge: int | None = None,
        multiplicity: int | None = None,
    ) -> EngineResult:
        """Evaluate the potential.

        Parameters
        ----------
        positions
            (n,3) float64, nm.
        numbers
            (n,); those of the structure by default.
        box
            (3,3), nm, to have the potential see a periodic box; None for a cluster. A potential that is always
            periodic is given a box so large that images do not meet.
        precision
            ``model``, ``single`` or ``double``; the model's own where it cannot be converted to double.
        raw
            Whether to pass the positions as they are even if the card says that the origin does not matter.
        forces, members
            Whether these are wanted.
        charge, multiplicity
            Those of the structure by default.

        Returns
        -------
        EngineResult
            Energy and forces.
        """
        elements = self.numbers if numbers is None else tuple(int(n) for n in numbers)
        if box is None and self.card.periodic == "always":
            box = self.large_box(positions)
        if precision == "double" and not self.has_double:
            precision = "model"
        key = (
            elements,
            box is not None,
            precision,
            raw,
            self.charge if charge is None else charge,
            self.multiplicity if multiplicity is None else multiplicity,
        )
        if key not in self._evaluators:
            card = dataclasses.replace(self.card, frame="absolute") if raw else self.card
            runner = self.potential.runner(self.device, precision)
            self._evaluators[key] = Evaluator(
                card, runner, elements, periodic=box is not None, charge=key[4], multiplicity=key[5]
            )
        self.evaluations += 1
        return self._evaluators[key].evaluate(
            np.asarray(positions, dtype=np.float64), box, self.parameters, forces=forces, members=members
        )

    @property
    def has_double(self) -> bool:
        """Whether the potential can be evaluated in double precision."""
        if "double" not in self._cache:
            self._cache["double"] = True
            try:
                self.run(self.positions, box=self.box, precision="double")
            except ModelError:
                # Its own precision works, or `finite` will say why it does not.
                self._cache["double"] = False
        return bool(self._cache["double"])

    def large_box(self, positions: Array) -> Array:
        """Return a cubic box in which a cluster does not meet its images."""
        reach = max(2.0 * self.card.cutoff_nm, 1.0)
        extent = float(np.ptp(positions, axis=0).max())
        return np.eye(3) * (extent + reach + 0.1)

    # ---- the structure ---------------------------------------------------------------------------------------------

    @property
    def bonds(self) -> tuple[tuple[int, int], ...]:
        """Pairs of bonded atoms: the topology's, or by distances."""
        if "bonds" not in self._cache:
            found = self.given_bonds
            if not found:
                found = find_bonds(self.numbers, self.positions, self.box)
            self._cache["bonds"] = found
        bonds: tuple[tuple[int, int], ...] = self._cache["bonds"]
        return bonds

    @property
    def whole(self) -> Array:
        """(N,3) nm: the structure with every molecule whole."""
        if self.box is None:
            return self.positions
        return WholeMaker(len(self.numbers), self.bonds).apply(self.positions, self.box)[0]

    @property
    def fragment(self) -> Fragment:
        """The structure, or where it is large one whole molecule of it, as a cluster."""
        if "fragment" not in self._cache:
            atoms = list(range(len(self.numbers)))
            if len(atoms) > _LARGEST:
                molecules = [list(c) for c in WholeMaker(len(atoms), self.bonds).components]
                small = [c for c in molecules if 1 < len(c) <= _LARGEST]
                if small and self.charge == 0:
                    atoms = sorted(sorted(small, key=len)[-1])
            index = {atom: i for i, atom in enumerate(atoms)}
            bonds = tuple((index[a], index[b]) for a, b in self.bonds if a in index and b in index)
            numbers = tuple(self.numbers[a] for a in atoms)
            self._cache["fragment"] = Fragment(tuple(atoms), numbers, self.whole[atoms], bonds)
        fragment: Fragment = self._cache["fragment"]
        return fragment

    @property
    def scale(self) -> float:
        """Root mean square force in kJ/mol/nm at a slightly disturbed geometry: what errors are compared with."""
        if "scale" not in self._cache:
            result = self.run(self.disturbed, box=self.box)
            forces = np.zeros_like(self.positions) if result.forces is None else result.forces
            self._cache["scale"] = max(float(np.sqrt(np.mean(forces**2))), 1e-3)
        return float(self._cache["scale"])

    @property
    def disturbed(self) -> Array:
        """(N,3) nm: the structure with atoms displaced by 0.005 nm, where no force vanishes by symmetry."""
        noise = self.random("disturbed").normal(size=self.positions.shape)
        return self.positions + 0.005 * noise

    @property
    def noise(self) -> float:
        """Scatter of the energy in kJ/mol around a smooth curve, in the precision that `run` uses by default."""
        if "noise" not in self._cache:
            self._cache["noise"] = self.measure_noise("double")
        return float(self._cache["noise"])

    def measure_noise(self, precision: str) -> float:
        """Measure the scatter of the energy around a polynomial along a short line.

        Parameters
        ----------
        precision
            As in `run`.

        Returns
        -------
        float
            Standard deviation in kJ/mol.
        """
        energies = self._line(precision)
        rest = _scatter(energies)
        if precision != "double" and self.has_double:
            # Steps that are longer than the line leave no scatter on it; double precision shows them.
            rest = max(rest, float(np.sqrt(np.mean((energies - self._line("double")) ** 2))))
        return rest

    def _line(self, precision: str) -> Array:
        """Energies along a short line, kJ/mol."""
        direction = self.random("noise").normal(size=self.positions.shape)
        direction /= np.abs(direction).max()
        points = (self.disturbed + s * direction for s in np.linspace(-_LINE, _LINE, 13))
        return np.array([self.run(x, box=self.box, precision=precision, forces=False).energy for x in points])

    @property
    def feels_origin(self) -> bool:
        """Whether the energy changes when everything is moved: an external field, or positions of one's own."""
        if "origin" not in self._cache:
            if self.card.frame == "invariant":
                self._cache["origin"] = False
            else:
                x = self.disturbed
                change = (
                    self.run(x + np.array([0.31, -0.17, 0.23]), box=self.box).energy - self.run(x, box=self.box).energy
                )
                self._cache["origin"] = abs(change) > 1e-3 + 20.0 * self.noise
        return bool(self._cache["origin"])

    @property
    def masses(self) -> Array:
        """(N,) Da."""
        return np.array([mass_of(number) for number in self.numbers])


def _scatter(energies: Array) -> float:
    """Return the standard deviation around a polynomial of fifth order."""
    t = np.linspace(-1.0, 1.0, len(energies))
    values = energies - energies.mean()
    fit = np.polynomial.polynomial.polyfit(t, values, 5)
    rest = values - np.polynomial.polynomial.polyval(t, fit)
    return float(np.sqrt(np.sum(rest**2) / (len(t) - 6)))


def _capped(potential: Potential, topology: Any, positions: Any, region: Any, box: Any) -> CappedRegion:
    """Return the region as its force shows it to the potential."""
    if not isinstance(topology, app.Topology):
        raise ParameterError(
            "region", f"a region of {type(topology).__name__}", "a region of an OpenMM topology", "give the topology"
        )
    if not isinstance(region, Region):
        # Without a force field, the topology alone says what is bonded.
        bare = System()
        for _ in topology.atoms():
            bare.addParticle(1.0)
        region = select_region(topology, bare, region)
    region.check_cuts()
    found = box if box is not None else topology.getPeriodicBoxVectors()
    return capped_region(potential.card, topology, region.indices, region.links, positions, found)


def _settle_charge(card: ModelCard, numbers: tuple[int, ...], bonds: Any, charge: int | None, multiplicity: int) -> int:
    """Return the charge that was given, or that the bonds imply; atoms without bonds say nothing."""
    if charge is not None or not bonds or not sees_elements(card):
        return int(charge or 0)
    molecules = Molecules.of(numbers, bonds, [f"atom {index}" for index in range(len(numbers))])
    return settle_charge(molecules, None, multiplicity, told=card.supports_charge, counted=False)


def make_subject(
    topology: Any,
    potential: Potential,
    positions: Any,
    *,
    box: Any,
    charge: int | None,
    multiplicity: int,
    parameters: Mapping[str, float] | None,
    reference: Any,
    timestep: Any,
    temperature: Any,
    steps: int | None,
    seed: int,
    region: Any = None,
) -> Subject:
    """Check the arguments of ``preflight`` and bring them into the package's units.

    Raises
    ------
    ParameterError
        If the potential is none, or timestep, temperature, steps, box or parameters are not allowed.
    ParticleError
        If elements or positions are missing or do not belong together.
    """
    if not isinstance(potential, Potential):
        raise ParameterError(
            "potential", f"a {type(potential).__name__}", "a Potential", "make one with load_potential(...)"
        )
    if region is not None:
        capped = _capped(potential, topology, positions, region, box)
        positions, box = capped.positions, None
    numbers, bonds = _elements(topology) if region is None else (capped.numbers, capped.bonds)
    try:
        x = in_nanometers(positions)
    except (TypeError, ValueError) as error:
        raise ParticleError(
            "positions", type(positions).__name__, "an array (N,3) in nm or a Quantity", "convert them"
        ) from error
    if x.shape != (len(numbers), 3):
        raise ParticleError(
            "positions", f"shape {x.shape}", f"({len(numbers)}, 3), a row for every atom", "give all atoms once"
        )
    if not np.isfinite(x).all():
        raise ParticleError("positions", "numbers that are not finite", "finite ones", "look at the structure")
    card = potential.card
    cell = None if box is None else as_box(box, numbers)
    if cell is not None and card.periodic == "never":
        found = bonds or find_bonds(numbers, x, cell)
        x = WholeMaker(len(numbers), found).apply(x, cell)[0]
        wrong = cluster_error(x, found, cell, lambda index: f"atom {index}", "positions")
        if wrong is not None:
            raise wrong
        cell = None
    if cell is None and card.periodic == "always":
        raise ParameterError("box", "None", f"box vectors: {card.name!r} is always periodic", "give box=")
    step = _positive("timestep", timestep, unit.picosecond, "ps")
    kelvin = _positive("temperature", temperature, unit.kelvin, "K")
    if steps is not None and not _whole(steps, 10):
        raise ParameterError("steps", repr(steps), "an integer, 10 or more, or None", "leave it out")
    if not _whole(seed, 0):
        raise ParameterError("seed", repr(seed), "an integer, 0 or more", "leave it out")
    return Subject(
        potential,
        numbers,
        x,
        box=cell,
        bonds=bonds,
        charge=_settle_charge(card, numbers, bonds, charge, multiplicity),
        multiplicity=int(multiplicity),
        parameters=parameters,
        reference=reference,
        timestep=step,
        temperature=kelvin,
        steps=steps,
        seed=seed,
    )


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _positive(name: str, value: Any, unit_of: Any, symbol: str) -> float:
    try:
        number = in_unit(value, unit_of)
    except (TypeError, ValueError) as error:
        raise ParameterError(name, repr(value), f"a positive number in {symbol}", "correct it") from error
    if not 0.0 < number < float("inf"):
        raise ParameterError(name, repr(value), f"a positive number in {symbol}", "correct it")
    return number


def _elements(given: Any) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...] | None]:
    """Return atomic numbers and bonds of an OpenMM or MDTraj topology, or of plain numbers."""
    if hasattr(given, "to_openmm"):
        given = given.to_openmm()
    if isinstance(given, app.Topology):
        atoms = list(given.atoms())
        missing = [f"{atom.name} (index {atom.index})" for atom in atoms if atom.element is None]
        if missing:
            raise ParticleError(
                "topology", f"atoms without an element: {', '.join(missing[:5])}", "an element for every atom",
                        "give atomic numbers instead, and leave virtual sites out"
            )  # fmt: skip
        bonds = tuple((a.index, b.index) for a, b in given.bonds())
        return tuple(int(atom.element.atomic_number) for atom in atoms), bonds
    try:
        numbers = tuple(int(n) for n in _iterate(given))
    except (TypeError, ValueError) as error:
        raise ParticleError(
            "topology", f"a {type(given).__name__}", "a Topology, or atomic numbers",
                    "give atomic numbers, such as [8, 1, 1] for water"
        ) from error  # fmt: skip
    if not numbers or min(numbers) < 1:
        raise ParticleError("topology", f"{numbers[:5]}", "one atom or more, with numbers from 1", "leave sites out")
    return numbers, None


def _iterate(value: Any) -> Iterable[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(type(value).__name__)
    return value
