"""What the card says, against the module and the structure: signature, elements, charge and spin."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np

from ..engine.force_arguments import check_charge, check_elements, check_multiplicity
from ..errors import CardError, ParameterError, ParticleError
from ..model.card_values import element_symbol
from ..model.modelfile import check_callable, check_script
from .preflight_report import Check
from .registry import register
from .subject import Subject

__all__: list[str] = []

_SAME = 1e-6
"""A response of the energy below this, kJ/mol, is none."""


@register("card_module")
def card_module(subject: Subject) -> Check:
    """Compare the card with the module's signature and with what it returns."""
    import torch

    card = subject.card
    module = subject.potential.module
    name = "card_module"
    try:
        if isinstance(module, torch.jit.ScriptModule):
            check_script(module, card)
        else:
            check_callable(module, card)
    except CardError as error:
        return Check(name, 1.0, "contradictions", "fail", f"The card contradicts the module. {error}")
    said: list[str] = []
    stored = _stored_dtypes(module)
    if card.dtype == "float32" and "float64" in stored:
        said.append(
            "The card says float32 and some of the weights are stored in float64: the engine converts them, and digits "
            "are lost. Say dtype='float64' in the card if the potential needs them."
        )
    halves = sorted(stored & {"float16", "bfloat16"})
    if halves:
        said.append(f"Some of the weights are stored in {halves[0]}, which has three digits. Store them in float32.")
    if card.long_range is None and card.cutoff is not None:
        said.append(
            "The card does not say whether the potential reaches beyond its cutoff (long_range). A hybrid system needs "
            "to know: say it in the card, or give long_range= when the hybrid is made."
        )
    if "atomic_numbers" in card.inputs and _ignores_elements(subject):
        said.append(
            "The module takes atomic numbers, and its energy does not depend on them. Look at how it was exported."
        )
    if said:
        return Check(name, 0.0, "contradictions", "warn", " ".join(said), {"stored": sorted(stored)})
    text = "Arguments, outputs and number types of the module are those of its card."
    return Check(name, 0.0, "contradictions", "pass", text, {"stored": sorted(stored)})


def _stored_dtypes(module: object) -> set[str]:
    import torch

    if not isinstance(module, torch.nn.Module):
        return set()
    tensors = [*module.parameters(), *module.buffers()]
    return {str(t.dtype).removeprefix("torch.") for t in tensors if t.dtype.is_floating_point}


def _ignores_elements(subject: Subject) -> bool:
    """Whether the energy without offsets stays the same when one atom becomes another element that is known."""
    known = subject.card.elements
    symbols = [element_symbol(n) for n in subject.numbers]
    others = [n for n in (1, 6, 7, 8) if (known is None or element_symbol(n) in known) and n != subject.numbers[0]]
    if not others or known is None:
        return False
    changed = (others[0], *subject.numbers[1:])
    try:
        first = subject.run(subject.disturbed, box=subject.box, forces=False).energy
        second = subject.run(subject.disturbed, changed, box=subject.box, forces=False).energy
    except (ParticleError, ParameterError):
        return False
    offset = subject.card.energy_offset
    shift = offset.get(element_symbol(others[0]), 0.0) - offset.get(symbols[0], 0.0)
    return abs(second - first - subject.card.energy_factor * shift) <= _SAME + 10.0 * subject.noise


@register("elements")
def elements(subject: Subject) -> Check:
    """Look for elements that the potential does not know."""
    card = subject.card
    counts = Counter(element_symbol(n) for n in subject.numbers)
    details = {"elements": dict(counts), "known": None if card.elements is None else list(card.elements)}
    try:
        check_elements(card, subject.numbers)
    except ParticleError as error:
        known = card.elements or ()
        strangers = sum(count for symbol, count in counts.items() if symbol not in known)
        return Check("elements", float(strangers), "atoms", "fail", str(error), details, limit=0.0)
    without = [s for s in counts if card.energy_offset and s not in card.energy_offset]
    if without:
        atoms = float(sum(counts[s] for s in without))
        text = (
            f"The card has an energy offset for some elements and none for {', '.join(without)}: energies of formulas "
            "with them cannot be compared. Add the offset to the card, 0 if it is none."
        )
        return Check("elements", atoms, "atoms", "fail", text, details, limit=0.0)
    if card.elements is None and "atomic_numbers" in card.inputs:
        text = (
            "The card does not list the elements that the potential knows, so that nothing can be said. List them in "
            "the card: an element that training never saw gives numbers all the same."
        )
        return Check("elements", 0.0, "atoms", "warn", text, details, limit=0.0)
    return Check("elements", 0.0, "atoms", "pass", "Every element is one that the potential knows.", details, limit=0.0)


@register("charge_and_spin")
def charge_and_spin(subject: Subject) -> Check:
    """Compare charge and multiplicity with the potential and with the number of electrons."""
    electrons = sum(subject.numbers) - subject.charge
    details = {"electrons": electrons, "charge": subject.charge, "multiplicity": subject.multiplicity}
    name, unit = "charge_and_spin", "electrons"
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_charge(subject.card, subject.charge)
            check_multiplicity(subject.card, subject.multiplicity)
    except ParameterError as error:
        return Check(name, float(electrons), unit, "fail", str(error), details)
    if caught:
        return Check(name, float(electrons), unit, "fail", str(caught[0].message), details)
    if "atomic_numbers" not in subject.card.inputs:
        text = "The potential is not told which elements the atoms are."
        return Check(name, float(electrons), unit, "skipped", text, details)
    unpaired = subject.multiplicity - 1
    if electrons < unpaired or (electrons - unpaired) % 2:
        kind = "an odd" if electrons % 2 else "an even"
        text = (
            f"{electrons} electrons is {kind} number, and a multiplicity of {subject.multiplicity} needs "
            f"{unpaired} unpaired ones: no such molecule exists. Look for a missing or superfluous hydrogen, a wrong "
            "charge, or a region that cuts a bond without a link atom."
        )
        return Check(name, float(electrons), unit, "fail", text, details)
    text = f"{electrons} electrons, charge {subject.charge} and multiplicity {subject.multiplicity} go together."
    return Check(name, float(electrons), unit, "pass", text, details)


@register("charge_response")
def charge_response(subject: Subject) -> Check:
    """Measure by how much the energy changes when the charge does."""
    if not subject.card.supports_charge:
        text = "The potential is not told the charge: it is for the charges that it was trained on, mostly 0."
        return Check("charge_response", None, "", "skipped", text)
    other = subject.multiplicity + 1 if subject.card.supports_spin else None
    return _response(subject, "charge_response", "charge", charge=subject.charge + 1, multiplicity=other)


@register("spin_response")
def spin_response(subject: Subject) -> Check:
    """Measure by how much the energy changes when the multiplicity does."""
    if not subject.card.supports_spin:
        return Check("spin_response", None, "", "skipped", "The potential is not told the multiplicity.")
    return _response(subject, "spin_response", "multiplicity", charge=None, multiplicity=subject.multiplicity + 2)


def _response(subject: Subject, name: str, what: str, *, charge: int | None, multiplicity: int | None) -> Check:
    x = subject.disturbed
    if name == "charge_response":
        first = subject.run(x, box=subject.box)
        second = subject.run(x, box=subject.box, charge=charge)
        if other_spin := multiplicity:
            # A potential may refuse what no molecule can be; then both are changed.
            second = subject.run(x, box=subject.box, charge=charge, multiplicity=other_spin)
            first = subject.run(x, box=subject.box, multiplicity=other_spin)
    else:
        first = subject.run(x, box=subject.box)
        second = subject.run(x, box=subject.box, multiplicity=multiplicity)
    change = abs(second.energy - first.energy)
    moved = 0.0
    if first.forces is not None and second.forces is not None:
        moved = float(np.abs(second.forces - first.forces).max())
    details = {"largest_change_of_force_kJ_mol_nm": moved}
    if change <= _SAME + 10.0 * subject.noise and moved <= 1e-4 * subject.scale:
        text = (
            f"The card says that the potential is told the {what}, and neither energy nor forces depend on it: the "
            f"{what} is ignored. Results for ions or radicals would be those of another molecule. Look at how the "
            f"module was exported, or take {what!r} out of the card's inputs."
        )
        return Check(name, change, "kJ/mol", "fail", text, details)
    text = f"The energy depends on the {what}."
    return Check(name, change, "kJ/mol", "pass", text, details)
