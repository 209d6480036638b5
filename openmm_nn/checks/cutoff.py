"""Smoothness: no step of the energy and no kink where neighbours come and go."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Jump", "largest_jumps"]

_POINTS = 28
_BISECTIONS = 18
_STEP_FAIL, _STEP_WARN = 0.02, 0.002
"""kJ/mol"""
_KINK_FAIL, _KINK_WARN = 2.0, 0.2
"""kJ/mol/nm"""
_MOST_PAIRS = 3
_MOLECULES = "two molecules, between their centres"


@dataclasses.dataclass(frozen=True)
class Jump:
    """A place on a line where energy or forces jump.

    Parameters
    ----------
    distance
        nm.
    energy
        Height of the step, kJ/mol.
    force
        Largest change of a force component, kJ/mol/nm.
    """

    distance: float
    energy: float
    force: float


def largest_jumps(evaluate: Callable[[float], tuple[float, Array, float]], nodes: Array) -> tuple[Jump, Jump]:
    """Find the largest step of the energy and of the forces along a line, by bisection.

    Parameters
    ----------
    evaluate
        Returns, at a distance, the energy in kJ/mol, the forces in kJ/mol/nm, and the force along the line.
    nodes
        Distances in nm, ascending.

    Returns
    -------
    tuple of Jump
        The largest step of the energy, and the largest of the forces: what remains of the change over an interval that
        is made so short that a smooth function does not change over it.
    """
    values = [evaluate(float(s)) for s in nodes]
    steps = [_mismatch(values[i], values[i + 1], nodes[i + 1] - nodes[i]) for i in range(len(nodes) - 1)]
    changes = np.array([np.abs(values[i + 1][1] - values[i][1]).max() for i in range(len(nodes) - 1)])
    # A kink stands out from the changes on both sides of it; a steep place does not.
    smooth = np.maximum(np.r_[changes[1:], np.inf], np.r_[np.inf, changes[:-1]])
    candidates = [int(np.argmax(steps)), int(np.argmax(changes - smooth)), int(np.argmax(changes))]
    found = [
        _bisect(evaluate, (float(nodes[i]), values[i]), (float(nodes[i + 1]), values[i + 1]), by)
        for i, by in zip(candidates, ("energy", "force", "force"), strict=True)
    ]
    return max(found, key=lambda jump: jump.energy), max(found, key=lambda jump: jump.force)


def _mismatch(a: tuple[float, Array, float], b: tuple[float, Array, float], width: float) -> float:
    """Return by how much the energy differs from what the forces on both ends say."""
    return abs(b[0] - a[0] + 0.5 * (a[2] + b[2]) * width)


def _bisect(
    evaluate: Callable[[float], tuple[float, Array, float]],
    low: tuple[float, tuple[float, Array, float]],
    high: tuple[float, tuple[float, Array, float]],
    by: str,
) -> Jump:
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low[0] + high[0])
        here = (middle, evaluate(middle))
        sides = []
        for a, b in ((low, here), (here, high)):
            force = float(np.abs(b[1][1] - a[1][1]).max())
            sides.append(force if by == "force" else _mismatch(a[1], b[1], b[0] - a[0]))
        low, high = (low, here) if sides[0] >= sides[1] else (here, high)
    width = high[0] - low[0]
    return Jump(
        0.5 * (low[0] + high[0]), _mismatch(low[1], high[1], width), float(np.abs(high[1][1] - low[1][1]).max())
    )


@register("cutoff_smoothness")
def cutoff_smoothness(subject: Subject) -> Check:
    """Move pairs of atoms and two molecules through the cutoff, and look for jumps."""
    name, unit = "cutoff_smoothness", "kJ/mol"
    if subject.feels_origin:
        return Check(name, None, "", "skipped", "The energy is an external field: atoms do not come and go.")
    if "atomic_numbers" not in subject.card.inputs:
        text = "The potential is not told the elements: it was made for one molecule, whose atoms do not come and go."
        return Check(name, None, "", "skipped", text)
    cutoff = subject.card.cutoff_nm or 0.8
    found: list[tuple[str, Jump]] = []
    for pair in _pairs(subject):
        nodes = np.linspace(0.45 * cutoff, 1.08 * cutoff, _POINTS)
        jumps = largest_jumps(lambda r, pair=pair: _pair_at(subject, pair, r), nodes)  # type: ignore[misc]
        found += [(_label(pair), jump) for jump in jumps]
    if len(subject.fragment.numbers) > 1:
        extent = float(np.ptp(subject.fragment.positions[:, 0]))
        nodes = np.linspace(extent + 0.35, extent + 1.05 * cutoff, _POINTS // 2)
        found += [(_MOLECULES, jump) for jump in largest_jumps(lambda s: _molecules_at(subject, s), nodes)]
    noise = subject.noise
    # Of a pair the distance says where to look, so that it comes first if it jumps at all.
    pairs = [entry for entry in found if entry[0] != _MOLECULES]
    where, step = max(pairs, key=lambda entry: entry[1].energy)
    if step.energy <= _STEP_FAIL + 20.0 * noise:
        where, step = max(found, key=lambda entry: entry[1].energy)
    kink_where, kink = max(pairs, key=lambda entry: entry[1].force)
    if kink.force <= _KINK_FAIL + 2.0e3 * noise:
        kink_where, kink = max(found, key=lambda entry: entry[1].force)
    details = {
        "step_kJ_mol": step.energy,
        "step_at_nm": step.distance,
        "step_of": where,
        "kink_kJ_mol_nm": kink.force,
        "kink_at_nm": kink.distance,
        "kink_of": kink_where,
    }
    if step.energy > _STEP_FAIL + 20.0 * noise:
        text = (
            f"The energy jumps by {step.energy:.3g} kJ/mol at a distance of {step.distance:.4f} nm ({where}): every "
            "neighbour that comes or goes changes the energy with no force for it, so that the total energy drifts. "
            "The features need a switching function that goes to zero at the cutoff, or the card's cutoff is shorter "
            "than the module's."
        )
        return Check(name, step.energy, unit, "fail", text, details, limit=_STEP_FAIL)
    rough = noise * 2.0e3
    if kink.force > _KINK_FAIL + rough:
        text = (
            f"Forces jump by {kink.force:.3g} kJ/mol/nm at a distance of {kink.distance:.4f} nm ({kink_where}): the "
            "energy has a kink. The total energy drifts more than it has to; use a switching function whose slope goes "
            "to zero too."
        )
        return Check(name, kink.force, "kJ/mol/nm", "fail", text, details, limit=_KINK_FAIL)
    if step.energy > _STEP_WARN + 20.0 * noise or kink.force > _KINK_WARN + rough:
        text = (
            f"There is a small step ({step.energy:.2g} kJ/mol at {step.distance:.4f} nm) or kink ({kink.force:.2g} "
            f"kJ/mol/nm at {kink.distance:.4f} nm) where neighbours come and go. Look at the drift of the energy."
        )
        return Check(name, step.energy, unit, "warn", text, details, limit=_STEP_WARN)
    text = "Energy and forces go through the cutoff without a jump."
    return Check(name, step.energy, unit, "pass", text, details, limit=_STEP_WARN)


def _pairs(subject: Subject) -> list[tuple[int, int]]:
    """Return pairs of elements: the commonest with itself, and with the others."""
    common = [number for number, _ in Counter(subject.fragment.numbers).most_common(_MOST_PAIRS)]
    return [(common[0], other) for other in common]


def _label(pair: Sequence[int]) -> str:
    from ..model.card_values import element_symbol

    return "…".join(element_symbol(number) for number in pair)


def _pair_at(subject: Subject, pair: tuple[int, int], distance: float) -> tuple[float, Array, float]:
    x = np.array([[0.0, 0.0, 0.0], [0.6, 0.64, 0.48]])
    x[1] *= distance / np.linalg.norm(x[1])
    result = subject.run(x, pair, charge=0, multiplicity=1)
    forces = np.zeros_like(x) if result.forces is None else result.forces
    return result.energy, forces, float(forces[1] @ x[1] / distance)


def _molecules_at(subject: Subject, distance: float) -> tuple[float, Array, float]:
    fragment = subject.fragment
    x = fragment.positions - fragment.positions.mean(axis=0)
    both = np.concatenate([x, x * [1.0, -1.0, -1.0] + [distance, 0.0, 0.0]])
    charge = 2 * subject.charge if subject.card.supports_charge else subject.charge
    result = subject.run(both, [*fragment.numbers, *fragment.numbers], charge=charge)
    forces = np.zeros_like(both) if result.forces is None else result.forces
    return result.energy, forces, float(forces[len(x) :, 0].sum())
