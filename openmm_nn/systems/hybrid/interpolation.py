"""E_MM(R), the region's own classical energy, as forces with a factor in front.

Interpolation adds it back times 1 - lambda, E(lambda) = E_MM(E,E) + E_MM(R,E) + lambda E_NN + (1 - lambda) E_MM(R);
large regions have it subtracted instead of being made of exceptions; the ledger evaluates it alone.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm

from ... import errors, native
from .bond_graph import BondGraph, pair
from .bonded import BONDED_TYPES, RegionAtoms, iterate_terms, split_terms
from .mechanical import inner_constraints
from .nonbonded import PERIODIC_METHODS, force_label, has_pairs, parameter_offsets, touches, uses_ewald
from .region import Region

LAMBDA = "lambda_interpolate"
"""Default name of the Context parameter: 0 for the classical System, 1 for the hybrid."""

_OWN = "region's own "


@dataclass(frozen=True)
class Factor:
    """A factor offset + slope p, where p is a parameter of the Context.

    Parameters
    ----------
    offset, slope : float
    parameter : str
        Its name.
    """

    offset: float
    slope: float = 0.0
    parameter: str = LAMBDA

    @property
    def expression(self) -> str:
        """The factor in OpenMM's expression language."""
        if not self.slope:
            return f"({self.offset!r})"
        return f"({self.offset!r}+{self.slope!r}*{self.parameter})"


def check_constraints(
    system: openmm.System,
    graph: BondGraph,
    region: Region,
    purpose: str,
    kept: Collection[tuple[int, int]] = (),
) -> None:
    """Refuse regions whose bonds were made constraints, so that the System has lost their energy.

    Parameters
    ----------
    system : openmm.System
        The classical System.
    graph : BondGraph
    region : Region
    purpose : str
        What needs E_MM(R), for the message.
    kept : collection of (int, int)
        Constraints of the user's own, which stay and never had an energy.

    Raises
    ------
    UnsupportedError
        If a constraint joins two atoms of the region without a bond or an angle that does.
    """
    constraints = inner_constraints(system, frozenset(region.indices))
    if not constraints:
        return
    known = set(kept)
    for force in system.getForces():
        if isinstance(force, (openmm.HarmonicBondForce, openmm.CustomBondForce)):
            known |= {pair(*atoms) for atoms, _ in iterate_terms(force)}
        elif isinstance(force, (openmm.HarmonicAngleForce, openmm.CustomAngleForce)):
            known |= {pair(atoms[0], atoms[2]) for atoms, _ in iterate_terms(force)}
    lost = [(first, second) for _, first, second in constraints if pair(first, second) not in known]
    if lost:
        raise errors.UnsupportedError(
            f"{purpose}",
            f"{len(lost)} bonds of the region, {graph.describe(*lost[0])} the first, are constraints "
            "without an energy in the given System",
            "regions whose classical energy is complete",
            "make the System with flexibleConstraints=True, or without constraints",
        )


def native_module(purpose: str) -> Any:
    """Load the native extension, which holds RegionForce.

    Parameters
    ----------
    purpose : str
        What needs it, for the message.

    Raises
    ------
    NativeExtensionError
        If it is not there.
    """
    if not native.available():
        raise errors.NativeExtensionError(
            f"{purpose}",
            f"an installation without RegionForce of the native extension ({native.reason()})",
            "an installation with it",
            "build it with python -m openmm_nn.native.build",
        )
    return native.load()


def pair_forces(
    system: openmm.System,
    region: Region,
    ignored: Collection[int],
    factor: Factor,
    purpose: str,
    *,
    images: bool = False,
) -> list[openmm.Force]:
    """Make the forces of the region's own nonbonded pairs.

    Parameters
    ----------
    system : openmm.System
        The classical System.
    region : Region
    ignored : collection of int
        Indices of forces that are left alone.
    factor : Factor
    purpose : str
        What needs them, for messages.
    images : bool
        Include the region's interaction with its periodic images where there is Ewald summation.

    Returns
    -------
    list of openmm.Force
        A RegionForce for each NonbondedForce and a CustomNonbondedForce for each such force.

    Raises
    ------
    UnsupportedError
        If parameters of the pairs depend on the Context's.
    """
    forces: list[openmm.Force] = []
    for index, force in enumerate(system.getForces()):
        if index in ignored:
            continue
        if isinstance(force, openmm.NonbondedForce):
            own = _region_force(force, region, factor, purpose)
            own.setIncludesImages(images and uses_ewald(force))
            forces.append(own)
        elif isinstance(force, openmm.CustomNonbondedForce):
            pairs = _own_pairs(force, region, factor, purpose)
            if pairs is not None:
                forces.append(pairs)
    return forces


def image_forces(
    system: openmm.System, region: Region, ignored: Collection[int], factor: Factor, purpose: str
) -> list[openmm.Force]:
    """Make the forces of the region's interaction with its own periodic images.

    It is what OpenMM's reciprocal sum gives for the region's charges alone, on the same grid, with its self energy and
    the neutralising plasma, less the region's pairs; under LJPME of its dispersion too.

    Parameters
    ----------
    system : openmm.System
        The classical System.
    region : Region
    ignored : collection of int
        Indices of forces that are left alone.
    factor : Factor
    purpose : str
        What needs them, for messages.

    Returns
    -------
    list of openmm.Force
        A RegionForce for each NonbondedForce with Ewald summation.

    Raises
    ------
    UnsupportedError
        If charges of the region depend on the Context's parameters.
    """
    forces: list[openmm.Force] = []
    for index, force in enumerate(system.getForces()):
        if index not in ignored and isinstance(force, openmm.NonbondedForce) and uses_ewald(force):
            own = _region_force(force, region, factor, purpose)
            own.setIncludesPairs(False)
            own.setIncludesImages(True)
            own.setName(f"{_OWN}images, {force_label(force)}")
            forces.append(own)
    return forces


def _region_force(force: openmm.NonbondedForce, region: Region, factor: Factor, purpose: str) -> Any:
    parameters = parameter_offsets(force, region.indices)
    if parameters:
        raise errors.UnsupportedError(
            purpose,
            f"nonbonded parameters of the region in {force_label(force)} that depend on {parameters[0]!r}",
            "regions whose nonbonded parameters are constant",
            "remove the offsets from atoms of the region, or make a hybrid with interpolate=False and "
            "Mechanical(subtract_region=False), which keeps them",
        )
    own = native_module(purpose).RegionForce(force, list(region.indices))
    own.setScale(factor.offset, factor.slope)
    if factor.slope:
        own.setScaleParameter(factor.parameter, 1.0)
        own.setScaleRange(0.0, 1.0)
        own.setHasScaleDerivative(True)
    own.setExceptionsUsePeriodicBoundaryConditions(force.getNonbondedMethod() in PERIODIC_METHODS)
    own.setName(f"{_OWN}{force_label(force)}")
    own.setForceGroup(force.getForceGroup())
    return own


def words(force: Any) -> set[str]:
    """Names that a force uses: its parameters of the Context, and whatever stands in its energy function."""
    found = set()
    if hasattr(force, "getNumGlobalParameters"):
        found |= {force.getGlobalParameterName(index) for index in range(force.getNumGlobalParameters())}
    if hasattr(force, "getEnergyFunction"):
        found |= set(re.findall(r"[A-Za-z_]\w*", force.getEnergyFunction()))
    if isinstance(force, openmm.CustomCVForce):
        for index in range(force.getNumCollectiveVariables()):
            found |= words(force.getCollectiveVariable(index))
    return found


def _scaled(force: Any, expression: str, factor: Factor) -> str:
    """Put the factor in front of an energy function, which may be followed by definitions."""
    first, _, rest = expression.partition(";")
    return f"{factor.expression}*({first}){';' + rest if rest else ''}"


def _add_parameter(force: Any, factor: Factor) -> None:
    if factor.slope:
        force.addGlobalParameter(factor.parameter, 1.0)
        force.addEnergyParameterDerivative(factor.parameter)


def _own_pairs(
    force: openmm.CustomNonbondedForce, region: Region, factor: Factor, purpose: str
) -> openmm.CustomNonbondedForce | None:
    inside = set(region.indices)
    if not has_pairs(force, inside):
        return None
    own = copy.deepcopy(force)
    if own.getNumInteractionGroups() == 0:
        own.addInteractionGroup(inside, inside)
    else:
        for index in range(own.getNumInteractionGroups()):
            first, second = own.getInteractionGroupParameters(index)
            own.setInteractionGroupParameters(index, inside & set(first), inside & set(second))
    if factor.slope and own.getNumComputedValues():
        raise errors.UnsupportedError(
            purpose,
            f"{force_label(force)}, which has computed values ({own.getComputedValueParameters(0)[0]!r})",
            "pairs whose energy OpenMM can differentiate by a parameter",
            "write the computed values into the force's energy function",
        )
    own.setEnergyFunction(_scaled(own, own.getEnergyFunction(), factor))
    own.setUseLongRangeCorrection(False)
    _add_parameter(own, factor)
    own.setName(f"{_OWN}{force_label(force)}")
    return own


def bonded_forces(
    system: openmm.System, atoms: RegionAtoms, bonded_rule: str, ignored: Collection[int], factor: Factor
) -> list[openmm.Force]:
    """Make the forces of the region's own bonded terms.

    Parameters
    ----------
    system : openmm.System
        The classical System.
    atoms : RegionAtoms
    bonded_rule : str
        One of `bonded.BONDED_RULES`.
    ignored : collection of int
        Indices of forces that are left alone.
    factor : Factor

    Returns
    -------
    list of openmm.Force
        Custom forces with the same terms.
    """
    forces: list[openmm.Force] = []
    for index, force in enumerate(system.getForces()):
        if index in ignored or type(force) not in BONDED_TYPES or not touches(force, atoms.inside):
            continue
        own = split_terms(force, atoms, bonded_rule, keep_inside=True)
        if not any(True for _ in iterate_terms(own)):
            continue
        scaled = _scaled_cmap(own, factor) if isinstance(own, openmm.CMAPTorsionForce) else [_scaled_terms(own, factor)]
        for new in scaled:
            new.setName(f"{_OWN}{force_label(force)}")
            new.setForceGroup(force.getForceGroup())
            new.setUsesPeriodicBoundaryConditions(force.usesPeriodicBoundaryConditions())
        forces += scaled
    return forces


def _scaled_terms(own: Any, factor: Factor) -> openmm.Force:
    if isinstance(own, openmm.HarmonicBondForce):
        return _custom(own, factor, openmm.CustomBondForce, "0.5*k*(r-r0)^2", ("r0", "k"), "Bond")
    if isinstance(own, openmm.HarmonicAngleForce):
        return _custom(own, factor, openmm.CustomAngleForce, "0.5*k*(theta-theta0)^2", ("theta0", "k"), "Angle")
    if isinstance(own, openmm.PeriodicTorsionForce):
        return _custom(
            own, factor, openmm.CustomTorsionForce, "k*(1+cos(n*theta-theta0))", ("n", "theta0", "k"), "Torsion"
        )
    if isinstance(own, openmm.RBTorsionForce):
        # Ryckaert and Bellemans count their angle from trans: its cosine is minus that of OpenMM's dihedral.
        series = "c0+c*(c1+c*(c2+c*(c3+c*(c4+c*c5)))); c=-cos(theta)"
        names = tuple(f"c{power}" for power in range(6))
        return _custom(own, factor, openmm.CustomTorsionForce, series, names, "Torsion")
    own.setEnergyFunction(_scaled(own, own.getEnergyFunction(), factor))
    _add_parameter(own, factor)
    return own


def _custom(own: Any, factor: Factor, kind: Any, energy: str, names: tuple[str, ...], term_kind: str) -> openmm.Force:
    number = {"Bond": 2, "Angle": 3, "Torsion": 4}[term_kind]
    new = kind(_scaled(own, energy, factor))
    for name in names:
        getattr(new, f"addPer{term_kind}Parameter")(name)
    for _, term in iterate_terms(own):
        getattr(new, f"add{term_kind}")(*term[:number], list(term[number:]))
    _add_parameter(new, factor)
    return new


def _scaled_cmap(own: openmm.CMAPTorsionForce, factor: Factor) -> list[openmm.Force]:
    """Write CMAP terms as compound bonds with a periodic table: one force for each map and way to share atoms."""
    groups: dict[tuple[int, tuple[int, ...]], list[list[int]]] = defaultdict(list)
    for index in range(own.getNumTorsions()):
        number, *atoms = own.getTorsionParameters(index)
        distinct = list(dict.fromkeys(atoms))
        groups[number, tuple(distinct.index(atom) + 1 for atom in atoms)].append(distinct)
    forces = []
    for (number, pattern), bonds in groups.items():
        size, energies = own.getMapParameters(number)
        values = np.array([value._value for value in energies]).reshape(size, size)
        table = np.pad(values, ((0, 1), (0, 1)), mode="wrap")  # a periodic table repeats its first row at its end
        points = [f"dihedral({','.join(f'p{place}' for place in half)})" for half in (pattern[:4], pattern[4:])]
        force = openmm.CustomCompoundBondForce(max(pattern), f"{factor.expression}*cmap({','.join(points)})")
        force.addTabulatedFunction(
            "cmap",
            openmm.Continuous2DFunction(
                size + 1, size + 1, table.ravel().tolist(), 0.0, 2 * np.pi, 0.0, 2 * np.pi, True
            ),
        )
        for atoms in bonds:
            force.addBond(atoms, [])
        _add_parameter(force, factor)
        forces.append(force)
    return forces
