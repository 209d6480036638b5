"""What must not change the energy: where the molecule is, how it is turned, its mirror image, the order of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__: list[str] = []

_FAIL, _WARN = 1e-2, 1e-3
"""Error of the forces relative to their root mean square; energies count over a tenth of an angstrom."""

_LENGTH = 0.01


def _compare(
    subject: Subject, name: str, moved: Array, wanted: Array, numbers: tuple[int, ...] | None, texts: tuple[str, str]
) -> Check:
    """Compare energy and forces at a transformed geometry with those wanted."""
    box = subject.box
    first = subject.run(subject.disturbed, box=box, raw=True)
    second = subject.run(moved, numbers, box=box, raw=True)
    change = abs(second.energy - first.energy)
    errors = np.zeros(1) if second.forces is None else np.abs(second.forces - wanted)
    worst = float(errors.max()) / subject.scale
    ratio = max(change / (subject.scale * _LENGTH + 100.0 * subject.noise), worst)
    details = {"change_of_energy_kJ_mol": change, "change_of_forces_relative": worst}
    if ratio > _FAIL:
        said = (
            f"{texts[0]} changes the energy by {change:.3g} kJ/mol and forces by {worst:.2g} of their size. {texts[1]}"
        )
        return Check(name, change, "kJ/mol", "fail", said, details)
    if ratio > _WARN:
        said = (
            f"{texts[0]} changes the energy by {change:.3g} kJ/mol and forces by {worst:.2g} of their size: "
            "little, and "
            "more than rounding. Look at the precision inside the module, and at data augmentation in place of "
            "symmetry."
        )
        return Check(name, change, "kJ/mol", "warn", said, details)
    return Check(name, change, "kJ/mol", "pass", f"{texts[0]} changes nothing.", details)


def _base(subject: Subject) -> Array:
    forces = subject.run(subject.disturbed, box=subject.box, raw=True).forces
    return np.zeros_like(subject.positions) if forces is None else forces


def _no_claim(subject: Subject, name: str) -> Check | None:
    if subject.card.frame == "invariant" or not subject.feels_origin:
        return None
    text = "The card does not say that the energy is independent of the origin: nothing is claimed, nothing is wrong."
    return Check(name, None, "", "skipped", text)


@register("translation")
def translation(subject: Subject) -> Check:
    """Move everything."""
    skipped = _no_claim(subject, "translation")
    if skipped:
        return skipped
    shift = subject.random("translation").uniform(0.3, 0.9, 3) * [1.0, -1.0, 1.0]
    texts = (
        "Moving everything",
        "The energy depends on the origin: an external field, or positions used as such. Say frame='absolute' in the "
        "card if that is meant.",
    )
    return _compare(subject, "translation", subject.disturbed + shift, _base(subject), None, texts)


@register("rotation")
def rotation(subject: Subject) -> Check:
    """Turn everything."""
    skipped = _no_claim(subject, "rotation") or _in_box(subject, "rotation")
    if skipped:
        return skipped
    turn, _ = np.linalg.qr(subject.random("rotation").normal(size=(3, 3)))
    if np.linalg.det(turn) < 0.0:
        turn = -turn
    texts = (
        "Turning everything",
        "The energy depends on directions in space: results would depend on how the molecule was placed. Use a model "
        "that is invariant, or one with an external field as frame='absolute'.",
    )
    return _compare(subject, "rotation", subject.disturbed @ turn, _base(subject) @ turn, None, texts)


@register("reflection")
def reflection(subject: Subject) -> Check:
    """Take the mirror image of everything."""
    skipped = _no_claim(subject, "reflection") or _in_box(subject, "reflection")
    if skipped:
        return skipped
    mirror = np.array([-1.0, 1.0, 1.0])
    texts = (
        "A mirror image",
        "Left and right hands of a molecule have the same energy in nature and not here: look for odd products "
        "(signed dihedrals, cross products) in the features.",
    )
    return _compare(subject, "reflection", subject.disturbed * mirror, _base(subject) * mirror, None, texts)


def _in_box(subject: Subject, name: str) -> Check | None:
    if subject.box is None:
        return None
    text = "In a periodic box this would need another box; give the structure without box to check it."
    return Check(name, None, "", "skipped", text)


@register("permutation")
def permutation(subject: Subject) -> Check:
    """Give the atoms in another order."""
    if "atomic_numbers" not in subject.card.inputs and len(set(subject.numbers)) > 1:
        text = "The potential is not told the elements: it was made for one molecule, in one order of atoms."
        return Check("permutation", None, "", "skipped", text)
    if "atomic_numbers" not in subject.card.inputs and subject.card.frame == "absolute":
        text = "The potential is not told the elements, and may have been made for one order of atoms."
        return Check("permutation", None, "", "skipped", text)
    order = subject.random("permutation").permutation(len(subject.numbers))
    numbers = tuple(subject.numbers[i] for i in order)
    texts = (
        "Another order of the atoms",
        "The energy depends on how atoms are numbered: look for features that count atoms, and for sums that stop at a "
        "fixed number of neighbours.",
    )
    return _compare(subject, "permutation", subject.disturbed[order], _base(subject)[order], numbers, texts)
