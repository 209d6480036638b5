"""Uncertainty of a committee in use: its deviation at a Context's positions, and a bias on it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm

from .. import native
from ..errors import ModelError, ParameterError, UnsupportedError
from ..model.card import ModelCard
from ..potentials.loading import load_potential
from ..potentials.potential import Potential
from ..units import energy_factor
from .samples import Spread

if TYPE_CHECKING:
    import torch

__all__ = ["BIAS_HEIGHT", "bias_potential", "find_committee", "measure_spread"]

BIAS_HEIGHT = "uncertainty_bias_height"
"""Name of the Context parameter that holds the height of a bias, in the energy unit of the potential's card."""


def find_committee(system: openmm.System) -> Any | None:
    """Find the native force of a committee whose deviation can be read.

    Parameters
    ----------
    system
        The System.

    Returns
    -------
    NeuralForce or None
        None if there is none, or more than one, or the native extension is not there.
    """
    found = []
    for force in native.neural_forces(system).values():
        card = ModelCard.from_json(force.getCard())
        if card.committee_size > 1 and not card.returns_forces:
            found.append(force)
    return found[0] if len(found) == 1 else None


def measure_spread(force: Any, context: openmm.Context) -> Spread:
    """Measure the deviation of a committee at a Context's positions.

    Parameters
    ----------
    force
        A NeuralForce of the Context's System.
    context
        The Context.

    Returns
    -------
    Spread
        sigma_E, the largest sigma_F, and its atom. A link atom's counts for the atom that it is bound to.
    """
    energies = np.array(force.getMemberEnergies(context))
    forces = np.array(force.getForceStd(context))
    particles = force.getParticles()
    if not particles:
        particles = tuple(range(len(forces)))
    carriers = [force.getLinkParameters(index)[0] for index in range(force.getNumLinks())]
    atoms = [*particles, *carriers]
    worst = int(np.argmax(forces))
    return Spread(float(energies.std(ddof=1)), float(forces[worst]), int(atoms[worst]))


_SOURCE = """
def forward(self, {arguments}):
    output = self.model({names})
    sums = {sums}
    variance = sums.to(torch.float64).var(dim=0, unbiased=True)
    bias = {height}.to(torch.float64) * torch.expm1(-variance / ({width_squared} * positions.shape[0]))
    return output + (bias / {terms}).to(output.dtype)
"""


def bias_potential(potential: Potential, *, height: float, width: float) -> Potential:
    """Return a committee with an energy added that falls where its members disagree (uncertainty-driven dynamics).

    The energy is that of the committee plus ::

        A (exp(-sigma_E² / (N w²)) - 1)

    with sigma_E the sample standard deviation of the members' energies, N the number of atoms that the model sees, A
    the height and w the width. It is zero where the members agree and -A where they do not, so that dynamics visits
    geometries that are worth a label. It is added to every member, so sigma_E and sigma_F are what they were. The
    height is the Context parameter ``uncertainty_bias_height``, in the energy unit of the card: 0 switches the bias
    off.

    Parameters
    ----------
    potential
        A committee of K ≥ 2 whose forces are gradients, as TorchScript or as a module.
    height
        A, kJ/mol.
    width
        w, kJ/mol.

    Returns
    -------
    Potential
        The committee with its bias.

    Raises
    ------
    ParameterError
        If the potential is no committee, or height or width are not above zero.
    UnsupportedError
        If the potential returns its forces itself, or is machine code.

    References
    ----------
    M. Kulichenko et al., Nature Computational Science 3, 230 (2023), doi:10.1038/s43588-023-00406-5. Their variance is
    (K-1)/2 times the one here, and their B² is 2 w² / (K (K-1)).

    Examples
    --------
    >>> from openmm_nn import load_potential
    >>> from openmm_nn.dynamics import bias_potential
    >>> biased = bias_potential(load_potential("openmm-nn/hcno-1"), height=10.0, width=1.0)
    >>> list(biased.card.parameters), biased.card.committee_size
    (['uncertainty_bias_height'], 4)
    """
    card = potential.card
    for name, value in (("height", height), ("width", width)):
        if not value > 0.0:
            raise ParameterError(name, repr(value), "kJ/mol above zero", "leave the bias out to have none")
    if card.committee_size < 2:
        raise ParameterError(
            "potential", f"{card.name!r} with {card.committee_size} member", "a committee of two or more",
                    "take a committee, such as openmm-nn/hcno-1 or ani2x, or leave the bias out"
        )  # fmt: skip
    if card.returns_forces:
        raise UnsupportedError(
            "potential", f"{card.name!r}, which returns its forces itself", "one whose forces are gradients",
                    "export it without its forces output"
        )  # fmt: skip
    if card.format not in ("torchscript", "callable"):
        raise UnsupportedError(
            "potential", f"{card.name!r} of format {card.format!r}", "a TorchScript file or a module",
                    "export the module as TorchScript"
        )  # fmt: skip
    factor = energy_factor(card.energy_unit)
    biased = dataclasses.replace(
        card,
        name=f"{card.name} + bias on sigma",
        inputs=(*card.inputs, BIAS_HEIGHT),
        parameters={**card.parameters, BIAS_HEIGHT: float(height / factor)},
    )
    module = _wrap(potential, card.outputs[0] == "atomic_energies", float(width / factor) ** 2)
    return load_potential(module, card=biased)


def _wrap(potential: Potential, atomic: bool, width_squared: float) -> torch.nn.Module:
    import torch

    inputs = potential.card.inputs
    if isinstance(potential.module, torch.jit.ScriptModule):
        source = _SOURCE.format(
            arguments=", ".join([*inputs, BIAS_HEIGHT]),
            names=", ".join(inputs),
            sums="output.to(torch.float64).sum(dim=1)" if atomic else "output",
            height=BIAS_HEIGHT,
            width_squared=repr(width_squared),
            terms="output.shape[1]" if atomic else "1",
        )
        from ..model.torchscript import quiet_torchscript

        with quiet_torchscript():
            holder = torch.nn.Module()
            holder.model = potential.module
            script: Any = torch.jit.script(holder)
            try:
                script.define(source)
            except RuntimeError as error:
                raise ModelError(
                    "potential", f"a module that cannot be called from TorchScript ({error})",
                            "one that takes and returns tensors", "export it again"
                ) from error  # fmt: skip
        wrapped: torch.nn.Module = script
        return wrapped
    return _biased_module(potential.module, atomic, width_squared)


def _biased_module(model: Any, atomic: bool, width_squared: float) -> torch.nn.Module:
    """Wrap a callable. The class is made here since torch is loaded when it is first needed."""
    import torch

    class Biased(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, positions: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.model(positions, *others[:-1])
            double = output.to(torch.float64)
            variance = (double.sum(dim=1) if atomic else double).var(dim=0, unbiased=True)
            bias = others[-1].to(torch.float64) * torch.expm1(-variance / (width_squared * positions.shape[0]))
            return output + (bias / (output.shape[1] if atomic else 1)).to(output.dtype)

    return Biased()
