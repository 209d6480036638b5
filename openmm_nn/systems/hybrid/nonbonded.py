"""Which forces may touch the region, and how its own nonbonded pairs are taken out of them.

==================================================  ================================================================
force                                               what happens to it
==================================================  ================================================================
bonded forces (`bonded.BONDED_TYPES`)               the region's terms are removed by the bonded rule, except for
                                                    biases and restraints, which stay (`biases`)
NonbondedForce                                      pairs of the region become exceptions of constant zero
CustomNonbondedForce                                pairs of the region become exclusions
GBSAOBCForce, LCPOForce, and CustomGBForce that     kept as it is: implicit solvent screens the region's classical
ignores exclusions                                  charges, and their self-energy stays in the solvation term
CustomExternalForce, RMSDForce, RGForce,            kept as it is: a field, bias or restraint of the user
OrientationRestraintForce, and CustomCVForce of
such forces or bonded ones
barostats, thermostats, CMMotionRemover,            kept as it is: acts on no particular atom
CustomVolumeForce
every other force                                   kept where it touches no atom of the region, else refused
==================================================  ================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import combinations
from typing import Any

import openmm

from ... import errors
from .bonded import BONDED_TYPES, iterate_terms

PERIODIC_METHODS = (
    openmm.NonbondedForce.CutoffPeriodic,
    openmm.NonbondedForce.Ewald,
    openmm.NonbondedForce.PME,
    openmm.NonbondedForce.LJPME,
)
EWALD_METHODS = PERIODIC_METHODS[1:]

_NO_ATOMS = (
    openmm.CMMotionRemover,
    openmm.AndersenThermostat,
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.RPMDMonteCarloBarostat,
    openmm.CustomVolumeForce,
)
BIASES = (openmm.CustomExternalForce, openmm.RMSDForce, openmm.RGForce, openmm.OrientationRestraintForce)
SOLVENTS = (openmm.GBSAOBCForce, openmm.LCPOForce)
PAIR_TYPES = (openmm.NonbondedForce, openmm.CustomNonbondedForce)

_REMEDIES: dict[type[openmm.Force], str] = {
    openmm.DrudeForce: "leave polarizable atoms out of the region, or use a force field without Drude particles",
    openmm.ConstantPotentialForce: "model the electrodes by a NonbondedForce",
    openmm.ATMForce: "make the hybrid System first and add the alchemical transfer to it",
}


def force_label(force: openmm.Force) -> str:
    """Name of a force, followed by its class where they differ."""
    kind, name = type(force).__name__, force.getName()
    return name if name in (kind, "") else f"{name} ({kind})"


# --- which atoms a force touches
# -----------------------------------------------------------------------------------------


def _external_atoms(force: openmm.CustomExternalForce) -> Iterable[int]:
    return (force.getParticleParameters(index)[0] for index in range(force.getNumParticles()))


def _drude_atoms(force: openmm.DrudeForce) -> Iterable[int]:
    for index in range(force.getNumParticles()):
        yield from force.getParticleParameters(index)[:5]


def _hbond_atoms(force: openmm.CustomHbondForce) -> Iterable[int]:
    for index in range(force.getNumDonors()):
        yield from force.getDonorParameters(index)[:3]
    for index in range(force.getNumAcceptors()):
        yield from force.getAcceptorParameters(index)[:3]


def _torsion_torsion_atoms(force: openmm.AmoebaTorsionTorsionForce) -> Iterable[int]:
    for index in range(force.getNumTorsionTorsions()):
        yield from force.getTorsionTorsionParameters(index)[:5]


def _many_particle_atoms(force: openmm.CustomManyParticleForce) -> Iterable[int]:
    filters = [set(force.getTypeFilter(position)) for position in range(force.getNumParticlesPerSet())]
    for index in range(force.getNumParticles()):
        kind = force.getParticleParameters(index)[1]
        if any(not allowed or kind in allowed for allowed in filters):
            yield index


def _gay_berne_atoms(force: openmm.GayBerneForce) -> Iterable[int]:
    for index in range(force.getNumParticles()):
        if force.getParticleParameters(index)[1]._value != 0:
            yield index


_ATOMS: dict[type[openmm.Force], Callable[[Any], Iterable[int]]] = {
    openmm.CustomExternalForce: _external_atoms,
    openmm.DrudeForce: _drude_atoms,
    openmm.CustomHbondForce: _hbond_atoms,
    openmm.AmoebaTorsionTorsionForce: _torsion_torsion_atoms,
    openmm.CustomManyParticleForce: _many_particle_atoms,
    openmm.GayBerneForce: _gay_berne_atoms,
}


def touches(force: openmm.Force, inside: Collection[int]) -> bool:
    """Whether a force acts on an atom of the region; True where that cannot be told.

    Parameters
    ----------
    force : openmm.Force
    inside : collection of int

    Returns
    -------
    bool
    """
    if isinstance(force, _NO_ATOMS):
        return False
    if type(force) in BONDED_TYPES:
        return any(not set(inside).isdisjoint(atoms) for atoms, _ in iterate_terms(force))
    if isinstance(force, openmm.CustomCVForce):
        return any(touches(force.getCollectiveVariable(i), inside) for i in range(force.getNumCollectiveVariables()))
    reader = _ATOMS.get(type(force))
    if reader is not None:
        return not set(inside).isdisjoint(reader(force))
    particles = _listed_particles(force)
    return particles is None or len(particles) == 0 or not set(inside).isdisjoint(particles)


def _listed_particles(force: Any) -> list[int] | None:
    """Read what `getParticles` says; None if the force does not say."""
    getter = getattr(force, "getParticles", None)
    return None if getter is None else [int(atom) for atom in getter()]


def _own_particles(force: Any) -> tuple[int, ...] | None:
    """The region of a force of this package, empty for all particles; None for another force.

    The outer atom of a cut bond, on which a link atom hangs, is no part of it: it may be in another region.
    """
    from ... import native

    if not native.available() or not isinstance(force, (native.load().NeuralForce, native.load().RegionForce)):
        return None
    return tuple(force.getParticles())


# --- which forces are allowed
# --------------------------------------------------------------------------------------------


def check_forces(system: openmm.System, inside: Collection[int], ignored: Collection[int]) -> None:
    """Refuse Systems with a force that a hybrid could not treat rightly.

    Parameters
    ----------
    system : openmm.System
    inside : collection of int
        Atoms of the region.
    ignored : collection of int
        Indices of forces that are left alone.

    Raises
    ------
    UnsupportedError
        If a force that touches the region is of a kind that is not understood, if a CustomGBForce honours exclusions,
        or if two NonbondedForces use Ewald summation.
    """
    ewald = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce) and uses_ewald(force)]
    if len(ewald) > 1:
        names = " and ".join(force_label(force) for force in ewald)
        raise errors.UnsupportedError(
            "system",
            f"{len(ewald)} NonbondedForces use Ewald, PME or LJPME ({names})",
            "one, since the reciprocal sum would be counted twice",
            "give the others a cutoff method, or put all charges into one",
        )
    for index, force in enumerate(system.getForces()):
        if index not in ignored:
            _check_force(force, inside)


def _check_force(force: openmm.Force, inside: Collection[int]) -> None:
    if isinstance(force, openmm.NonbondedForce) and not force.getIncludeDirectSpace():
        # Without direct space OpenMM ignores exceptions, so nothing could take the region's pairs out.
        raise errors.UnsupportedError(
            "system",
            f"{force_label(force)} with setIncludeDirectSpace(False), which ignores exceptions",
            "nonbonded forces whose direct space is included",
            f"call setIncludeDirectSpace(True), or keep it as it is by keep=({force.getName()!r},)",
        )
    if type(force) in BONDED_TYPES or isinstance(force, (*PAIR_TYPES, *_NO_ATOMS, *BIASES, *SOLVENTS)):
        return
    if isinstance(force, openmm.CustomGBForce):
        _check_custom_gb(force)
        return
    if isinstance(force, openmm.CustomCVForce):
        _check_variables(force, inside)
        return
    if _own_particles(force) is not None:
        _check_overlap(force, inside)
    elif touches(force, inside):
        _refuse(force, _REMEDIES.get(type(force), "leave its atoms out of the region"))


def check_overlaps(system: openmm.System, inside: Collection[int], ignored: Collection[int]) -> None:
    """Refuse atoms that a region of the same System has already.

    Raises
    ------
    UnsupportedError
        If a force of this package that is not ignored acts on an atom of the region.
    """
    for index, force in enumerate(system.getForces()):
        if index not in ignored and _own_particles(force) is not None:
            _check_overlap(force, inside)


def _check_overlap(force: Any, inside: Collection[int]) -> None:
    """Refuse atoms that another region has already: E_MM(R) would be taken out twice."""
    particles = _own_particles(force) or ()
    shared = sorted(set(inside).intersection(particles) if particles else inside)
    if shared:
        shown = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
        raise errors.UnsupportedError(
            "region",
            f"{len(shared)} atoms ({shown}) that {force_label(force)} acts on already",
            "regions of one System that share no atoms",
            "leave these atoms out, or make one region of both in a classical System; or, where that force is a "
            f"correction that is to be added to the hybrid, give ignore_forces=({force.getName()!r},)",
        )


def _refuse(force: openmm.Force, remedy: str) -> None:
    raise errors.UnsupportedError(
        "system",
        f"{force_label(force)}, which {'may act' if type(force) is openmm.Force else 'acts'} on atoms of the region",
        "such a force only where it touches no atom of the region: no rule says what of it the potential replaces",
        f"{remedy}; or, to keep it as it is, give keep=({force.getName()!r},)",
    )


def _check_variables(force: openmm.CustomCVForce, inside: Collection[int]) -> None:
    for index in range(force.getNumCollectiveVariables()):
        inner = force.getCollectiveVariable(index)
        bias = type(inner) in BONDED_TYPES or isinstance(inner, (*BIASES, *_NO_ATOMS))
        if isinstance(inner, openmm.CustomCVForce):
            _check_variables(inner, inside)
        elif not bias and touches(inner, inside):
            _refuse(
                force,
                f"take {force_label(inner)}, its collective variable {force.getCollectiveVariableName(index)!r}, out "
                "of it",
            )


def _check_custom_gb(force: openmm.CustomGBForce) -> None:
    values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
    terms = [force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())]
    honouring = [entry[0] for entry in values if entry[-1] == openmm.CustomGBForce.ParticlePair]
    honouring += [f"energy term {i}" for i, entry in enumerate(terms) if entry[-1] == openmm.CustomGBForce.ParticlePair]
    if honouring:
        _refuse(
            force,
            f"make its pair terms ({', '.join(honouring)}) ParticlePairNoExclusions, as OpenMM's own implicit "
            "solvents are, since those that honour exclusions lose the region's pairs",
        )


def uses_ewald(force: openmm.NonbondedForce) -> bool:
    """Whether a NonbondedForce sums over periodic images."""
    return force.getNonbondedMethod() in EWALD_METHODS


def excludes_pairs(force: openmm.Force) -> bool:
    """Whether a force has a list of excluded pairs, which the CPU platform wants to be the same in all of them."""
    if isinstance(force, openmm.CustomGBForce):
        return bool(force.getNumExclusions() > 0)
    return isinstance(force, PAIR_TYPES)


def has_pairs(force: openmm.CustomNonbondedForce, atoms: Collection[int]) -> bool:
    """Whether interaction groups, where there are any, hold pairs of some atoms."""
    groups = [force.getInteractionGroupParameters(index) for index in range(force.getNumInteractionGroups())]
    return not groups or any(not set(atoms).isdisjoint(one) and not set(atoms).isdisjoint(two) for one, two in groups)


def parameter_offsets(force: openmm.NonbondedForce, atoms: Collection[int]) -> list[str]:
    """Names of the Context's parameters by which charges and wells of some atoms, or their exceptions, are offset."""
    inside = set(atoms)
    names = []
    for index in range(force.getNumParticleParameterOffsets()):
        name, particle, *slopes = force.getParticleParameterOffset(index)
        if particle in inside and any(slopes):
            names.append(name)
    for index in range(force.getNumExceptionParameterOffsets()):
        name, exception, *slopes = force.getExceptionParameterOffset(index)
        if any(slopes) and inside.issuperset(force.getExceptionParameters(exception)[:2]):
            names.append(name)
    return names


def depends_on_parameters(system: openmm.System, atoms: Collection[int], ignored: Collection[int]) -> bool:
    """Whether charges or wells of some atoms depend on the Context's parameters."""
    return any(
        isinstance(force, openmm.NonbondedForce) and index not in ignored and parameter_offsets(force, atoms)
        for index, force in enumerate(system.getForces())
    )


# --- taking the region's pairs out
# ---------------------------------------------------------------------------------------


def zero_pairs(force: openmm.NonbondedForce, atoms: Collection[int]) -> None:
    """Make every pair of the region an exception of constant zero, in place.

    Parameters
    ----------
    force : openmm.NonbondedForce
        A force of the new System.
    atoms : collection of int
        The region.
    """
    from ... import native

    inside = set(atoms)
    if native.available():
        native.load().RegionForce.zeroPairs(force, sorted(inside))
    else:
        _zero_pairs(force, inside)
    for index in range(force.getNumExceptionParameterOffsets()):
        parameter, exception, *_ = force.getExceptionParameterOffset(index)
        if inside.issuperset(force.getExceptionParameters(exception)[:2]):
            force.setExceptionParameterOffset(index, parameter, exception, 0.0, 0.0, 0.0)
    use_box_for_exceptions(force)


def use_box_for_exceptions(force: openmm.NonbondedForce) -> None:
    """Take exceptions at minimum image under a periodic method, in place, so that molecules may be wrapped."""
    if force.getNonbondedMethod() in PERIODIC_METHODS:
        force.setExceptionsUsePeriodicBoundaryConditions(True)


def _zero_pairs(force: openmm.NonbondedForce, inside: set[int]) -> None:
    present = set()
    for index in range(force.getNumExceptions()):
        first, second, *_ = force.getExceptionParameters(index)
        if first in inside and second in inside:
            force.setExceptionParameters(index, first, second, 0.0, 1.0, 0.0)
            present.add((min(first, second), max(first, second)))
    for first, second in combinations(sorted(inside), 2):
        if (first, second) not in present:
            force.addException(first, second, 0.0, 1.0, 0.0)


def exclude_pairs(force: openmm.CustomNonbondedForce | openmm.CustomGBForce, atoms: Collection[int]) -> None:
    """Exclude every pair of the region, in place.

    Parameters
    ----------
    force : openmm.CustomNonbondedForce or openmm.CustomGBForce
        A force of the new System.
    atoms : collection of int
        The region.
    """
    inside = set(atoms)
    present = set()
    for index in range(force.getNumExclusions()):
        first, second = force.getExclusionParticles(index)
        if first in inside and second in inside:
            present.add((min(first, second), max(first, second)))
    for first, second in combinations(sorted(inside), 2):
        if (first, second) not in present:
            force.addExclusion(first, second)
