"""The wall: atoms that are pushed into one another must be pushed back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EvaluationError
from ..model.card_values import element_symbol
from .bond_tables import bond_length
from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__: list[str] = []

_FAIL, _WARN = 60.0, 600.0
"""kJ/mol. Collisions at 300 K reach some tens of kT, 100 kJ/mol; beyond the second, only in bad starting structures."""

_WELL = 0.75
"""Distance over the sum of covalent radii below which no bond is at rest."""

_SHORTEST = 0.35
_POINTS = 16
_MOST_KINDS = 4


@dataclasses.dataclass(frozen=True)
class _Wall:
    """How the energy rises when two atoms or molecules are pushed together.

    ``height`` kJ/mol: above the start, before the energy falls again; ``hole`` nm: where it falls, or None;
    ``broken`` nm: where there was no number, or None.
    """

    label: str
    height: float
    hole: float | None
    broken: float | None


@register("short_range_wall")
def short_range_wall(subject: Subject) -> Check:
    """Shorten bonds and push two molecules together, and see how high the energy rises before it falls."""
    name, unit = "short_range_wall", "kJ/mol"
    if subject.feels_origin:
        return Check(name, None, "", "skipped", "The energy is an external field: atoms have no walls.")
    walls = [*_bonds(subject), *_contacts(subject)] if subject.fragment.bonds else _pairs(subject)
    if not walls:
        return Check(name, None, "", "skipped", "One atom has nothing to be pushed against.")
    broken = [wall for wall in walls if wall.broken is not None]
    worst = min(walls, key=lambda wall: wall.height)
    details = {
        wall.label: {"height_kJ_mol": wall.height, "falls_at_nm": wall.hole, "no_number_at_nm": wall.broken}
        for wall in walls
    }
    if broken:
        wall = broken[0]
        text = (
            f"At {wall.broken:.3f} nm the potential gives no finite number ({wall.label}): one hard collision or one "
            "overlap of the starting structure ends the simulation. Look for divisions by, and logarithms and roots "
            "of, something that becomes zero."
        )
        return Check(name, wall.height, unit, "fail", text, details, limit=_FAIL)
    if worst.hole is not None and worst.height < _WARN:
        verdict = "fail" if worst.height < _FAIL else "warn"
        text = (
            f"The wall is {worst.height:.0f} kJ/mol high and ends at {worst.hole:.3f} nm ({worst.label}): below, the "
            "energy falls, and atoms that come there stay or fuse. "
        )
        if verdict == "fail":
            text += (
                "Collisions at room temperature reach that. Add a repulsive term (ZBL), or close contacts to training."
            )
        else:
            text += (
                "Room temperature does not reach that; start from minimised structures, and guard bonds in hot runs."
            )
        return Check(name, worst.height, unit, verdict, text, details, limit=_FAIL)
    text = f"Atoms that are pushed together are pushed back, by {worst.height:.0f} kJ/mol at least."
    return Check(name, worst.height, unit, "pass", text, details, limit=_WARN)


def _bonds(subject: Subject) -> list[_Wall]:
    """Shorten a bond of every kind: the atom with fewer neighbours moves towards the other."""
    fragment = subject.fragment
    neighbours: dict[int, int] = {}
    for pair in fragment.bonds:
        for atom in pair:
            neighbours[atom] = neighbours.get(atom, 0) + 1
    kinds: dict[tuple[int, int], tuple[int, int]] = {}
    for i, j in fragment.bonds:
        kinds.setdefault(
            (min(fragment.numbers[i], fragment.numbers[j]), max(fragment.numbers[i], fragment.numbers[j])), (i, j)
        )
    walls = []
    for i, j in list(kinds.values())[:_MOST_KINDS]:
        mover, fixed = (i, j) if neighbours[i] <= neighbours[j] else (j, i)
        start = fragment.positions[mover] - fragment.positions[fixed]
        length = float(np.linalg.norm(start))
        label = f"bond {_symbols(fragment.numbers, fixed, mover)}"

        def at(
            distance: float, mover: int = mover, fixed: int = fixed, start: Array = start, length: float = length
        ) -> Array:
            x = fragment.positions.copy()
            x[mover] = x[fixed] + start * (distance / length)
            return x

        distances = np.linspace(length, _SHORTEST * length, _POINTS)
        ratios = distances / bond_length(fragment.numbers[i], fragment.numbers[j])
        energies = [_energy(subject, at(float(r)), fragment.numbers) for r in distances]
        walls.append(_climb(label, energies, distances, ratios))
    return walls


def _pairs(subject: Subject) -> list[_Wall]:
    """Push two atoms together, where there are no molecules."""
    if "atomic_numbers" not in subject.card.inputs:
        return []
    kinds = sorted(set(subject.fragment.numbers))[:3]
    walls = []
    for k, first in enumerate(kinds):
        for second in kinds[k:]:
            ratios = np.linspace(2.2, _SHORTEST, _POINTS)
            distances = ratios * bond_length(first, second)
            energies = [
                _energy(subject, np.array([[0.0, 0.0, 0.0], [r, 0.0, 0.0]]), (first, second)) for r in distances
            ]
            label = f"two atoms {element_symbol(first)}, {element_symbol(second)}"
            walls.append(_climb(label, energies, distances, ratios))
    return walls


def _contacts(subject: Subject) -> list[_Wall]:
    """Push a copy of the molecule against it, from two sides."""
    fragment = subject.fragment
    if "atomic_numbers" not in subject.card.inputs or (subject.charge and subject.card.supports_charge):
        return []
    x = fragment.positions - fragment.positions.mean(axis=0)
    numbers = [*fragment.numbers, *fragment.numbers]
    walls = []
    for axis, label in ((0, "two molecules along x"), (2, "two molecules along z")):
        direction = np.eye(3)[axis]
        turned = x * np.where(direction > 0, 1.0, -1.0)
        shifts = np.linspace(float(np.ptp(x, axis=0).max()) + 0.4, 0.0, 160)
        near = np.array([_nearest(x, turned + s * direction, fragment.numbers) for s in shifts])
        # Inwards until the closest atoms are at a third of a bond's length.
        inside = int(np.argmax(near < _SHORTEST)) if np.any(near < _SHORTEST) else len(shifts)
        first = int(np.argmax(near < 2.2)) if np.any(near < 2.2) else 0
        # Once they pass through one another the closest atoms part again.
        parting = np.flatnonzero(np.diff(near[first:inside]) > 0.0)
        inside = first + int(parting[0]) + 1 if len(parting) else inside
        if inside - first < _POINTS // 2:
            continue
        picked = np.unique(np.linspace(first, inside - 1, _POINTS).astype(int))
        energies = [_energy(subject, np.concatenate([x, turned + shifts[k] * direction]), numbers) for k in picked]
        walls.append(_climb(label, energies, shifts[picked], near[picked]))
    return walls


def _nearest(x: Array, y: Array, numbers: tuple[int, ...]) -> float:
    """Return the smallest distance between atoms of two molecules over the sum of their covalent radii."""
    radii = np.array([0.5 * bond_length(n, n) for n in numbers])
    return float((np.linalg.norm(x[:, None] - y[None], axis=-1) / (radii[:, None] + radii[None])).min())


def _energy(subject: Subject, x: Array, numbers: object) -> float:
    try:
        return subject.run(x, numbers, forces=True).energy  # type: ignore[arg-type]
    except EvaluationError:
        return float("nan")


def _climb(label: str, energies: list[float], distances: Array, ratios: Array) -> _Wall:
    """Follow the energy inwards from its lowest point, up to where it falls by more than it wiggles."""
    values = np.array(energies)
    finite = np.isfinite(values)
    broken = None if finite.all() else float(distances[int(np.argmin(finite))])
    reached = values if broken is None else values[: int(np.argmin(finite))]
    if len(reached) < 2:
        return _Wall(label, 0.0, None, broken)
    # A well is where bonds and contacts are; what is deeper inside is a hole.
    outside = max(1, int(np.sum(ratios[: len(reached)] > _WELL)))
    bottom = int(np.argmin(reached[:outside]))
    inward = reached[bottom:] - reached[bottom]
    top = np.maximum.accumulate(inward)
    fallen = np.flatnonzero(inward < 0.7 * top - 1.0)
    hole = float(distances[bottom + int(fallen[0])]) if len(fallen) else None
    height = float(top[int(fallen[0])]) if len(fallen) else float(top[-1])
    return _Wall(label, height, hole, broken)


def _symbols(numbers: tuple[int, ...], first: int, second: int) -> str:
    return f"{element_symbol(numbers[first])}–{element_symbol(numbers[second])}"
