"""Periodic boxes: images are the same atoms, two cells have twice the energy, and nothing else depends on the box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..geometry import as_box, smallest_height
from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__: list[str] = []

_GAP = 0.25
"""nm between a molecule and its image in a box made for these checks: near, and no clash."""

_LARGEST_SUPERCELL = 3000


def _skipped(subject: Subject, name: str) -> Check | None:
    if subject.card.periodic != "never":
        return None
    return Check(name, None, "", "skipped", "The potential is never given a periodic box.")


def _cell(subject: Subject) -> tuple[tuple[int, ...], Array, Array]:
    """Return numbers, positions and a box: the structure's, or a narrow one around it."""
    if subject.box is not None:
        return subject.numbers, subject.positions, subject.box
    fragment = subject.fragment
    extent = np.ptp(fragment.positions, axis=0) + _GAP
    if not subject.card.uses_edges:
        # Without edges a cutoff must fit into half the box.
        extent = np.maximum(extent, 2.0 * subject.card.cutoff_nm + 0.01)
    box = np.diag(extent)
    # A triclinic cell, so that every component of the vectors matters.
    box[1, 0], box[2, 0], box[2, 1] = 0.2 * box[0, 0], -0.15 * box[0, 0], 0.25 * box[1, 1]
    if not subject.card.uses_edges:
        box *= max(1.0, 2.0 * subject.card.cutoff_nm / smallest_height(box) + 1e-6)
    return fragment.numbers, fragment.positions, box


@register("periodic_translation")
def periodic_translation(subject: Subject) -> Check:
    """Replace every atom by one of its images, and move everything through the box."""
    name, unit = "periodic_translation", "kJ/mol"
    skipped = _skipped(subject, name)
    if skipped:
        return skipped
    numbers, x, box = _cell(subject)
    rng = subject.random(name)
    first = subject.run(x, numbers, box=box, raw=True)
    images = x + rng.integers(-2, 3, x.shape) @ box
    second = subject.run(images, numbers, box=box, raw=True)
    moved = subject.run(x + rng.uniform(0.3, 0.9, 3), numbers, box=box, raw=True)
    changes = {
        "images_kJ_mol": abs(second.energy - first.energy),
        "moved_kJ_mol": abs(moved.energy - first.energy),
        "images_forces_kJ_mol_nm": _difference(first.forces, second.forces),
    }
    value = max(changes["images_kJ_mol"], changes["moved_kJ_mol"])
    allowed = 1e-3 * subject.scale * 0.1 + 1e-3 + 100.0 * subject.noise
    if value > allowed or changes["images_forces_kJ_mol_nm"] > 0.01 * subject.scale:
        text = (
            f"Replacing atoms by their periodic images changes the energy by {changes['images_kJ_mol']:.3g} "
            "kJ/mol, and "
            f"moving everything by {changes['moved_kJ_mol']:.3g} kJ/mol: the energy would jump whenever an atom "
            "crosses "
            "the box's border. Look at how displacements are wrapped inside the module, all three components of the "
            "box vectors included."
        )
        return Check(name, value, unit, "fail", text, changes, limit=allowed)
    return Check(name, value, unit, "pass", "Periodic images of atoms are the same atoms.", changes, limit=allowed)


def _difference(first: Array | None, second: Array | None) -> float:
    return 0.0 if first is None or second is None else float(np.abs(second - first).max())


@register("supercell")
def supercell(subject: Subject) -> Check:
    """Compare two cells with twice the energy of one."""
    name, unit = "supercell", "kJ/mol"
    skipped = _skipped(subject, name)
    if skipped:
        return skipped
    numbers, x, box = _cell(subject)
    if 2 * len(numbers) > _LARGEST_SUPERCELL:
        return Check(name, None, "", "skipped", "The structure is too large to be doubled in a check.")
    if subject.charge != 0:
        return Check(name, None, "", "skipped", "Of charged cells two are not twice one.")
    axis = int(np.argmin(np.diag(box)))
    double = box.copy()
    double[axis] *= 2.0
    offset = box[axis]
    double = as_box(double)
    one = subject.run(x, numbers, box=box)
    two = subject.run(np.concatenate([x, x + offset]), [*numbers, *numbers], box=double)
    change = abs(two.energy - 2.0 * one.energy)
    ratio = two.energy / one.energy if one.energy else 2.0
    allowed = 1e-3 * subject.scale * 0.1 + 1e-3 + 200.0 * subject.noise
    details = {"ratio": ratio, "axis": "abc"[axis], "energy_of_one_kJ_mol": one.energy}
    if change > allowed:
        if subject.card.long_range:
            text = f"Two cells differ from twice one by {change:.3g} kJ/mol: the long-range part is not converged."
            return Check(name, change, unit, "warn", text, details, limit=allowed)
        text = (
            f"Two cells have {change:.3g} kJ/mol more or less than twice the energy of one (ratio {ratio:.10g}): the "
            "energy depends on how the crystal is cut into cells. Look for images that are left out (only the nearest "
            "is counted in a small box) and for sums that are divided by the number of atoms."
        )
        return Check(name, change, unit, "fail", text, details, limit=allowed)
    return Check(name, change, unit, "pass", "Two cells have twice the energy of one.", details, limit=allowed)


@register("box_dependence")
def box_dependence(subject: Subject) -> Check:
    """Put a cluster into boxes so large that images do not meet, and compare."""
    name, unit = "box_dependence", "kJ/mol"
    skipped = _skipped(subject, name)
    if skipped:
        return skipped
    card = subject.card
    if card.long_range or card.cutoff is None:
        text = "The potential may reach across any box: energies in two boxes need not be the same."
        return Check(name, None, "", "skipped", text)
    fragment = subject.fragment
    x = fragment.positions - fragment.positions.mean(axis=0)
    side = float(np.ptp(x, axis=0).max()) + 2.2 * card.cutoff_nm + 0.1
    small, large = np.eye(3) * side, np.diag([1.31, 1.23, 1.57]) * side
    energies = {"small": subject.run(x, fragment.numbers, box=small).energy}
    energies["large"] = subject.run(x, fragment.numbers, box=large).energy
    if card.periodic == "optional":
        energies["cluster"] = subject.run(x, fragment.numbers).energy
    value = max(energies.values()) - min(energies.values())
    allowed = 1e-3 + 100.0 * subject.noise
    details = {f"{key}_kJ_mol": energy for key, energy in energies.items()}
    if value > allowed:
        kind = "fail" if card.long_range is False else "warn"
        text = (
            f"A molecule alone in a box has an energy that changes by {value:.3g} kJ/mol with the box, though "
            "its images "
            "are beyond the cutoff: the box enters in a hidden way. A barostat would follow it. Look at what "
            "the module "
            "does with box; if the potential has long-range terms, say long_range=True in the card."
        )
        return Check(name, value, unit, kind, text, details, limit=allowed)
    text = "The energy of a molecule alone does not depend on the box."
    return Check(name, value, unit, "pass", text, details, limit=allowed)


@register("size_consistency")
def size_consistency(subject: Subject) -> Check:
    """Compare two molecules far apart with twice one."""
    name, unit = "size_consistency", "kJ/mol"
    if subject.feels_origin:
        return Check(name, None, "", "skipped", "The energy depends on where the origin is: two places differ.")
    if subject.multiplicity != 1 or (subject.charge != 0 and not subject.card.supports_charge):
        text = "Two open shells, or two charges that the potential is not told, are not twice one."
        return Check(name, None, "", "skipped", text)
    if "atomic_numbers" not in subject.card.inputs:
        text = "The potential is not told the elements: it was made for one number of atoms."
        return Check(name, None, "", "skipped", text)
    fragment = subject.fragment
    x = fragment.positions - fragment.positions.mean(axis=0)
    apart = float(np.ptp(x, axis=0).max()) + max(3.0 * subject.card.cutoff_nm, 5.0)
    charge = subject.charge
    one = subject.run(x, fragment.numbers, charge=charge)
    both = np.concatenate([x, x + np.array([apart, 0.0, 0.0])])
    two = subject.run(both, [*fragment.numbers, *fragment.numbers], charge=2 * charge)
    change = abs(two.energy - 2.0 * one.energy)
    allowed = 1e-2 + 100.0 * subject.noise
    details = {"distance_nm": apart, "energy_of_one_kJ_mol": one.energy}
    if change > allowed:
        long = subject.card.long_range is not False
        kind = "warn" if long and change < 5.0 else "fail"
        text = (
            f"Two molecules {apart:.1f} nm apart differ from twice one by {change:.3g} kJ/mol. Energies of molecules "
            "that meet or part would be wrong by that. Look for pooling over all atoms (a mean, attention), and for "
            "charge that is spread over the whole system."
        )
        return Check(name, change, unit, kind, text, details, limit=allowed)
    text = "Two molecules far apart have twice the energy of one."
    return Check(name, change, unit, "pass", text, details, limit=allowed)
