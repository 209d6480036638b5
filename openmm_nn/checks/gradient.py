"""Whether the forces are the gradient of the energy; if not, what they are instead."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.module_runner import ModuleRunner
from ..errors import ModelError
from ..units import ENERGY_UNITS, LENGTH_UNITS
from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__: list[str] = []

_MOST_COORDINATES = 24
_WARN, _FAIL = 2e-3, 2e-2
"""Error of the forces, relative to their root mean square."""


def _forces(result: Any) -> Array:
    if result.forces is None:
        raise ModelError(
            "forces", "none from the potential", "forces (N,3)", "list them in its card, or leave them to autograd"
        )
    forces: Array = result.forces
    return forces


@register("forces_central_differences")
def forces_central_differences(subject: Subject) -> Check:
    """Compare forces with fourth-order central differences of the energy, on randomly chosen coordinates."""
    x = subject.disturbed
    atoms = len(x)
    rng = subject.random("differences")
    count = min(_MOST_COORDINATES, 3 * atoms)
    chosen = np.sort(rng.choice(3 * atoms, size=count, replace=False))
    # Whole atoms first, so that components can be told apart.
    whole = rng.permutation(atoms)[: max(1, count // 5)]
    chosen = np.unique(np.concatenate([chosen, *(np.arange(3 * a, 3 * a + 3) for a in whole)]))
    h = _step(subject)
    given = _forces(subject.run(x, box=subject.box))
    found = np.zeros(len(chosen))
    for k, coordinate in enumerate(chosen):
        step = np.zeros_like(x)
        step[coordinate // 3, coordinate % 3] = h
        e = [subject.run(x + m * step, box=subject.box, forces=False).energy for m in (-2, -1, 1, 2)]
        found[k] = -(e[0] - 8.0 * e[1] + 8.0 * e[2] - e[3]) / (12.0 * h)
    flat = given.ravel()[chosen]
    scale = max(float(np.sqrt(np.mean(found**2))), float(np.sqrt(np.mean(flat**2))), 1e-6)
    error = float(np.sqrt(np.mean((flat - found) ** 2))) / scale
    allowance = 3.0 * 1.2 * subject.noise / h / scale
    details: dict[str, Any] = {
        "step_nm": h,
        "coordinates": len(chosen),
        "largest_error_kJ_mol_nm": float(np.abs(flat - found).max()),
        "root_mean_square_force_kJ_mol_nm": scale,
    }
    name, unit = "forces_central_differences", "relative"
    if error > _FAIL + allowance:
        reason = _explain(subject, given, found, chosen)
        details["explanation"] = reason
        text = (
            f"The forces are not the gradient of the energy: they differ from central differences by {error:.2g} of "
            f"their size. {reason} Total energy would not be conserved and averages would be wrong."
        )
        return Check(name, error, unit, "fail", text, details, limit=_FAIL)
    if error > _WARN + allowance:
        text = (
            f"The forces differ from central differences of the energy by {error:.2g} of their size. Look at the "
            "precision inside the module (float64 helps), and at kinks of the energy."
        )
        return Check(name, error, unit, "warn", text, details, limit=_WARN)
    text = "The forces are the gradient of the energy."
    return Check(name, error, unit, "pass", text, details, limit=_WARN)


def _step(subject: Subject) -> float:
    """Return the step in nm: short for a smooth energy, longer for one with noise."""
    steepness = 1.0e12  # kJ/mol/nm⁵, of a bond: error of the fourth-order formula is h⁴/30 times this
    return float(np.clip((30.0 * subject.noise / steepness) ** 0.2, 2e-4, 3e-3))


def _explain(subject: Subject, given: Array, found: Array, chosen: NDArray[Any]) -> str:
    """Say what wrong forces look like, if it can be told."""
    flat = given.ravel()
    own = flat[chosen]
    norm = float(found @ found)
    if norm == 0.0:
        return "The energy does not change at all."
    if not np.any(own):
        return "They are all zero: positions were detached from the energy."
    factor = float(own @ found) / norm
    scatter = float(np.linalg.norm(own - factor * found)) / max(float(np.linalg.norm(own)), 1e-12)
    if scatter < 0.05:
        return _explain_factor(subject, factor)
    atoms = len(given)
    for text, other in (
        ("They look transposed: a tensor (3,N) was read as (N,3). Return forces of shape (N,3).",
         given.T.reshape(-1)),
        ("They look transposed: a tensor (3,N) was read as (N,3). Return forces of shape (N,3).",
         given.ravel().reshape(3, atoms).T.reshape(-1)),
        ("They are those of the atoms in reverse order. Return them in the order of the positions.",
         given[::-1].reshape(-1)),
        ("Their x and y components are exchanged. Return them as x, y, z.", given[:, [1, 0, 2]].reshape(-1)),
        ("Their components are in reverse order. Return them as x, y, z.", given[:, ::-1].reshape(-1)),
    ):  # fmt: skip
        for sign in (1.0, -1.0):
            if np.linalg.norm(sign * other[chosen] - found) < 0.05 * np.sqrt(norm):
                return text if sign > 0 else text + " Their sign is wrong too."
    return "They are no multiple of it: look for detach(), a mask, or forces that the model predicts on their own."


def _explain_factor(subject: Subject, factor: float) -> str:
    if abs(factor + 1.0) < 0.02:
        return "They have the wrong sign: return minus the gradient."
    card = subject.card
    for energy_name, energy in ENERGY_UNITS.items():
        for length_name, length in LENGTH_UNITS.items():
            ratio = (card.energy_factor / energy) * (length / card.length_factor)
            if (energy_name, length_name) != (card.energy_unit, card.length_unit) and abs(factor / ratio - 1.0) < 0.02:
                return (
                    f"They are {factor:.4g} times what they should be, as forces in {energy_name} per {length_name} "
                    f"would be, where the card's units are {card.energy_unit} and {card.length_unit}."
                )
    return f"They are {factor:.3g} times what they should be: the same factor everywhere."


@register("forces_autograd")
def forces_autograd(subject: Subject) -> Check:
    """Compare forces that the module returns with the gradient that torch finds."""
    name, unit = "forces_autograd", "relative"
    if not subject.card.returns_forces:
        text = "The module returns no forces of its own: they are the gradient that torch finds."
        return Check(name, None, "", "skipped", text)
    x = subject.disturbed
    given = _forces(subject.run(x, box=subject.box))
    try:
        found = _autograd(subject, x)
    except ModelError:
        text = (
            "The energy cannot be differentiated by torch, so that the forces were compared with central differences "
            "alone."
        )
        return Check(name, None, "", "skipped", text)
    scale = max(float(np.sqrt(np.mean(found**2))), 1e-6)
    error = float(np.sqrt(np.mean((given - found) ** 2))) / scale
    if error > _FAIL:
        reason = _explain(subject, given, found.ravel(), np.arange(found.size))
        text = f"The forces that the module returns are not the gradient of its energy: off by {error:.2g}. {reason}"
        return Check(name, error, unit, "fail", text, {"explanation": reason}, limit=_FAIL)
    verdict = "warn" if error > _WARN else "pass"
    text = "The forces that the module returns are the gradient of its energy."
    if verdict == "warn":
        text = (
            f"The forces that the module returns differ from the gradient of its energy by {error:.2g} of their size."
        )
    return Check(name, error, unit, verdict, text, limit=_WARN)


def _autograd(subject: Subject, x: Array) -> Array:
    """Return forces as torch finds them from the energy of a module that returns forces itself."""
    import torch

    class EnergyOnly(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *arguments: Any) -> Any:
            return self.inner(*arguments)[0]

    card = dataclasses.replace(subject.card, outputs=subject.card.outputs[:1])
    module = subject.potential.module
    wrapped = EnergyOnly(module) if isinstance(module, torch.nn.Module) else lambda *a: module(*a)[0]
    from ..engine.evaluator import Evaluator

    runner = ModuleRunner(wrapped, card, device=subject.device, precision="double" if subject.has_double else "model")
    evaluator = Evaluator(
        card,
        runner,
        subject.numbers,
        periodic=subject.box is not None,
        charge=subject.charge,
        multiplicity=subject.multiplicity,
    )
    return _forces(evaluator.evaluate(x, subject.box, subject.parameters))


@register("closed_loop_work")
def closed_loop_work(subject: Subject) -> Check:
    """Integrate the forces around closed loops: a field that is a gradient does no work there."""
    x = subject.disturbed
    rng = subject.random("loop")
    radius = 0.005
    points = 12
    worst, size = 0.0, 0.0
    for _ in range(2):
        u, v = (rng.normal(size=x.shape) for _ in range(2))
        u /= np.linalg.norm(u)
        v -= np.sum(u * v) * u
        v /= np.linalg.norm(v)
        work = effort = 0.0
        # The trapezoidal rule on a circle: exponentially exact for a smooth field.
        for k in range(points):
            angle = 2.0 * np.pi * k / points
            position = x + radius * (np.cos(angle) * u + np.sin(angle) * v)
            tangent = radius * (-np.sin(angle) * u + np.cos(angle) * v) * (2.0 * np.pi / points)
            forces = _forces(subject.run(position, box=subject.box))
            done = float(np.sum(forces * tangent))
            work += done
            effort += abs(done)
        worst, size = max(worst, abs(work)), max(size, effort)
    allowed = 1e-3 * size + 5.0 * subject.noise
    details = {"work_both_ways_kJ_mol": size, "radius_nm": radius}
    name, unit = "closed_loop_work", "kJ/mol"
    if worst > allowed:
        text = (
            f"Around a closed loop of {radius} nm the forces do {worst:.3g} kJ/mol of work, of {size:.3g} there and "
            "back: they are not the gradient of any energy. A simulation would heat up or cool down without end. Use "
            "forces by automatic differentiation of the energy, and leave forces out of the card's outputs."
        )
        return Check(name, worst, unit, "fail", text, details, limit=allowed)
    text = "Around a closed loop the forces do no work."
    return Check(name, worst, unit, "pass", text, details, limit=allowed)


@register("net_force")
def net_force(subject: Subject) -> Check:
    """Add up all forces, and torques for a cluster."""
    name, unit = "net_force", "kJ/mol/nm"
    if subject.card.frame != "invariant":
        text = "The card does not say that the energy is independent of the origin, so a net force is allowed."
        return Check(name, None, "", "skipped", text)
    x = subject.disturbed
    forces = _forces(subject.run(x, box=subject.box, raw=True))
    net = float(np.linalg.norm(forces.sum(axis=0)))
    torque = 0.0
    if subject.box is None:
        torque = float(np.linalg.norm(np.cross(x - x.mean(axis=0), forces).sum(axis=0)))
    extent = max(float(np.ptp(x, axis=0).max()), 0.1)
    allowed = 1e-3 * subject.scale * np.sqrt(len(x)) + 1e-3
    value = max(net, torque / extent)
    details = {"net_force_kJ_mol_nm": net, "net_torque_kJ_mol": torque}
    if value > allowed:
        text = (
            f"The forces add up to {net:.3g} kJ/mol/nm, with a torque of {torque:.3g} kJ/mol: the molecule would start "
            "to move or turn by itself. Look at forces that are predicted or wrongly ordered, and at energies that "
            "depend on the origin."
        )
        return Check(name, value, unit, "fail", text, details, limit=float(allowed))
    return Check(name, value, unit, "pass", "The forces add up to nothing.", details, limit=float(allowed))
