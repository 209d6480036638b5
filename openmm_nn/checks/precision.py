"""Numbers: how fine the energy is, what single precision costs, and whether the same question gets the same answer."""

from __future__ import annotations

import os

import numpy as np

from .preflight_report import Check
from .registry import register
from .subject import Subject

__all__: list[str] = []

_NOISE_FAIL, _NOISE_WARN = 1.0, 0.02
"""kJ/mol; a quarter of kT is 0.6."""

_HALF = 2e-6
"""Scatter over the energy itself, beyond which numbers are coarser than single precision makes them."""

_REPEATS = 4


@register("energy_noise")
def energy_noise(subject: Subject) -> Check:
    """Measure the scatter of the energy around a smooth curve, in the precision in which the potential runs."""
    own = subject.measure_noise("model")
    double = subject.noise if subject.has_double else None
    details = {"in_double_kJ_mol": double}
    name, unit = "energy_noise", "kJ/mol"
    coarse = double is not None and double > 0.3 * own
    model = abs(subject.run(subject.positions, box=subject.box, forces=False).energy - _offset(subject))
    if own > _NOISE_FAIL or (coarse and own > _NOISE_WARN + _HALF * model):
        cause = (
            "It is there when the module runs in double precision too: something inside computes with less, as "
            "float16 or bfloat16 do. Export it without autocast and half()."
            if coarse
            else "Keep the energies of isolated atoms out of the module (energy_offset in the card), return "
            "atomic_energies, or use properties={'precision': 'double'}."
        )
        text = f"The energy comes in steps: it scatters by {own:.2g} kJ/mol around a smooth curve. {cause}"
        return Check(name, own, unit, "fail", text, details, limit=_NOISE_FAIL)
    if own > _NOISE_WARN:
        text = (
            f"The energy is resolved to {own:.2g} kJ/mol. Forces are not touched by that; differences of energies and "
            "the drift of the total energy are. Keep the energies of isolated atoms in the card's energy_offset, or "
            "use properties={'precision': 'double'}."
        )
        return Check(name, own, unit, "warn", text, details, limit=_NOISE_WARN)
    text = f"The energy is resolved to {own:.2g} kJ/mol."
    return Check(name, own, unit, "pass", text, details, limit=_NOISE_WARN)


@register("single_against_double")
def single_against_double(subject: Subject) -> Check:
    """Compare forces in single with those in double precision."""
    name, unit = "single_against_double", "relative"
    if not subject.has_double:
        text = "The potential runs in its own precision only: there is nothing to compare with."
        return Check(name, None, "", "skipped", text)
    x = subject.disturbed
    double = subject.run(x, box=subject.box, precision="double")
    single = subject.run(x, box=subject.box, precision="single")
    if single.forces is None or double.forces is None:
        return Check(name, None, "", "skipped", "The potential gives no forces.")
    error = float(np.sqrt(np.mean((single.forces - double.forces) ** 2))) / subject.scale
    details = {"difference_of_energy_kJ_mol": abs(single.energy - double.energy)}
    if error > 1e-2:
        text = (
            f"In single precision forces are off by {error:.2g} of their size. Use "
            f"properties={{'precision': 'double'}}, "
            "or look for differences of large numbers inside the module."
        )
        verdict = "fail" if subject.card.dtype == "float32" else "warn"
        return Check(name, error, unit, verdict, text, details, limit=1e-2)
    if error > 1e-3:
        text = f"In single precision forces are off by {error:.2g} of their size: more than usual, and tolerable."
        return Check(name, error, unit, "warn", text, details, limit=1e-3)
    text = "Single precision is enough for the forces."
    return Check(name, error, unit, "pass", text, details, limit=1e-3)


@register("determinism")
def determinism(subject: Subject) -> Check:
    """Ask the same question again, with another one in between."""
    x, other = subject.positions, subject.disturbed
    first = subject.run(x, box=subject.box, precision="model")
    change = moved = 0.0
    for _ in range(_REPEATS):
        subject.run(other, box=subject.box, precision="model")
        again = subject.run(x, box=subject.box, precision="model")
        change = max(change, abs(again.energy - first.energy))
        if again.forces is not None and first.forces is not None:
            moved = max(moved, float(np.abs(again.forces - first.forces).max()))
    name, unit = "determinism", "kJ/mol"
    details = {"change_of_forces_kJ_mol_nm": moved, "bitwise": change == 0.0 and moved == 0.0}
    allowed = 0.02 + 4e-7 * abs(first.energy - _offset(subject))
    if change > allowed or moved > 1e-3 * subject.scale:
        text = (
            f"The same geometry gave energies that differ by {change:.3g} kJ/mol and forces that differ by {moved:.3g} "
            "kJ/mol/nm: something random is left on (dropout in training mode), or the module remembers what it was "
            "asked before. Call eval() before the export and look for state that changes in forward()."
        )
        return Check(name, change, unit, "fail", text, details, limit=allowed)
    if not details["bitwise"]:
        text = (
            f"The same geometry gave the same energy to {change:.2g} kJ/mol, and not to the last bit: runs cannot be "
            "repeated bit for bit."
        )
        return Check(name, change, unit, "pass", text, details, limit=allowed)
    return Check(name, change, unit, "pass", "The same geometry gives the same bits.", details, limit=allowed)


def _offset(subject: Subject) -> float:
    from ..model.card_values import energy_offset

    return energy_offset(subject.card, subject.numbers)


@register("threads")
def threads(subject: Subject) -> Check:
    """Compare one thread with several."""
    import torch

    name, unit = "threads", "kJ/mol"
    if subject.device != "cpu":
        return Check(name, None, "", "skipped", "The potential does not run on the CPU.")
    several = max(2, min(4, os.cpu_count() or 2))
    kept = torch.get_num_threads()
    x = subject.positions
    try:
        torch.set_num_threads(1)
        one = subject.run(x, box=subject.box, precision="model")
        torch.set_num_threads(several)
        many = subject.run(x, box=subject.box, precision="model")
    finally:
        torch.set_num_threads(kept)
    change = abs(many.energy - one.energy)
    moved = 0.0
    if one.forces is not None and many.forces is not None:
        moved = float(np.abs(many.forces - one.forces).max())
    allowed = 0.02 + 4e-7 * abs(one.energy - _offset(subject))
    details = {"threads": several, "change_of_forces_kJ_mol_nm": moved, "bitwise": change == 0.0 and moved == 0.0}
    if change > allowed or moved > 1e-3 * subject.scale:
        text = (
            f"With {several} threads the energy differs by {change:.3g} kJ/mol from that with one: more than "
            "the order of "
            "summation explains. Run with properties={'threads': '1'}, and look for random numbers or races inside."
        )
        return Check(name, change, unit, "fail", text, details, limit=allowed)
    text = f"With {several} threads the result is that of one, to rounding."
    return Check(name, change, unit, "pass", text, details, limit=allowed)
