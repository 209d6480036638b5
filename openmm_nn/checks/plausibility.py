"""Whether bonds are as long and as stiff as bonds are; if not, which mix-up of units would explain it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import OpenMMNNError
from ..model.card_values import element_symbol
from ..units import ENERGY_UNITS, LENGTH_UNITS
from .bond_tables import bond_length, force_constant, stretch_of, wavenumber
from .fragments import Fragment, mass_of
from .minimise import minimise
from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Relaxed", "relax"]

_SYMBOLS = {"angstrom": "Å", "bohr": "bohr", "nm": "nm"}
_SHORTEST, _LONGEST = 0.80, 1.20
"""Median length of relaxed bonds over the sum of single-bond radii: multiple bonds are shorter, up to a fifth."""

_SOFTEST, _STIFFEST = 0.75, 1.33
_BONDS_STEPS = 60
_STRETCHED = 1.6
"""A bond longer than this times what it should be is broken."""

_EVEN = 1.25
"""Double and triple bonds are up to a fifth shorter than single ones."""

_MUCH_LOWER = 20.0
"""kJ/mol for an atom."""

_MOST_STRETCHES = 12
_UNIT_TOLERANCE = 0.30
"""Logarithmic distance (natural) within which a ratio is explained by a mix-up of units."""


@dataclasses.dataclass(frozen=True)
class Relaxed:
    """A fragment after a short minimisation.

    Parameters
    ----------
    fragment
        The fragment, as given.
    positions
        (n,3) nm, relaxed.
    scale
        By how much all distances had to be multiplied before, so that the energy has a minimum; None if it has none.
    ratios
        Lengths of the bonds over the sum of covalent radii.
    """

    fragment: Fragment
    positions: Array
    scale: float | None
    ratios: Array

    @property
    def intact(self) -> bool:
        """Whether the bonds are still there, whatever their unit."""
        if not len(self.ratios):
            return False
        return bool(self.ratios.max() < _STRETCHED * float(np.median(self.ratios)))

    @property
    def unevenness(self) -> float:
        """How much more the longest bond is stretched than the shortest one."""
        return float(self.ratios.max() / self.ratios.min())


def relax(subject: Subject) -> Relaxed:
    """Find the size at which the structure is a molecule for the potential, and minimise the energy there.

    Parameters
    ----------
    subject
        Potential and structure.

    Returns
    -------
    Relaxed
        Made once.
    """
    cache = subject._cache
    if "relaxed" not in cache:
        cache["relaxed"] = _relax(subject)
    found: Relaxed = cache["relaxed"]
    return found


def _relax(subject: Subject) -> Relaxed:
    fragment = subject.fragment
    centred = fragment.positions - fragment.positions.mean(axis=0)
    tried: list[Relaxed] = []
    for scale in _sizes(subject, centred):
        positions = minimise(
            lambda x: subject.run(x, fragment.numbers), scale * centred, steps=_BONDS_STEPS, longest=0.01 * scale
        )
        tried.append(Relaxed(fragment, positions, scale, _ratios(fragment, positions)))
        # What is evenly stretched is a molecule; where the potential was never trained, minima tear it about.
        if tried[-1].intact and (tried[-1].unevenness < _EVEN or len(tried) > 2):
            break
    intact = [found for found in tried if found.intact]
    if intact:
        return min(intact, key=lambda found: found.unevenness)
    return tried[0] if tried else Relaxed(fragment, fragment.positions, None, _ratios(fragment, fragment.positions))


def _sizes(subject: Subject, centred: Array) -> list[float]:
    """Return factors at which the energy has a minimum when all distances are multiplied; the likeliest first.

    The size given comes first, unless one that a mix-up of units would explain has a much lower energy.
    """
    factors = np.exp(np.linspace(math.log(1 / 30), math.log(30), 57))
    energies = np.array([_energy(subject, factor * centred) for factor in factors])
    found = []
    for i in range(1, len(factors) - 1):
        if energies[i] <= min(energies[i - 1], energies[i + 1]) and energies[i] < max(energies[i - 1], energies[i + 1]):
            found.append((float(factors[i]), float(energies[i])))
    if not found:
        return []
    found.sort(key=lambda pair: pair[1])
    near = [pair for pair in found if abs(math.log(pair[0])) < _UNIT_TOLERANCE]
    explained = [pair for pair in found if pair not in near and _length_mix_up(pair[0], subject.card.length_unit)]
    if near and explained and explained[0][1] > near[0][1] - _MUCH_LOWER * len(centred):
        explained = []
    return [size for size, _ in dict.fromkeys([*explained, *near, *found])][:5]


def _energy(subject: Subject, positions: Array) -> float:
    try:
        return subject.run(positions, subject.fragment.numbers, forces=False).energy
    except OpenMMNNError:
        # Atoms inside one another; whether that is tolerable is asked elsewhere.
        return math.inf


def _ratios(fragment: Fragment, positions: Array) -> Array:
    return np.array(
        [
            np.linalg.norm(positions[i] - positions[j]) / bond_length(fragment.numbers[i], fragment.numbers[j])
            for i, j in fragment.bonds
        ]
    )


def _not_molecular(subject: Subject) -> str:
    if "atomic_numbers" not in subject.card.inputs and subject.feels_origin:
        return "The energy depends on where the origin is: an external field, which has no bonds."
    if not subject.fragment.bonds:
        return "The structure has no bonds to compare with tables."
    return ""


@register("bond_lengths")
def bond_lengths(subject: Subject) -> Check:
    """Compare the lengths of bonds after a short minimisation with sums of covalent radii."""
    name = "bond_lengths"
    reason = _not_molecular(subject)
    if reason:
        return Check(name, None, "", "skipped", reason)
    relaxed = relax(subject)
    ratio = float(np.median(relaxed.ratios))
    details = {
        "size": relaxed.scale,
        "bonds": len(relaxed.ratios),
        "shortest": float(relaxed.ratios.min()),
        "longest": float(relaxed.ratios.max()),
    }
    unit = "× table"
    if relaxed.scale is None:
        text = (
            "There is no size at which the energy of this structure has a minimum: the potential does not hold the "
            "molecule together. Look at the sign of the energy, at elements and units in the card, and at whether the "
            "potential was made for such molecules."
        )
        return Check(name, ratio, unit, "fail", text, details, limit=_LONGEST)
    card_unit = subject.card.length_unit
    guess = _length_mix_up(ratio, card_unit)
    if guess and relaxed.intact:
        text = (
            f"Bonds relax to {ratio:.3g} times their length, as if {_SYMBOLS[guess]} were read as "
            f"{_SYMBOLS[card_unit]}: the card says length_unit={card_unit!r} and the module seems to work in "
            f"{_SYMBOLS[guess]}. Say length_unit={guess!r} in the card, the cutoff too, and export again."
        )
        return Check(name, ratio, unit, "fail", text, {**details, "read_as": [guess, card_unit]}, limit=_LONGEST)
    if not relaxed.intact:
        i, j = relaxed.fragment.bonds[int(relaxed.ratios.argmax())]
        pair = f"{element_symbol(relaxed.fragment.numbers[i])}–{element_symbol(relaxed.fragment.numbers[j])}"
        text = (
            f"The {pair} bond of atoms {relaxed.fragment.atoms[i]} and {relaxed.fragment.atoms[j]} breaks in a short "
            "minimisation: the potential does not know this molecule, or forces, elements or units are wrong."
        )
        return Check(name, ratio, unit, "fail", text, details, limit=_LONGEST)
    if not _SHORTEST <= ratio <= _LONGEST:
        text = (
            f"Bonds relax to {ratio:.3g} times their usual length, which no mix-up of units explains. Look at the "
            "elements, and at whether the potential was trained on such molecules."
        )
        return Check(name, ratio, unit, "warn", text, details, limit=_LONGEST)
    text = "After a short minimisation bonds are as long as bonds are."
    return Check(name, ratio, unit, "pass", text, details, limit=_LONGEST)


def _length_mix_up(ratio: float, card_unit: str) -> str | None:
    """Return the unit that the module works in, if a ratio of lengths says that it is another one than the card's."""
    best = None
    for true_unit, size in LENGTH_UNITS.items():
        # The module's optimum is a number in its own unit; the card makes it one in the card's.
        expected = LENGTH_UNITS[card_unit] / size
        distance = abs(math.log(max(ratio, 1e-9) / (0.95 * expected)))
        if distance < _UNIT_TOLERANCE and (best is None or distance < best[0]):
            best = (distance, true_unit)
    return best[1] if best and best[1] != card_unit else None


@register("stretch_frequency")
def stretch_frequency(subject: Subject) -> Check:
    """Compare the frequencies of single stretches with tables, at the relaxed geometry."""
    name = "stretch_frequency"
    reason = _not_molecular(subject)
    if reason:
        return Check(name, None, "", "skipped", reason)
    relaxed = relax(subject)
    if relaxed.scale is None or not relaxed.intact:
        text = "The molecule does not hold together, see bond_lengths: there is no stretch to measure."
        return Check(name, None, "", "skipped", text)
    size = relaxed.scale if not 0.75 < relaxed.scale < 1.34 else 1.0
    rows = _stretches(subject, relaxed, size)
    if not rows:
        return Check(name, None, "", "skipped", "No bond of this structure is in the tables.")
    # An imaginary frequency has no ratio: a tiny one stands for it.
    ratio = float(np.median([max(row[1], 1e-3 * row[2]) / row[2] for row in rows]))
    details = {
        "frequencies_cm-1": {label: [round(found, 1), round(table, 1)] for label, found, table in rows},
        "ratio": ratio,
    }
    frequency = float(rows[0][1])
    unit = "cm⁻¹"
    if _SOFTEST <= ratio <= _STIFFEST:
        text = f"Stretches are {ratio:.2f} times as fast as tables have them."
        return Check(name, frequency, unit, "pass", text, details, limit=float(rows[0][2]))
    guess = _energy_mix_up(ratio**2, subject.card.energy_unit)
    card_unit = subject.card.energy_unit
    if guess:
        text = (
            f"Stretches are {ratio:.3g} times as fast as tables have them ({rows[0][0]}: {frequency:.0f} "
            "instead of about "
            f"{rows[0][2]:.0f} cm⁻¹), as if {guess} were read as {card_unit}: the card says "
            f"energy_unit={card_unit!r} and "
            f"the module seems to work in {guess}. Say energy_unit={guess!r} in the card, and export again."
        )
        details["read_as"] = [guess, card_unit]
        return Check(name, frequency, unit, "fail", text, details, limit=float(rows[0][2]))
    wild = not 0.4 <= ratio <= 2.5
    text = (
        f"Stretches are {ratio:.3g} times as fast as tables have them ({rows[0][0]}: {frequency:.0f} instead of about "
        f"{rows[0][2]:.0f} cm⁻¹), which no mix-up of energy units explains. Look at whether the energy is scaled "
        "somewhere, and whether the potential was trained on such molecules."
    )
    return Check(name, frequency, unit, "fail" if wild else "warn", text, details, limit=float(rows[0][2]))


def _stretches(subject: Subject, relaxed: Relaxed, size: float) -> list[tuple[str, float, float]]:
    """Return label, frequency and table value in cm⁻¹ of bonds to hydrogen; of other bonds if there are none."""
    fragment = relaxed.fragment
    to_hydrogen, others = [], []
    for i, j in fragment.bonds:
        zi, zj = fragment.numbers[i], fragment.numbers[j]
        label = (
            f"{element_symbol(max(zi, zj))}–{element_symbol(min(zi, zj))} ({fragment.atoms[i]}, {fragment.atoms[j]})"
        )
        reduced = mass_of(zi) * mass_of(zj) / (mass_of(zi) + mass_of(zj))
        tabulated = stretch_of(zi, zj)
        if tabulated is not None:
            to_hydrogen.append((i, j, label, reduced, tabulated))
            continue
        constant = force_constant(zi, zj, float(np.linalg.norm(fragment.positions[i] - fragment.positions[j])))
        if constant is not None:
            others.append((i, j, label, reduced, wavenumber(constant, reduced)))
    chosen = (to_hydrogen or others)[:_MOST_STRETCHES]
    return [
        (label, wavenumber(_stiffness(subject, relaxed, i, j, size), reduced), table)
        for i, j, label, reduced, table in chosen
    ]


def _stiffness(subject: Subject, relaxed: Relaxed, i: int, j: int, size: float) -> float:
    """Return the second derivative of the energy by the length of a bond in kJ/mol/nm².

    At another size than the molecule's own, lengths count in units of that size: what is compared with tables is then
    the energy alone.
    """
    x, numbers = relaxed.positions, relaxed.fragment.numbers
    mi, mj = mass_of(numbers[i]), mass_of(numbers[j])
    along = (x[j] - x[i]) / np.linalg.norm(x[j] - x[i])
    step = np.zeros_like(x)
    step[i], step[j] = -mj / (mi + mj) * along, mi / (mi + mj) * along
    h = 0.0005 * size
    slopes = []
    for sign in (1.0, -1.0):
        forces = subject.run(x + sign * h * step, numbers).forces
        slopes.append(0.0 if forces is None else float(np.sum(forces * step)))
    return (slopes[1] - slopes[0]) / (2.0 * h) * size**2


def _energy_mix_up(ratio: float, card_unit: str) -> str | None:
    """Return the unit that the module works in, if a ratio of stiffness says that it is another one than the card's."""
    best = None
    for true_unit, size in ENERGY_UNITS.items():
        distance = abs(math.log(max(ratio, 1e-12) / (ENERGY_UNITS[card_unit] / size)))
        if distance < 2.0 * _UNIT_TOLERANCE and (best is None or distance < best[0]):
            best = (distance, true_unit)
    return best[1] if best and best[1] != card_unit else None
