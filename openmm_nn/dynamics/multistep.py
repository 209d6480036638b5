r"""Multiple time stepping: the classical region carries the fast motion, the potential corrects it seldom.

The energy of a hybrid is split as

    E = E_bonded + (E_nonbonded) + (E_NN(R) - E_MM(R)),

where the first two are those of the *whole classical System*, its region included, and the last one is small and
smooth.  Reversible RESPA evaluates each at a step of its own: bonded terms every femtosecond or less, nonbonded terms
every two or three, and the potential every two to four.  The trajectory samples the hybrid's distribution, up to the
errors of a finite step that `openmm_nn.dynamics.audit_multistep` measures.

What limits the step of the potential is a resonance: an impulse at half the period of a stretch of hydrogen, about 5
fs, feeds it, the more the larger the part of its force that acts seldom.  A force field's stretches are harmonic, those
of a potential are not.  So their difference can be measured for every kind of bond of a terminal atom, a hydrogen or a
carbonyl oxygen, and moved from the slow part to the fast one as a polynomial of the length, which is added to one and
subtracted from the other: the sum stays what it was.

References
----------
Tuckerman, Berne and Martyna, J. Chem. Phys. 97, 1990 (1992), doi:10.1063/1.463137.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from openmm import unit

from .. import native
from ..errors import ParameterError, UnsupportedError
from ..systems.hybrid import HybridSystem
from ..systems.hybrid.bonded import BONDED_TYPES, iterate_terms
from ..systems.hybrid.classical import present_classical
from ..systems.hybrid.hybrid_record import HybridRecord
from ..systems.hybrid.interpolation import Factor, check_constraints
from ..systems.hybrid.nonbonded import excludes_pairs, force_label, touches, use_box_for_exceptions
from ..units import in_nanometers, in_unit
from .stretches import measure_stretches, stretch_force

__all__ = ["FAST_GROUP", "MEDIUM_GROUP", "SLOW_GROUP", "multistep_integrator", "multistep_system"]

FAST_GROUP, MEDIUM_GROUP, SLOW_GROUP = 0, 1, 2
"""Force groups: bonded terms; nonbonded terms and whatever else acts; the potential less the classical region."""

_WHOLE = 1e-6
_SHORTEST = 1e-9


@dataclass(frozen=True)
class _Levels:
    fast: float
    medium: float
    slow: float


def multistep_system(hybrid: HybridSystem, match: Any = None) -> openmm.System:
    """Write a hybrid so that force groups separate its fast, medium and slow parts.

    The energy is the hybrid's for any positions.  The classical terms of the region stay where they were, in
    `FAST_GROUP` and `MEDIUM_GROUP`; the potential, less the region's classical energy, is in `SLOW_GROUP`.

    Parameters
    ----------
    hybrid
        From `openmm_nn.create_hybrid_system`, without interpolation, its classical System made with
        ``flexibleConstraints=True`` or without constraints in the region.
    match
        (N,3) positions near a minimum of the hybrid, nm or a Quantity: there the stretches of the region's terminal
        atoms, hydrogens above all, are measured, and what the potential adds to them is moved to the fast part, for
        longer outer steps.  The energy stays the hybrid's.  None to leave the force field's stretches as they are.

    Returns
    -------
    openmm.System
        A new System with the same particles.  Forces that were added to ``hybrid.system`` come along, and so do the
        parameters that its classical forces have now.  Biases and restraints on the region act in the fast part if they
        are bonded forces, which may be stiff and cost little, else in the medium one.

    Raises
    ------
    UnsupportedError
        If bonds of the region were made constraints, so that their classical energy is not known; if the hybrid
        interpolates; if a second potential's force reports no classical counterpart; or if bonded terms at the region
        were changed in ``hybrid.system``.
    NativeExtensionError
        If the native extension, which holds RegionForce, is not there.
    ParameterError
        If `match` is no array of positions.

    Examples
    --------
    >>> import openmm, openmm_nn
    >>> from openmm import app
    >>> from openmm_nn.dynamics import multistep_system
    >>> topology, system, force = app.Topology(), openmm.System(), openmm.NonbondedForce()
    >>> chain = topology.addChain()
    >>> for index in range(4):
    ...     atom = topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
    ...     particle = force.addParticle(0.0, 0.34, 1.0), system.addParticle(39.9)
    >>> number = system.addForce(force)
    >>> spring = openmm_nn.load_potential(lambda positions: ((positions[0] - positions[1]) ** 2).sum())
    >>> hybrid = openmm_nn.create_hybrid_system(topology, system, spring, [0, 1])
    >>> system = multistep_system(hybrid)
    >>> sorted({force.getForceGroup() for force in system.getForces()})
    [1, 2]
    """
    source = hybrid.record
    if source.interpolated:
        raise UnsupportedError(
            "hybrid",
            f"one that interpolates by {source.interpolated}, and multiple time steps are for the hybrid alone",
            "a hybrid made with interpolate=False",
            "make it again without interpolation",
        )
    check_constraints(source.classical, source.graph, source.region, "multistep_system", source.kept_constraints)
    system = copy.deepcopy(hybrid.system)
    added = [
        (copy.deepcopy(force), role)
        for force, role in zip(hybrid.system.getForces(), source.roles_now(), strict=True)
        if role not in ("classical", "ignored", "own")
    ]
    for index in reversed(range(system.getNumForces())):
        system.removeForce(index)
    classical = present_classical(source)
    now = source.forces_made()
    for index, force in enumerate(classical.getForces()):
        present = _present(source, force, now[index], index in source.ignored)
        if present is None:
            continue
        new = copy.deepcopy(present)
        if isinstance(new, openmm.NonbondedForce):
            use_box_for_exceptions(new)
            new.setReciprocalSpaceForceGroup(-1)
        new.setForceGroup(FAST_GROUP if isinstance(new, BONDED_TYPES) else MEDIUM_GROUP)
        system.addForce(new)
    own = source.region_forces(
        Factor(-1.0), "multistep_system", images=source.replaces_images, classical=classical
    )
    for force in own:
        force.setForceGroup(SLOW_GROUP)
        system.addForce(force)
    for force, role in added:
        if isinstance(force, openmm.NonbondedForce):
            force.setReciprocalSpaceForceGroup(-1)
        neural = isinstance(force, openmm.PythonForce) or native.as_neural_force(force) is not None
        potential = role == "potential" or neural
        force.setForceGroup(SLOW_GROUP if potential else MEDIUM_GROUP)
        system.addForce(force)
    if match is not None:
        _match_stretches(system, hybrid, match)
    return system


def _present(source: HybridRecord, force: openmm.Force, now: openmm.Force | None, ignored: bool) -> openmm.Force | None:
    """Choose the classical force where the hybrid's lacks terms or pairs of the region, which else are the same."""
    lacking = excludes_pairs(force) or (type(force) in BONDED_TYPES and touches(force, source.region.indices))
    if ignored or not lacking:
        return now
    changed = "" if now is not None else "which was removed after the hybrid was made"
    if now is not None and type(force) in BONDED_TYPES:
        known = {repr(term) for _, term in iterate_terms(force)}
        terms = [atoms for atoms, term in iterate_terms(now) if repr(term) not in known]
        changed = f"with a term on atoms {terms[0]} that was changed after the hybrid was made" if terms else ""
    if changed:
        raise UnsupportedError(
            "hybrid",
            f"{force_label(force)}, {changed}",
            "the forces at the region as the classical System has them",
            "make the hybrid again from a classical System with that change",
        )
    return force


def _match_stretches(system: openmm.System, hybrid: HybridSystem, match: Any) -> None:
    source = hybrid.record
    graph = source.graph
    try:
        positions = in_nanometers(match)
    except (TypeError, ValueError):
        positions = np.empty(0)
    if positions.shape != (len(graph.numbers), 3) or not np.isfinite(positions).all():
        raise ParameterError(
            "match",
            f"something of shape {positions.shape}",
            f"finite positions of shape ({len(graph.numbers)}, 3) in nm",
            "give those of a minimised hybrid, context.getState(positions=True).getPositions()",
        )
    bonds = list(graph.inner_bonds(source.region.indices))
    stretches = measure_stretches(system, positions, SLOW_GROUP, bonds, graph.numbers, graph.neighbours)
    periodic = system.usesPeriodicBoundaryConditions()
    for group, sign in ((FAST_GROUP, 1.0), (SLOW_GROUP, -1.0)):
        force = stretch_force(stretches, sign, periodic)
        force.setForceGroup(group)
        system.addForce(force)


def multistep_integrator(
    temperature: Any = 300.0,
    friction: Any = 1.0,
    *,
    slow: Any = 0.004,
    medium: Any = 0.002,
    fast: Any = 0.001,
) -> Any:
    """Make the Langevin integrator for a System of `multistep_system`.

    Langevin friction damps the resonances that limit multiple time stepping; the largest safe `slow` is still below
    half the period of the fastest motion whose force the potential changes much, about 5 fs for a stretch of hydrogen.

    Parameters
    ----------
    temperature
        Quantity, or K.
    friction
        Quantity, or 1/ps.
    slow, medium, fast
        Steps of the three parts; Quantities, or ps.  Each is a whole multiple of the next.

    Returns
    -------
    MultistepLangevinIntegrator
        Its step is `slow`.  Its innermost steps are those of OpenMM's LangevinMiddleIntegrator, by the platform's own
        code, and what acts seldom is an impulse between them: the scheme of openmm.MTSLangevinIntegrator, which is a
        CustomIntegrator, at less cost on a CPU.

    Raises
    ------
    ParameterError
        If a step is not positive, or no whole multiple of the next.

    Examples
    --------
    >>> from openmm_nn.dynamics import multistep_integrator
    >>> multistep_integrator(300, 1, slow=0.004, medium=0.002, fast=0.001).getStepSize()
    0.004 ps
    """
    levels = _levels(slow, medium, fast)
    return native.load().MultistepLangevinIntegrator(
        in_unit(temperature, unit.kelvin), in_unit(friction, unit.picosecond**-1), levels.slow, _groups(levels)
    )


def microcanonical_integrator(slow: Any, medium: Any, fast: Any) -> openmm.MTSIntegrator:
    """Make the integrator without a thermostat, for tests of energy conservation; arguments as above."""
    levels = _levels(slow, medium, fast)
    return openmm.MTSIntegrator(levels.slow, _groups(levels))


def _levels(slow: Any, medium: Any, fast: Any) -> _Levels:
    values = []
    for name, value in (("slow", slow), ("medium", medium), ("fast", fast)):
        number = in_unit(value, unit.picosecond)
        if not number > _SHORTEST:
            raise ParameterError(
                f"{name}",
                f"{value}",
                "a positive time",
                "give it in ps, 0.002 for 2 fs",
            )
        values.append(number)
    levels = _Levels(values[2], values[1], values[0])
    for name, larger, smaller in (("slow", levels.slow, levels.medium), ("medium", levels.medium, levels.fast)):
        if abs(larger / smaller - round(larger / smaller)) > _WHOLE or larger < smaller * (1 - _WHOLE):
            below = "medium" if name == "slow" else "fast"
            raise ParameterError(
                f"{name}",
                f"{larger * 1000:g} fs with {below} = {smaller * 1000:g} fs",
                "whole multiples of it",
                f"take {max(1, round(larger / smaller)) * smaller * 1000:g} fs",
            )
    return levels


def _groups(levels: _Levels) -> Sequence[tuple[int, int]]:
    """Return the force groups and how often each is evaluated in a step."""
    medium = round(levels.slow / levels.medium)
    return [(SLOW_GROUP, 1), (MEDIUM_GROUP, medium), (FAST_GROUP, medium * round(levels.medium / levels.fast))]
