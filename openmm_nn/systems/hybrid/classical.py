"""What a hybrid knows of its classical System, and whether the forces of the hybrid still say the same.

A user may change charges, wells or other parameters of the region after the hybrid was made, by
``setParticleParameters`` and ``updateParametersInContext`` of a force of ``hybrid.system``. OpenMM tells no other
force. What the hybrid derived from the old parameters, the region's own energy of interpolation and subtraction above
all, would stay what it was.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

import openmm

from ... import errors, native
from .hybrid_record import HybridRecord
from .nonbonded import PAIR_TYPES, force_label, has_pairs, parameter_offsets, uses_ewald

# What decides on the energy of a pair, apart from the pair's own parameters; the getters' names without "get".
_SETTINGS: dict[type[openmm.Force], tuple[str, ...]] = {
    openmm.NonbondedForce: (
        "NonbondedMethod",
        "CutoffDistance",
        "UseSwitchingFunction",
        "SwitchingDistance",
        "ReactionFieldDielectric",
        "EwaldErrorTolerance",
        "PMEParameters",
        "LJPMEParameters",
        "IncludeDirectSpace",
    ),
    openmm.CustomNonbondedForce: (
        "EnergyFunction",
        "NonbondedMethod",
        "CutoffDistance",
        "UseSwitchingFunction",
        "SwitchingDistance",
    ),
}


def _pairs(record: HybridRecord) -> Iterator[tuple[int, Any, Any]]:
    """Yield index, classical force and the hybrid's force of all nonbonded forces that were not left alone."""
    now = record.forces_made()
    for index, force in enumerate(record.classical.getForces()):
        if index not in record.ignored and isinstance(force, PAIR_TYPES):
            if type(now[index]) is not type(force):
                raise errors.UnsupportedError(
                    "hybrid.system",
                    f"a System without {force_label(force)}, which was there when the hybrid was made",
                    "the nonbonded forces that the hybrid was made with",
                    "make the hybrid from a classical System that lacks what is to be removed",
                )
            yield index, force, now[index]


def _derived(record: HybridRecord) -> Iterator[tuple[int, Any]]:
    """Yield the forces that were made from a nonbonded force's parameters, each after that force's index."""
    originals = list(_pairs(record))
    made = []
    if record.interpolated or record.subtracted:
        inside = record.region.indices
        made += [k for k, old, _ in originals if isinstance(old, openmm.NonbondedForce) or has_pairs(old, inside)]
    if record.replaces_images and not record.subtracted:
        made += [k for k, old, _ in originals if isinstance(old, openmm.NonbondedForce) and uses_ewald(old)]
    own = [force for force, role in zip(record.forces_made(), record.roles, strict=True) if role == "own"]
    for index, force in zip(made, own, strict=False):
        pairs = isinstance(record.classical.getForce(index), openmm.CustomNonbondedForce)
        if isinstance(force, openmm.CustomNonbondedForce if pairs else native.load().RegionForce):
            yield index, force


def derives(record: HybridRecord) -> bool:
    """Whether the hybrid's energy contains anything that was made from nonbonded parameters."""
    return bool(record.charges_from) or any(True for _ in _derived(record))


def _inner_exceptions(record: HybridRecord, force: openmm.NonbondedForce) -> list[int]:
    """Indices of a NonbondedForce's exceptions between two atoms of the region."""
    inside = set(record.region.indices)
    pairs = [force.getExceptionParameters(i)[:2] for i in range(force.getNumExceptions())]
    return [i for i, pair in enumerate(pairs) if inside.issuperset(pair)]


def changed_settings(record: HybridRecord) -> list[str]:
    """Name what was set otherwise in the hybrid's nonbonded forces, besides parameters of particles and exceptions."""
    found = []
    for _, old, now in _pairs(record):
        different = [name for name in _SETTINGS[type(old)] if _value(old, name) != _value(now, name)]
        if isinstance(old, openmm.CustomNonbondedForce):
            different += ["TabulatedFunction"] if _tables(old) != _tables(now) else []
        elif parameter_offsets(now, record.region.indices) != parameter_offsets(old, record.region.indices):
            different.append("ParticleParameterOffset")
        found += [f"{name} of {force_label(now)}" for name in different]
    return found


def changed_parameters(record: HybridRecord) -> list[str]:
    """Name the forces, atoms and pairs of the region whose nonbonded parameters are not those that the hybrid knows."""
    found = []
    for _, old, now in _pairs(record):
        atoms = [a for a in record.region.indices if old.getParticleParameters(a) != now.getParticleParameters(a)]
        if isinstance(old, openmm.NonbondedForce):
            others = set(record.charges_from) - set(record.region.indices)
            atoms += [a for a in others if old.getParticleParameters(a)[0] != now.getParticleParameters(a)[0]]
            pairs = [exception[:2] for _, exception in _changed_pairs(record, old, now)]
            if pairs:
                names = [record.graph.describe(*pair) for pair in pairs[:3]]
                found.append(f"{len(pairs)} exceptions of {force_label(now)} ({', '.join(names)})")
        if atoms:
            names = [record.graph.labels[atom] for atom in sorted(atoms)[:3]]
            more = ", …" if len(atoms) > len(names) else ""
            found.append(f"{len(atoms)} particles of {force_label(now)} ({', '.join(names)}{more})")
    return found


def changes(record: HybridRecord) -> tuple[str, ...]:
    """Name changes of the hybrid's forces that what was derived from them lacks, see `HybridSystem.changes`."""
    return (*changed_settings(record), *changed_parameters(record)) if derives(record) else ()


def warn_of(changed: Collection[str]) -> None:
    """Warn if the hybrid's forces were changed and what was derived from them was not."""
    if changed:
        errors.warn(
            f"the region's classical parameters were changed after the hybrid was made: {'; '.join(changed)}. What "
            "the hybrid derived from them still has the old ones: call hybrid.refresh(context)."
        )


def take_over(
    record: HybridRecord, atoms: Collection[int] | None = None, *, classical: openmm.System | None = None
) -> None:
    """Give the record's copy of the classical System, or another, the parameters that the hybrid's forces have now.

    It is changed in place.

    Parameters
    ----------
    record : HybridRecord
    atoms : collection of int, optional
        Of which particles; by default of all, and of all exceptions.
    classical : openmm.System, optional
        A copy of it.
    """
    for index, old, now in _pairs(record):
        old = old if classical is None else classical.getForce(index)
        for atom in range(old.getNumParticles()) if atoms is None else atoms:
            values = now.getParticleParameters(atom)
            old.setParticleParameters(atom, *(values if isinstance(old, openmm.NonbondedForce) else [values]))
        for name in _SETTINGS[type(old)]:
            value = _value(now, name)
            getattr(old, f"set{name}")(*(value if isinstance(value, (list, tuple)) else [value]))
        if isinstance(old, openmm.NonbondedForce):
            for i, exception in _changed_pairs(record, old, now):
                old.setExceptionParameters(i, *exception)
            if atoms is None:
                _take_over_exceptions(record, old, now)


def _take_over_exceptions(record: HybridRecord, old: Any, now: Any) -> None:
    inside, inner, known = set(record.region.indices), set(_inner_exceptions(record, old)), old.getNumExceptions()
    for i in range(now.getNumExceptions()):
        exception = now.getExceptionParameters(i)
        if i < known and i not in inner:
            old.setExceptionParameters(i, *exception)
        elif i >= known and not inside.issuperset(exception[:2]):
            old.addException(*exception, True)


def present_classical(record: HybridRecord) -> openmm.System:
    """Return a copy of the classical System with the nonbonded parameters that the hybrid's forces have now."""
    present = copy.deepcopy(record.classical)
    take_over(record, classical=present)
    return present


def refresh(record: HybridRecord, context: openmm.Context | None) -> None:
    """Bring what the hybrid derived up to date, see `HybridSystem.refresh`."""
    if context is not None and int(context.getSystem().this) != int(record.system.this):
        raise errors.ParameterError(
            "context",
            "a Context of another System",
            "a Context that was made with hybrid.system",
            "make the Context with hybrid.system, without copying it",
        )
    settings = changed_settings(record) if derives(record) else []
    if settings:
        raise errors.UnsupportedError(
            "hybrid",
            f"{settings[0]} changed after the hybrid was made",
            "changes of the parameters of particles and exceptions",
            "make the hybrid again from a classical System with that change",
        )
    _check_scheme(record)
    take_over(record)
    touched = [now for _, _, now in _pairs(record)]
    for _, old, now in _pairs(record):
        if isinstance(old, openmm.NonbondedForce) and not record.subtracted:
            for i in _inner_exceptions(record, old):
                now.setExceptionParameters(i, *now.getExceptionParameters(i)[:2], 0.0, 1.0, 0.0)
    for index, force in _derived(record):
        _derive(record.classical.getForce(index), force)
        touched.append(force)
    for force in touched if context is not None else ():
        force.updateParametersInContext(context)


def _derive(original: Any, force: Any) -> None:
    """Give a force that was made from another the parameters that the other has, in place."""
    if isinstance(original, openmm.NonbondedForce):
        force.setParametersFrom(original)
    else:
        for atom in range(original.getNumParticles()):
            force.setParticleParameters(atom, original.getParticleParameters(atom))


def _check_scheme(record: HybridRecord) -> None:
    for _, old, now in _pairs(record):
        for atom in record.charges_from if isinstance(old, openmm.NonbondedForce) else ():
            if old.getParticleParameters(atom)[0] != now.getParticleParameters(atom)[0]:
                raise errors.UnsupportedError(
                    "hybrid",
                    f"the charge of {record.graph.labels[atom]} changed, from which a charge scheme was made",
                    "changes of other parameters, or hybrids without a charge scheme",
                    "make the hybrid again from a classical System with that change",
                )


def _value(force: Any, name: str) -> Any:
    return getattr(force, f"get{name}")()


def _tables(force: openmm.CustomNonbondedForce) -> list[str]:
    count = force.getNumTabulatedFunctions()
    return [openmm.XmlSerializer.serialize(force.getTabulatedFunction(i)) for i in range(count)]


def _changed_pairs(record: HybridRecord, old: Any, now: Any) -> Iterator[tuple[int, list[Any]]]:
    """Yield exceptions in the region that are not the classical ones, or not zero where the hybrid made them zero."""
    for i in _inner_exceptions(record, old):
        exception = now.getExceptionParameters(i)
        _, _, product, _, epsilon = exception
        if exception != old.getExceptionParameters(i) if record.subtracted else product._value or epsilon._value:
            yield i, exception
