"""The arguments of create_hybrid_system: what is allowed, and what follows from each."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from typing import Any

import openmm

from ... import errors, native
from ...potentials.formats.openmmml import warn_of_small_forces
from ...potentials.potential import Potential
from ..electrons import Molecules, sees_elements, settle_charge
from .interpolation import LAMBDA, native_module, words
from .nonbonded import depends_on_parameters, excludes_pairs, force_label, has_pairs, uses_ewald
from .region import Region

_LARGEST_EXCEPTED = 300  # atoms: with 45,000 exceptions a step takes twice as long as with RegionForce


def chooses_subtraction(
    choice: bool | None, system: openmm.System, region: Region, ignored: Collection[int], interpolate: bool
) -> bool:
    """Settle whether the region's pairs are subtracted instead of excepted.

    The CPU platform demands that all nonbonded forces of a Context have identical exclusions. Where one of them keeps
    pairs of the region, the others must keep theirs.

    Parameters
    ----------
    choice : bool or None
        What the user says.
    system : openmm.System
        The classical System.
    region : Region
    ignored : collection of int
        Indices of forces that are left alone.
    interpolate : bool

    Raises
    ------
    ParameterError
        If the user wants exceptions and a nonbonded force keeps pairs of the region.
    NativeExtensionError
        If the native extension, which holds RegionForce, is needed and not there.
    """
    forces = [(force, index in ignored) for index, force in enumerate(system.getForces()) if excludes_pairs(force)]
    keeping = {}
    if not all(left_alone for _, left_alone in forces):
        keeping = {force_label(force): "which keep leaves alone" for force, left_alone in forces if left_alone}
    for force, left_alone in forces:
        scaled = interpolate and not left_alone and isinstance(force, openmm.CustomNonbondedForce)
        if scaled and has_pairs(force, region.atoms):
            keeping[force_label(force)] = "which interpolation scales"
    needed = bool(keeping)
    if needed and choice is False:
        name, reason = next(iter(keeping.items()))
        raise errors.ParameterError(
            "subtract_region",
            f"False, but pairs of the region stay in {name}, {reason}",
            "True or None there: every nonbonded force of a System must exclude the same pairs",
            "leave subtract_region out",
        )
    if choice or (needed and choice is None):
        native_module("subtract_region")
        return True
    large = len(region) > _LARGEST_EXCEPTED and not depends_on_parameters(system, region.atoms, ignored)
    return choice is None and large and native.available()


def check_interpolation(
    potential: Any, system: openmm.System, interpolate: Any, scale: tuple[str, float] | None
) -> str:
    """Name the parameter to interpolate by, empty for none; refuse a potential whose force takes no factor.

    A System may have several interpolated regions, each with a parameter of its own.
    """
    if interpolate is False:
        return ""
    name = LAMBDA if interpolate is True else interpolate
    if not isinstance(name, str) or re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None:
        raise errors.ParameterError(
            "interpolate",
            f"{interpolate!r}",
            "False, True, or the name of a Context parameter: letters, digits and underscores",
            f"give True for {LAMBDA!r}, or a name such as 'lambda_ligand'",
        )
    user = next((force for force in system.getForces() if name in words(force)), None)
    if user is not None:
        raise errors.ParameterError(
            "interpolate",
            f"{name!r}, which {force_label(user)} of the System uses",
            "a name that no force of the System uses",
            f"give a name of its own to this region's parameter, for example interpolate='{name}_2'",
        )
    if not isinstance(potential, Potential):
        raise errors.UnsupportedError(
            "interpolate",
            f"{interpolate!r} with an MLPotential, whose force takes no factor",
            "potentials of this package",
            "load it with openmm_nn.load_potential(...), or use its own createMixedSystem(interpolate=True)",
        )
    if scale is not None:
        raise errors.ParameterError(
            "scale",
            f"{scale!r} together with interpolate={interpolate!r}, whose parameter scales the potential already",
            "one of them",
            f"leave scale out and set {name}, or do not interpolate",
        )
    native_module("interpolate")
    return name


def check_choice(argument: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check an option that names one of several ways."""
    if value not in allowed:
        raise errors.ParameterError(argument, f"{value!r}", ", ".join(map(repr, allowed)), "choose one of these")


def takes_charge(potential: Any) -> bool:
    """Tell whether a potential is told the charge."""
    return potential.card.supports_charge if isinstance(potential, Potential) else True


def is_openmm_ml(potential: object) -> bool:
    """Whether a potential comes from OpenMM-ML, which is not imported for the question."""
    module = sys.modules.get("openmmml.mlpotential")
    return module is not None and isinstance(potential, module.MLPotential)


def check_potential(potential: object) -> None:
    """Refuse what is no potential, and warn of one whose forces are known to be wrong."""
    if is_openmm_ml(potential):
        warn_of_small_forces(potential)
    elif not isinstance(potential, Potential):
        raise errors.ParameterError(
            "potential",
            f"{potential!r} ({type(potential).__name__})",
            "a Potential and an openmmml.MLPotential",
            "make one with openmm_nn.load_potential(...)",
        )


def check_range(system: openmm.System, potential: Any, long_range: bool | None, periodic: bool) -> tuple[bool, bool]:
    """Settle whether the potential gets the box, and whether it replaces the region's periodic images.

    Parameters
    ----------
    system : openmm.System
        The classical System.
    potential : Potential or openmmml.MLPotential
    long_range : bool or None
        What the user says of the potential.
    periodic : bool
        Whether the user wants the box to be given to it.

    Returns
    -------
    uses_box : bool
    replaces_images : bool
        The potential is given the box, holds the region's interaction with its images itself, and the System sums over
        images, so that the classical ones have to be taken out. A long-ranged potential of a cluster sees no images:
        they stay classical. Under a cutoff the classical System has none.

    Raises
    ------
    ParameterError
        If it is not known whether the potential is long-ranged, or said otherwise than by its card.
    NativeExtensionError
        If images are replaced and the native extension is not there.
    """
    if isinstance(potential, Potential):
        stated, uses_box = potential.card.long_range, periodic or potential.card.periodic == "always"
        name = f"the card of {potential.card.name!r}"
    else:
        stated, uses_box = potential._impl.getMLLongRange(), system.usesPeriodicBoundaryConditions()
        name = "the MLPotential"
    if stated is not None and long_range is not None and bool(stated) != bool(long_range):
        raise errors.ParameterError(
            "long_range",
            f"{long_range}, but {name} says {stated}",
            "what it says",
            "leave long_range out",
        )
    ewald = any(isinstance(force, openmm.NonbondedForce) and uses_ewald(force) for force in system.getForces())
    if not ewald:
        return uses_box, False
    far = long_range if stated is None else stated
    if far is None:
        raise errors.ParameterError(
            "long_range",
            f"None, and {name} does not say whether the potential is long-ranged",
            "True or False in a System with Ewald summation, where it decides whether the region's interaction with "
            "its periodic images stays classical",
            "give {long_range} for a potential with a cutoff, the opposite for one with its own electrostatics",
            {"long_range": False},
        )
    replaces = bool(far and uses_box)
    if replaces:
        native_module("long_range")
    return uses_box, replaces


def formal_charge(region: Region, potential: Any, charge: int | None, multiplicity: int) -> int:
    """Settle the charge of the region with its link atoms, and check it against the electrons.

    Parameters
    ----------
    region : Region
    potential : Potential or openmmml.MLPotential
    charge : int or None
        What was given.
    multiplicity : int

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        If the charge is no integer, or no such multiplicity exists for the number of electrons.
    """
    place = {atom: index for index, atom in enumerate(region.indices)}
    bonds = [(place[first], place[second]) for first, second in region.bonds]
    bonds += [(place[cut.inside], len(region) + number) for number, cut in enumerate(region.cuts)]
    numbers = [*region.atomic_numbers, *(1 for _ in region.cuts)]
    labels = [*region.labels, *("a link atom" for _ in region.cuts)]
    molecules = Molecules.of(numbers, bonds, labels)
    return settle_charge(
        molecules,
        charge,
        multiplicity,
        classical=region.classical_charge,
        told=takes_charge(potential),
        counted=not isinstance(potential, Potential) or sees_elements(potential.card),
    )
