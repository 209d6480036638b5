"""The ledger: every part of a hybrid's energy as a named, signed term, and what they miss of OpenMM's own total.

No term is the total less the others. The Coulomb energy between the region R and its environment E is
[E(q_R) - E(-q_R)] / 2, which leaves the terms quadratic in q_R out, with their images; the van der Waals energy is a
sum over the pairs (under LJPME, which has no such pairs, the whole less its two parts).

================  =====================================================================================================
term              what it holds
================  =====================================================================================================
EE                environment with itself, bonded and nonbonded, its own images included
RE                nonbonded pairs across the boundary
link              classical bonded terms across the boundary, and what a charge scheme changes
RR classical      E_MM(R), the region's own classical energy
RR removed        the same, with the sign and factor by which the hybrid leaves it out
images            interaction of the region with its own periodic images, as far as the potential does not replace it
dispersion        long-range corrections, undivided
implicit solvent  one undivided row
NN                the potential with its link atoms, times lambda where the hybrid interpolates
bias              CustomCVForces
restraints        external fields, forces kept as restraints or biases, and bonded terms left within the region
other             forces that were ignored, or that were added later and are of another kind
================  =====================================================================================================

Terms and total close within 1e-3 kJ/mol on Reference and 1e-2 elsewhere. Single precision on a GPU platform cannot: the
reciprocal sum of PME alone, some 80 kJ/mol for each atom of water, is rounded to 1e-7 of its value, 0.02 kJ/mol for
2,000 atoms, in OpenMM's own total as in the terms. The ledger of a Context in single precision is therefore computed in
mixed precision, forces in single and sums in double, its total too, where the device has it; the table says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ... import errors
from ...geometry import as_box
from ...platforms import PlatformLike, find_platform
from ...tables import Table, as_html
from ...units import in_nanometers
from .bonded import BONDED_TYPES, RegionAtoms, empty_like, iterate_terms
from .classical import changes, derives, take_over, warn_of
from .hybrid_record import HybridRecord
from .interpolation import (
    Factor,
    check_constraints,
    image_forces,
    native_module,
)
from .nonbonded import BIASES, SOLVENTS, zero_pairs
from .pair_parts import Part, nonbonded_parts, without_offsets

TERMS = (
    "EE",
    "RE",
    "link",
    "RR classical",
    "RR removed",
    "images",
    "dispersion",
    "implicit solvent",
    "NN",
    "bias",
    "restraints",
    "other",
)

Value = float | NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Ledger:
    """The terms of a hybrid's energy; printed, a table.

    Parameters
    ----------
    terms : dict of str to (float or numpy.ndarray, shape (n_frames,))
        Signed energies in kJ/mol, by the names at the head of this module.
    total : float or numpy.ndarray, shape (n_frames,)
        OpenMM's own energy of the hybrid in kJ/mol.
    computed : str
        Platform and precision of all these numbers.
    """

    terms: dict[str, Value]
    total: Value
    computed: str = ""

    def __getitem__(self, name: str) -> Value:
        return self.terms[name]

    @property
    def sum(self) -> Value:
        """Sum of the terms in kJ/mol."""
        result: Value = sum(self.terms.values(), start=0.0)
        return result

    @property
    def residual(self) -> Value:
        """What the terms miss of OpenMM's total, in kJ/mol."""
        return self.total - self.sum

    def __str__(self) -> str:
        return "\n".join([str(self._table()), *([f"computed on {self.computed}"] if self.computed else [])])

    def __repr__(self) -> str:
        frames = f"{len(self.total)} frames" if isinstance(self.total, np.ndarray) else "one frame"
        total, residual = float(np.mean(self.total)), float(np.max(np.abs(self.residual)))
        return f"Ledger({frames}, total {total:.4f} kJ/mol, residual {residual:.1e} kJ/mol)"

    def _repr_html_(self) -> str:
        return as_html([self._table(), f"computed on {self.computed}" if self.computed else ""])

    def _table(self) -> Table:
        values = [*self.terms.items(), ("sum", self.sum), ("OpenMM's total", self.total), ("residual", self.residual)]
        unit_text = "kJ/mol (mean over frames)" if isinstance(self.total, np.ndarray) else "kJ/mol"
        return Table("", ("term", unit_text), [(n, f"{float(np.mean(v)):.4f}") for n, v in values], right=(1,))


class _Energies:
    """Contexts for parts of the energy, all on one platform."""

    def __init__(self, source: HybridRecord, make_context: Callable[[openmm.System], openmm.Context]) -> None:
        self._bare = copy.deepcopy(source.classical)
        for index in reversed(range(self._bare.getNumForces())):
            self._bare.removeForce(index)
        for index in reversed(range(self._bare.getNumConstraints())):
            self._bare.removeConstraint(index)
        self._make_context = make_context
        self._contexts: list[tuple[openmm.Context, list[tuple[str, float, int]]]] = []

    def add(self, forces: Collection[openmm.Force], rows: list[tuple[str, float, int]]) -> None:
        """Add forces in a System of their own; the rows name a term, a factor and a set of force groups."""
        if forces:
            system = copy.deepcopy(self._bare)
            for force in forces:
                system.addForce(force)
            self._contexts.append((self._make_context(system), rows))

    def add_system(self, system: openmm.System, rows: list[tuple[str, float, int]]) -> None:
        """Add a System as it is."""
        self._contexts.append((self._make_context(system), rows))

    def __call__(self, positions: NDArray[np.float64], box: Any, parameters: Mapping[str, float]) -> dict[str, float]:
        energies = dict.fromkeys((*TERMS, "total"), 0.0)
        for context, rows in self._contexts:
            if box is not None:
                context.setPeriodicBoxVectors(*box)
            known = context.getParameters()
            for name, value in parameters.items():
                if name in known:
                    context.setParameter(name, value)
            context.setPositions(positions)
            context.computeVirtualSites()
            for term, factor, groups in rows:
                state = context.getState(getEnergy=True, groups=groups)
                energies[term] += factor * state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return energies


_ALL = -1


def _build(source: HybridRecord, parameters: Mapping[str, float], make_context: Any) -> _Energies:
    native_module("ledger")
    check_constraints(source.classical, source.graph, source.region, "ledger", source.kept_constraints)
    atoms = RegionAtoms.of(source.region.indices, source.graph.neighbours)
    energies = _Energies(source, make_context)

    removed = -parameters.get(source.interpolated, 1.0) if source.interpolated else -1.0
    classical = _at(source.classical, parameters)
    own = source.region_forces(Factor(1.0), "ledger", classical=classical)
    for force in own:
        force.setForceGroup(0)
    energies.add(own, [("RR classical", 1.0, _ALL), ("RR removed", removed, _ALL)])
    if source.replaces_images:
        images = image_forces(classical, source.region, source.ignored, Factor(1.0), "ledger")
        for force in images:
            force.setForceGroup(0)
        energies.add(images, [("images", removed, _ALL)])

    whole = copy.deepcopy(source.system)
    groups: dict[str, int] = {"implicit solvent": 1, "NN": 2, "bias": 3, "restraints": 4, "other": 5}
    split: list[openmm.Force] = []
    made = source.forces_made()
    kept = {int(made[index].this) for index in source.kept if made[index] is not None}
    places = [int(force.this) for force in source.system.getForces()]
    for force, role, place in zip(whole.getForces(), source.roles_now(), places, strict=True):
        term = _whole_term(force, role)
        if place in kept:
            term = "bias" if isinstance(force, openmm.CustomCVForce) else "restraints"
        if isinstance(force, openmm.NonbondedForce):
            force.setReciprocalSpaceForceGroup(-1)
        force.setForceGroup(groups.get(term, 0))
        if term == "pairs":
            reduced = copy.deepcopy(force)
            if isinstance(reduced, openmm.NonbondedForce):
                zero_pairs(reduced, source.region.indices)
            for part in nonbonded_parts(reduced, atoms.inside, parameters):
                _add_part(energies, part)
        elif term == "terms":
            split += _split(force, atoms, role == "scheme")
    energies.add(split, [("EE", 1.0, 1 << 0), ("link", 1.0, 1 << 1), ("restraints", 1.0, 1 << 2)])
    rows = [(term, 1.0, 1 << group) for term, group in groups.items()]
    energies.add_system(whole, [*rows, ("total", 1.0, _ALL)])
    return energies


def _at(system: openmm.System, parameters: Mapping[str, float]) -> openmm.System:
    """Copy a System with the offsets of its NonbondedForces made part of their constants."""
    new = copy.deepcopy(system)
    for index in reversed(range(new.getNumForces())):
        new.removeForce(index)
    for force in system.getForces():
        fixed = isinstance(force, openmm.NonbondedForce)
        new.addForce(without_offsets(force, parameters) if fixed else copy.deepcopy(force))
    return new


def _add_part(energies: _Energies, part: Part) -> None:
    for force in part.forces:
        force.setForceGroup(0)
    energies.add(part.forces, [(term, factor, _ALL) for term, factor in part.rows])


def _whole_term(force: openmm.Force, role: str) -> str:
    """Tell where a force goes: to a term as a whole, to be split (``pairs``, ``terms``), or nowhere."""
    if role in ("ignored", "own", "potential"):
        return {"ignored": "other", "own": "", "potential": "NN"}[role]
    module = native_module("ledger")
    if isinstance(force, module.RegionForce):
        return "other"  # of another region
    if isinstance(force, (module.NeuralForce, openmm.PythonForce)):
        return "NN"
    if isinstance(force, (openmm.NonbondedForce, openmm.CustomNonbondedForce)):
        return "pairs"
    if type(force) in BONDED_TYPES:
        return "terms"
    if isinstance(force, (*SOLVENTS, openmm.CustomGBForce)):
        return "implicit solvent"
    if isinstance(force, openmm.CustomCVForce):
        return "bias"
    return "restraints" if isinstance(force, BIASES) else "other"


def _split(force: openmm.Force, atoms: RegionAtoms, scheme: bool) -> list[openmm.Force]:
    """Copies of a bonded force: terms of the environment in group 0, across in 1, within the region in 2."""
    adder = next(name for name in ("addBond", "addAngle", "addTorsion") if hasattr(force, name))
    copies: dict[int, Any] = {}
    for members, term in iterate_terms(force):
        group = 0
        if not atoms.inside.isdisjoint(members):
            group = 2 if atoms.inside.issuperset(members) else 1
        group = 1 if scheme else group
        if group not in copies:
            copies[group] = empty_like(force)
            copies[group].setForceGroup(group)
        getattr(copies[group], adder)(*term)
    return list(copies.values())


# --- frames
# --------------------------------------------------------------------------------------------------------------


def make_ledger(
    source: HybridRecord,
    positions: Any,
    box: Any,
    *,
    platform: PlatformLike | None,
    properties: Mapping[str, str] | None,
    parameters: Mapping[str, float] | None,
) -> Ledger:
    """Evaluate the terms, from the arguments of `HybridSystem.ledger`, where they are described.

    Raises
    ------
    ParameterError
        If positions have the wrong shape.
    """
    warn_of(changes(source))
    if not derives(source):
        take_over(source, source.region.indices)
    values = default_parameters(source.system)
    if isinstance(positions, openmm.Context):
        state = positions.getState(getPositions=True)
        chosen = positions.getPlatform()
        properties = properties or {
            name: positions.getPlatform().getPropertyValue(positions, name)
            for name in chosen.getPropertyNames()
            if name in ("Precision", "Threads", "DeviceIndex")
        }
        platform = platform or chosen.getName()
        values.update(dict(positions.getParameters()))
        box = state.getPeriodicBoxVectors() if box is None else box
        frames: list[tuple[Any, Any]] = [(state.getPositions(asNumpy=True), box)]
    elif hasattr(positions, "unitcell_vectors") and hasattr(positions, "xyz"):
        boxes = positions.unitcell_vectors
        frames = [(xyz, box if boxes is None else boxes[index]) for index, xyz in enumerate(positions.xyz)]
    else:
        frames = [(positions, box)]
    values.update(parameters or {})
    chosen_platform = find_platform(platform or "Reference")
    given, computed = _precision(chosen_platform, dict(properties or {}), isinstance(positions, openmm.Context))

    def make_context(system: openmm.System) -> openmm.Context:
        return openmm.Context(system, openmm.VerletIntegrator(0.001), chosen_platform, given)

    energies = _build(source, values, make_context)
    results = [energies(_positions(source, xyz), _box(vectors), values) for xyz, vectors in frames]
    if len(frames) == 1 and not hasattr(positions, "xyz"):
        return Ledger({name: results[0][name] for name in TERMS}, results[0]["total"], computed)
    columns = {name: np.array([result[name] for result in results]) for name in (*TERMS, "total")}
    return Ledger({name: columns[name] for name in TERMS}, columns["total"], computed)


def _precision(platform: openmm.Platform, properties: dict[str, str], of_context: bool) -> tuple[dict[str, str], str]:
    """Properties to compute with, mixed precision in place of a Context's single one; and what the table says."""
    precision = properties.get("Precision", "")
    if not (of_context and precision == "single"):
        return properties, platform.getName() + (f", {precision} precision" if precision else "")
    mixed = {**properties, "Precision": "mixed"}
    probe = openmm.System()
    probe.addParticle(1.0)
    try:
        openmm.Context(probe, openmm.VerletIntegrator(0.001), platform, mixed)
    except openmm.OpenMMException:
        return (
            properties,
            f"{platform.getName()}, single precision, which rounds large sums: see openmm_nn.systems.hybrid.ledger",
        )
    return mixed, f"{platform.getName()}, mixed precision, since the Context's single one rounds large sums"


def _positions(source: HybridRecord, positions: Any) -> NDArray[np.float64]:
    array = in_nanometers(positions)
    expected = (source.system.getNumParticles(), 3)
    if array.shape != expected:
        raise errors.ParameterError(
            "positions",
            f"shape {array.shape}",
            f"{expected}, one row for each particle",
            "give a frame of this System",
        )
    return array


def _box(box: Any) -> Any:
    return None if box is None else [openmm.Vec3(*row) for row in as_box(box).tolist()]


def default_parameters(system: openmm.System) -> dict[str, float]:
    """Read the default values of the parameters that forces of a System define.

    Parameters
    ----------
    system : openmm.System

    Returns
    -------
    dict of str to float
    """
    values: dict[str, float] = {}
    for force in system.getForces():
        if hasattr(force, "getNumGlobalParameters"):
            for index in range(force.getNumGlobalParameters()):
                values[force.getGlobalParameterName(index)] = force.getGlobalParameterDefaultValue(index)
    return values
