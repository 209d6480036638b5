"""A model that counts how often it is evaluated, on either engine."""

import dataclasses

from torch import Tensor

from openmm_nn import Potential, load_potential
from tests.models import ModelSet


class Counter:
    """The pair potential as a callable that counts its calls and the atoms it was given.

    Attributes
    ----------
    calls : int
    atoms : list of int
        Atoms of every call.
    """

    def __init__(self, models: ModelSet) -> None:
        self._module = models.pair_module("plain").eval()
        self.calls = 0
        self.atoms: list[int] = []

    def __call__(self, positions: Tensor, atomic_numbers: Tensor) -> Tensor:
        self.calls += 1
        self.atoms.append(int(positions.shape[0]))
        energy: Tensor = self._module(positions, atomic_numbers)
        return energy


def counting_potential(models: ModelSet) -> tuple[Counter, Potential]:
    """A counter and the potential that it counts for."""
    counter = Counter(models)
    card = dataclasses.replace(models.pair_card("plain"), format="callable")
    return counter, load_potential(counter, card=card)
