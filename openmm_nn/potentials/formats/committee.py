"""Committees: several potentials of one kind as one, with an energy for every member."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import CardError, ParameterError
from ...model.card import ModelCard
from ...model.torchscript import quiet_torchscript
from .compose import atomic_number

if TYPE_CHECKING:
    from torch import Tensor

    from ..potential import Potential

__all__ = ["compose_committee"]

# What the engine does once for all members, and so must be the same for all.
_SHARED = ("inputs", "outputs", "format", "parameters", "length_unit", "energy_unit", "dtype", "cutoff", "periodic",
           "frame")  # fmt: skip
_LARGEST = 118


def compose_committee(potentials: Sequence[Potential]) -> tuple[Any, ModelCard]:
    """Make one module of several.

    Parameters
    ----------
    potentials
        One member each, with the same inputs, outputs, units, dtype and cutoff. Reference energies may differ.

    Returns
    -------
    module : torch.jit.ScriptModule or callable
        Returns the energies (K,) or the atomic energies (K,N) of the members, and if they return forces, the mean.
    card : ModelCard
        Its card, with the elements that all members know.

    Raises
    ------
    ParameterError
        If there are fewer than two members.
    CardError
        If they cannot be run together.

    Examples
    --------
    >>> from openmm_nn import load_potential
    >>> load_potential([lambda positions: positions.sum(), lambda positions: (positions**2).sum()]).card.committee_size
    2
    """
    if len(potentials) < 2:
        raise ParameterError(
            "source", f"a list of {len(potentials)}", "two potentials or more", "give the potential itself"
        )
    cards = [potential.card for potential in potentials]
    card = _card(cards)
    modules = [potential.module for potential in potentials]
    corrections = _corrections(cards)
    if corrections and "atomic_numbers" not in card.inputs:
        raise CardError(
            "source", "members with different energy_offset, which take no atomic numbers",
                    "the same energy_offset in all cards", "export the members with the same energy_offset"
        )  # fmt: skip
    if card.format == "callable":
        return _call_all(modules, card, corrections), card
    return _script_all(modules, card, corrections), card


def _card(cards: Sequence[ModelCard]) -> ModelCard:
    first = cards[0]
    for index, card in enumerate(cards[1:], 1):
        if card.committee_size > 1 or first.committee_size > 1:
            raise CardError(
                "source", "a committee among the members", "potentials with one member each",
                        "load the members of that committee one by one"
            )  # fmt: skip
        for name in _SHARED:
            if getattr(card, name) != getattr(first, name):
                raise CardError(
                    f"{name} of member {index}", repr(getattr(card, name)),
                            f"that of member 0, {getattr(first, name)!r}",
                            "give potentials of one family, made with the same settings"
                )  # fmt: skip
    known = [card.elements for card in cards if card.elements is not None]
    elements = None if not known else tuple(s for s in known[0] if all(s in other for other in known[1:]))
    if elements == ():
        raise CardError(
            "source", "members that have no element in common", "at least one", "give members of one family"
        )
    output = "atomic_energies" if first.outputs[0] == "atomic_energies" else "energies"
    ranges = {card.long_range for card in cards}
    names = list(dict.fromkeys(card.name for card in cards))
    offsets = {s: v for s, v in first.energy_offset.items() if elements is None or s in elements}
    return dataclasses.replace(
        first,
        name=names[0] if len(names) == 1 else " + ".join(names),
        description=f"a committee of {len(cards)}: {first.description or first.name}",
        outputs=(output, *first.outputs[1:]),
        elements=elements,
        energy_offset=offsets,
        committee_size=len(cards),
        long_range=True if True in ranges else None if None in ranges else False,
    )


def _corrections(cards: Sequence[ModelCard]) -> list[list[float]]:
    """Return by how much the offsets (K,119) of the members differ from those of the first; empty if they do not."""
    first = cards[0].energy_offset
    tables = []
    for card in cards:
        table = [0.0] * (_LARGEST + 1)
        for symbol in {*first, *card.energy_offset}:
            table[atomic_number(symbol)] = card.energy_offset.get(symbol, 0.0) - first.get(symbol, 0.0)
        tables.append(table)
    return tables if any(any(table) for table in tables) else []


def _script_all(modules: Sequence[Any], card: ModelCard, corrections: list[list[float]]) -> Any:
    import torch

    atomic, forces = card.outputs[0] == "atomic_energies", card.returns_forces
    arguments = ", ".join(card.inputs)
    lines = [f"def forward(self, {', '.join(f'{name}: Tensor' for name in card.inputs)}):"]
    if corrections:
        lines.append("    offsets = self.offsets.to(torch.float64).index_select(1, atomic_numbers)")
    for k in range(len(modules)):
        lines.append(f"    e{k}{f', f{k}' if forces else ''} = self.member{k}({arguments})")
        lines.append(f"    e{k} = e{k}.reshape({'-1' if atomic else '()'})")
        if corrections:
            lines.append(f"    e{k} = e{k}.to(torch.float64) + offsets[{k}]{'' if atomic else '.sum()'}")
    energies = f"torch.stack([{', '.join(f'e{k}' for k in range(len(modules)))}])"
    mean = f"({' + '.join(f'f{k}' for k in range(len(modules)))}) / {float(len(modules))}"
    lines.append(f"    return {energies}{f', {mean}' if forces else ''}")

    class Committee(torch.nn.Module):
        pass

    made = Committee()
    for k, module in enumerate(modules):
        made.add_module(f"member{k}", module)
    if corrections:
        made.register_buffer("offsets", torch.tensor(corrections, dtype=torch.float64))
    with quiet_torchscript():
        scripted = torch.jit.script(made.eval())
        scripted.define("\n".join(lines) + "\n")
    return scripted


def _call_all(modules: Sequence[Any], card: ModelCard, corrections: list[list[float]]) -> Callable[..., Any]:
    """Return something that calls all members, in the arguments' order of the card."""
    import torch

    def call(members: Iterable[Any], inputs: Sequence[Tensor]) -> Any:
        atomic, forces = card.outputs[0] == "atomic_energies", card.returns_forces
        named: Mapping[str, Tensor] = dict(zip(card.inputs, inputs, strict=True))
        energies, pulls = [], []
        for k, member in enumerate(members):
            returned = member(*inputs)
            energy = (returned[0] if forces else returned).reshape((-1,) if atomic else ())
            if corrections:
                table = torch.tensor(corrections[k], dtype=torch.float64, device=energy.device)
                shift = table[named["atomic_numbers"]]
                energy = energy.to(torch.float64) + (shift if atomic else shift.sum())
            energies.append(energy)
            if forces:
                pulls.append(returned[1])
        stacked = torch.stack(energies)
        return (stacked, torch.stack(pulls).mean(dim=0)) if forces else stacked

    if not all(isinstance(module, torch.nn.Module) for module in modules):
        return lambda *inputs: call(modules, inputs)

    class Committee(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = torch.nn.ModuleList(modules)

        def forward(self, *inputs: Tensor) -> Any:
            return call(self.members, inputs)

    return Committee()
