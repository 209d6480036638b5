"""The contract suite: what every potential must do, for authors of models, formats and runners.

Every function raises `AssertionError` with the numbers that disagree, and returns nothing if all is well.
`check_potential` runs them all.

Examples
--------
>>> import torch
>>> from openmm_nn import load_potential
>>> from openmm_nn.testing import check_potential
>>> class Harmonic(torch.nn.Module):
...     def forward(self, positions: torch.Tensor) -> torch.Tensor:
...         return 10.0 * (positions**2).sum()
>>> check_potential(load_potential(torch.jit.script(Harmonic())), [1, 1], [[0.0, 0.0, 0.1], [0.1, 0.0, 0.0]])
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import openmm.app
from openmm import unit

from .platforms import PlatformLike, find_platform
from .units import in_nanometers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .potentials.potential import Evaluation, Potential

__all__ = [
    "check_committee",
    "check_context",
    "check_forces",
    "check_invariances",
    "check_outputs",
    "check_potential",
    "check_serialization",
    "check_subset",
]


def check_potential(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
    platform: PlatformLike = "Reference",
    tolerance: float | None = None,
    serialization: bool | None = None,
    seed: int = 0,
) -> None:
    """Check a potential against the whole contract at one geometry.

    Parameters
    ----------
    potential : Potential
    atomic_numbers : sequence of int, (N,)
    positions : Quantity or array, (N, 3)
        nm if without a unit.  A geometry with forces that are not small, as perturbed ones have.
    box : Quantity or array, (3, 3), optional
        Reduced box vectors as rows, nm; with it the potential is used periodically.
    charge, multiplicity : int
        Of the atoms.
    platform : str
        OpenMM platform of the checks that need a Context.
    tolerance : float, optional
        Relative to the largest force component (or to the spread of the energy); by default 1e-4 for a model in
        float32 and 1e-6 for one in float64.
    serialization : bool, optional
        Whether to require that a System with the potential survives XML; by default only of potentials that are a
        file, on the native engine.
    seed : int
        Of the random displacements, rotations and permutations.

    Raises
    ------
    AssertionError
        With the numbers that disagree.
    """
    x = in_nanometers(positions)
    check_outputs(potential, atomic_numbers, x, box=box, charge=charge, multiplicity=multiplicity)
    check_forces(
        potential,
        atomic_numbers,
        x,
        box=box,
        charge=charge,
        multiplicity=multiplicity,
        tolerance=tolerance,
        seed=seed,
    )
    check_invariances(
        potential,
        atomic_numbers,
        x,
        box=box,
        charge=charge,
        multiplicity=multiplicity,
        tolerance=tolerance,
        seed=seed,
    )
    check_committee(potential, atomic_numbers, x, box=box, charge=charge, multiplicity=multiplicity)
    check_context(
        potential,
        atomic_numbers,
        x,
        box=box,
        charge=charge,
        multiplicity=multiplicity,
        platform=platform,
        tolerance=tolerance,
    )
    check_subset(
        potential,
        atomic_numbers,
        x,
        box=box,
        charge=charge,
        multiplicity=multiplicity,
        platform=platform,
        tolerance=tolerance,
        seed=seed,
    )
    if serialization is None:
        serialization = potential.card.format != "callable" and _is_native(potential, atomic_numbers, box)
    if serialization:
        check_serialization(
            potential,
            atomic_numbers,
            x,
            box=box,
            charge=charge,
            multiplicity=multiplicity,
            platform=platform,
        )


def check_outputs(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
) -> None:
    """Check shapes, types and finiteness of one evaluation, and that a second one gives the same.

    Parameters are those of `check_potential`.

    Raises
    ------
    AssertionError
        With what was found.
    """
    x = in_nanometers(positions)
    kept = x.copy()
    first = _evaluate(potential, atomic_numbers, x, box, charge, multiplicity)
    _require(np.array_equal(x, kept), "evaluate changed the positions that it was given")
    _require(isinstance(first.energy, float), f"energy is a {type(first.energy).__name__}, not a float")
    _require(bool(np.isfinite(first.energy)), f"energy is {first.energy}")
    forces = np.asarray(first.forces)
    _require(forces.shape == x.shape, f"forces have shape {forces.shape}, positions {x.shape}")
    _require(forces.dtype == np.float64, f"forces are {forces.dtype}, not float64")
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
    _require(bad.size == 0, f"forces on atoms {bad.tolist()} are not finite")
    second = _evaluate(potential, atomic_numbers, x, box, charge, multiplicity)
    difference = abs(second.energy - first.energy)
    limit = 1e-9 * max(1.0, abs(first.energy)) if _in_double(potential) else 1e-6 * max(1.0, abs(first.energy))
    _require(difference <= limit, f"two evaluations of one geometry differ by {difference} kJ/mol")


def check_forces(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
    tolerance: float | None = None,
    directions: int = 6,
    step: float | None = None,
    seed: int = 0,
) -> None:
    """Check that the forces are the gradient: work along random lines against the difference of the energy.

    Along a line of length 2h the work of the forces, by eight-point Gauss-Legendre quadrature, must be what the energy
    loses.  Unlike small differences, this holds in float32 too, where the energy is coarse.

    Parameters
    ----------
    potential, atomic_numbers, positions, box, charge, multiplicity, tolerance, seed
        As in `check_potential`.
    directions : int
        How many lines.
    step : float, optional
        h in nm, for the displacement of all atoms together; by default 0.005.

    Raises
    ------
    AssertionError
        With work and difference of the worst line.
    """
    x = in_nanometers(positions)
    rng = np.random.default_rng(seed)
    half = 0.005 if step is None else step
    nodes, weights = np.polynomial.legendre.leggauss(8)
    scale = float(np.abs(_evaluate(potential, atomic_numbers, x, box, charge, multiplicity).forces).max())
    limit = _tolerance(potential, tolerance) * max(scale, 1e-6) * 2.0 * half
    worst = (0.0, 0.0, 0.0)
    resolution = 0.0
    for _ in range(directions):
        direction = rng.normal(size=x.shape)
        direction /= np.linalg.norm(direction)
        work = 0.0
        for node, weight in zip(nodes, weights, strict=True):
            moved = x + half * node * direction
            forces = _evaluate(potential, atomic_numbers, moved, box, charge, multiplicity).forces
            work += half * float(weight) * float(np.sum(np.asarray(forces) * direction))
        ends = [
            _evaluate(potential, atomic_numbers, x + sign * half * direction, box, charge, multiplicity).energy
            for sign in (-1.0, 1.0)
        ]
        resolution = max(resolution, _resolution(potential, atomic_numbers, ends[0]))
        lost = ends[0] - ends[1]
        if abs(work - lost) > worst[0]:
            worst = (abs(work - lost), work, lost)
    _require(
        worst[0] <= limit + 4.0 * resolution,
        f"forces are not the gradient: over {2.0 * half} nm they do {worst[1]} kJ/mol of work and the energy falls by "
        f"{worst[2]} kJ/mol; difference {worst[0]}, allowed {limit + 4.0 * resolution}",
    )


def check_invariances(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check the symmetries that the card claims.

    An invariant frame: translation, rotation and reflection (a cluster), permutation of the atoms, and with a box, a
    shift of every atom by its own lattice vector.  An absolute frame claims nothing, and nothing is checked.

    Parameters are those of `check_potential`.

    Raises
    ------
    AssertionError
        With the operation and the numbers.
    """
    if potential.card.frame != "invariant":
        return
    x = in_nanometers(positions)
    numbers = np.asarray(list(atomic_numbers), dtype=int)
    rng = np.random.default_rng(seed)
    first = _evaluate(potential, numbers.tolist(), x, box, charge, multiplicity)
    forces = np.asarray(first.forces)
    scale = max(float(np.abs(forces).max()), 1e-6)
    force_limit = _tolerance(potential, tolerance) * scale
    # An error of the forces over a bond's length is the error allowed of the energy.
    energy_limit = 0.1 * force_limit + 4.0 * _resolution(potential, numbers.tolist(), first.energy)

    def compare(name: str, moved: NDArray[np.float64], new: list[int], wanted: NDArray[np.float64]) -> None:
        found = _evaluate(potential, new, moved, box, charge, multiplicity)
        error = abs(found.energy - first.energy)
        _require(error <= energy_limit, f"{name} changes the energy by {error} kJ/mol, allowed {energy_limit}")
        worst = float(np.abs(np.asarray(found.forces) - wanted).max())
        _require(worst <= force_limit, f"{name} changes the forces by {worst} kJ/mol/nm, allowed {force_limit}")

    compare("translation", x + rng.uniform(-5.0, 5.0, 3), numbers.tolist(), forces)
    order = rng.permutation(len(numbers))
    compare("permutation", x[order], numbers[order].tolist(), forces[order])
    if box is None:
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        if np.linalg.det(rotation) < 0.0:
            rotation = -rotation
        compare("rotation", x @ rotation, numbers.tolist(), forces @ rotation)
        compare("reflection", x * [-1.0, 1.0, 1.0], numbers.tolist(), forces * [-1.0, 1.0, 1.0])
    else:
        lattice = rng.integers(-2, 3, x.shape) @ in_nanometers(box)
        compare("a lattice vector for every atom", x + lattice, numbers.tolist(), forces)


def check_committee(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
) -> None:
    """Check that deviations are there exactly if the card has several members, with their shapes.

    Parameters are those of `check_potential`.

    Raises
    ------
    AssertionError
        With what was found.
    """
    x = in_nanometers(positions)
    result = _evaluate(potential, atomic_numbers, x, box, charge, multiplicity)
    if potential.card.committee_size == 1:
        _require(result.energy_std is None, f"one member, but an energy_std of {result.energy_std}")
        _require(result.forces_std is None, "one member, but a forces_std")
        return
    members = potential.card.committee_size
    _require(result.energy_std is not None, f"{members} members, but no energy_std")
    _require(result.energy_std is not None and result.energy_std >= 0.0, f"energy_std is {result.energy_std}")
    if result.forces_std is not None:
        deviation = np.asarray(result.forces_std)
        _require(deviation.shape == (len(x),), f"forces_std has shape {deviation.shape}, not ({len(x)},)")
        _require(bool((deviation >= 0.0).all()), f"forces_std has negative values, least {deviation.min()}")


def check_context(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
    platform: PlatformLike = "Reference",
    tolerance: float | None = None,
) -> None:
    """Check that a Context gives the energy and forces of `Potential.evaluate`.

    Parameters are those of `check_potential`.

    Raises
    ------
    AssertionError
        With both numbers.
    """
    x = in_nanometers(positions)
    expected = _evaluate(potential, atomic_numbers, x, box, charge, multiplicity)
    force = _force(potential, atomic_numbers, None, box, charge, multiplicity)
    energy, forces = _run(_system(len(x), force, box), x, platform)
    _agree(potential, atomic_numbers, "a Context", expected, energy, forces, tolerance)


def check_subset(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
    platform: PlatformLike = "Reference",
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check that the atoms, scattered in any order among others, have the same energy and forces, and others none.

    Parameters are those of `check_potential`.

    Raises
    ------
    AssertionError
        With the numbers.
    """
    x = in_nanometers(positions)
    rng = np.random.default_rng(seed)
    count = 2 * len(x) + 3
    atoms = rng.permutation(count)[: len(x)].tolist()
    everything = rng.uniform(-2.0, 2.0, (count, 3))
    everything[atoms] = x
    expected = _evaluate(potential, atomic_numbers, x, box, charge, multiplicity)
    force = _force(potential, atomic_numbers, atoms, box, charge, multiplicity)
    energy, forces = _run(_system(count, force, box), everything, platform)
    _agree(potential, atomic_numbers, "a subset", expected, energy, forces[atoms], tolerance)
    others = np.delete(forces, atoms, axis=0)
    _require(not others.any(), f"atoms outside the subset feel forces up to {np.abs(others).max()} kJ/mol/nm")


def check_serialization(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: Any,
    *,
    box: Any = None,
    charge: int = 0,
    multiplicity: int = 1,
    platform: PlatformLike = "Reference",
) -> None:
    """Check that a System with the potential survives XML and `copy.deepcopy`, with the same energy to the last bit.

    Parameters are those of `check_potential`.

    Raises
    ------
    AssertionError
        With both energies, or the property that was lost.
    """
    x = in_nanometers(positions)
    force = _force(potential, atomic_numbers, None, box, charge, multiplicity)
    force.setName("a name to keep")
    force.setForceGroup(3)
    system = _system(len(x), force, box)
    energy, _ = _run(system, x, platform)
    read = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    for name, other in (("XML", read), ("deepcopy", copy.deepcopy(system))):
        kept = other.getForce(0)
        _require(kept.getName() == "a name to keep", f"{name} loses the force's name: {kept.getName()!r}")
        _require(kept.getForceGroup() == 3, f"{name} loses the force's group: {kept.getForceGroup()}")
        found, _ = _run(other, x, platform)
        exact = platform == "Reference"
        same = found == energy if exact else abs(found - energy) <= 1e-6 * max(1.0, abs(energy))
        _require(same, f"{name} changes the energy from {energy!r} to {found!r} kJ/mol")


def _require(condition: bool, message: str) -> None:
    # Not `assert`: the suite is a tool, and python -O must not turn it off.
    if not condition:
        raise AssertionError(message)


def _in_double(potential: Potential) -> bool:
    return potential.card.dtype != "float32"


def _tolerance(potential: Potential, tolerance: float | None) -> float:
    if tolerance is not None:
        return tolerance
    return 1e-6 if _in_double(potential) else 1e-4


def _resolution(potential: Potential, atomic_numbers: Sequence[int], energy: float) -> float:
    """Rounding error of an energy in kJ/mol: of what the model returns in its dtype, and of the total in double."""
    symbols = [openmm.app.Element.getByAtomicNumber(int(z)).symbol for z in atomic_numbers]
    offset = sum(potential.card.energy_offset.get(s, 0.0) for s in symbols) * potential.card.energy_factor
    digits = float(np.finfo(np.float64 if _in_double(potential) else np.float32).eps)
    return digits * abs(energy - offset) + float(np.finfo(np.float64).eps) * abs(energy)


def _evaluate(
    potential: Potential,
    atomic_numbers: Sequence[int],
    positions: NDArray[np.float64],
    box: Any,
    charge: int,
    multiplicity: int,
) -> Evaluation:
    return potential.evaluate(positions, atomic_numbers, box=box, charge=charge, multiplicity=multiplicity)


def _force(
    potential: Potential,
    atomic_numbers: Sequence[int],
    atoms: Sequence[int] | None,
    box: Any,
    charge: int,
    multiplicity: int,
) -> Any:
    periodic = None if potential.card.periodic != "optional" else box is not None
    return potential.create_force(
        atomic_numbers=atomic_numbers,
        region=atoms,
        periodic=periodic,
        charge=charge,
        multiplicity=multiplicity,
    )


def _is_native(potential: Potential, atomic_numbers: Sequence[int], box: Any) -> bool:
    return not isinstance(_force(potential, atomic_numbers, None, box, 0, 1), openmm.PythonForce)


def _system(count: int, force: Any, box: Any) -> openmm.System:
    system = openmm.System()
    for _ in range(count):
        system.addParticle(1.0)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in in_nanometers(box).tolist()))
    system.addForce(force)
    return system


def _run(
    system: openmm.System, positions: NDArray[np.float64], platform: PlatformLike
) -> tuple[float, NDArray[np.float64]]:
    """Energy in kJ/mol and forces (N, 3) in kJ/mol/nm of a new Context."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), find_platform(platform))
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer)
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole)), np.asarray(forces)


def _agree(
    potential: Potential,
    atomic_numbers: Sequence[int],
    name: str,
    expected: Evaluation,
    energy: float,
    forces: NDArray[np.float64],
    tolerance: float | None,
) -> None:
    reference = np.asarray(expected.forces)
    force_limit = _tolerance(potential, tolerance) * max(float(np.abs(reference).max()), 1e-6) + 1e-8
    energy_limit = 0.1 * force_limit + 4.0 * _resolution(potential, atomic_numbers, expected.energy)
    _require(
        abs(energy - expected.energy) <= energy_limit,
        f"{name} gives {energy} kJ/mol and evaluate {expected.energy}, allowed {energy_limit}",
    )
    worst = float(np.abs(forces - reference).max())
    _require(worst <= force_limit, f"forces of {name} and of evaluate differ by {worst}, allowed {force_limit}")
