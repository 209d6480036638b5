"""The first look: whether the potential gives numbers here, and whether the structure is one to start from."""

from __future__ import annotations

import numpy as np

from ..geometry import minimum_image
from ..systems.hybrid.radii import covalent_radius
from .preflight_report import Check
from .registry import register
from .subject import Subject

__all__: list[str] = []

_CLASH = 0.6
"""Atoms closer than this times the sum of their covalent radii are a clash."""

_LARGE_FORCE = 2.0e4
"""kJ/mol/nm: beyond, a first step of half a femtosecond moves a hydrogen by more than a hundredth of an angstrom."""


@register("finite")
def finite(subject: Subject) -> Check:
    """Evaluate once, in the precision in which the potential will run."""
    result = subject.run(subject.positions, box=subject.box, precision="model")
    forces = np.zeros_like(subject.positions) if result.forces is None else result.forces
    largest = float(np.abs(forces).max())
    text = "Energy and forces are numbers."
    return Check("finite", result.energy, "kJ/mol", "pass", text, {"largest_force_kJ_mol_nm": largest})


@register("starting_geometry")
def starting_geometry(subject: Subject) -> Check:
    """Look for clashes and forces that would tear a simulation apart in its first steps."""
    result = subject.run(subject.positions, box=subject.box, precision="model")
    norms = np.zeros(len(subject.numbers)) if result.forces is None else np.linalg.norm(result.forces, axis=1)
    atom = int(norms.argmax())
    pair, ratio = _closest(subject)
    details = {"atom": atom, "closest_pair": pair, "closest_over_covalent": ratio}
    name, unit = "starting_geometry", "kJ/mol/nm"
    value = float(norms[atom])
    if ratio is not None and ratio < _CLASH:
        text = (
            f"Atoms {pair[0]} and {pair[1]} are {ratio:.2f} times as far apart as a bond is long: a clash, or "
            "positions "
            "in another unit than nm. Look at the structure; if the unit is right, minimise the energy first."
        )
        return Check(name, value, unit, "warn", text, details, limit=_LARGE_FORCE)
    if value > _LARGE_FORCE and not subject.feels_origin:
        text = (
            f"The force on atom {atom} is large: minimise the energy before dynamics. If it stays, the potential and "
            "the structure do not go together."
        )
        return Check(name, value, unit, "warn", text, details, limit=_LARGE_FORCE)
    text = "No clash, and no force that a first step could not bear."
    return Check(name, value, unit, "pass", text, details, limit=_LARGE_FORCE)


def _closest(subject: Subject) -> tuple[list[int], float | None]:
    """Return the pair of atoms that is closest, and how its distance compares with the sum of covalent radii."""
    x, numbers = subject.positions, subject.numbers
    radii = np.array([covalent_radius(n) if 1 <= n <= 118 else 0.1 for n in numbers])
    best: tuple[list[int], float | None] = ([], None)
    for i in range(len(numbers) - 1):
        delta = x[i + 1 :] - x[i]
        if subject.box is not None:
            delta = minimum_image(delta, subject.box)
        ratios = np.linalg.norm(delta, axis=1) / (radii[i + 1 :] + radii[i])
        j = int(ratios.argmin())
        if best[1] is None or ratios[j] < best[1]:
            best = ([i, i + 1 + j], float(ratios[j]))
    return best
