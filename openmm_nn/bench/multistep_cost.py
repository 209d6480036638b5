"""The audit of multiple time stepping on a region in water."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import openmm

from ..dynamics import MultistepAudit, audit_multistep
from ..platforms import PlatformLike
from ..potentials.loading import load_potential
from ..systems.hybrid import Mechanical, create_hybrid_system
from .subjects import Subject, find_subject, nearest_atoms, needs_box

__all__ = ["measure_multistep"]


def measure_multistep(
    structure: str | Path = "helix",
    region: str | None = None,
    *,
    size: int | None = None,
    potential: str = "openmm-nn/hcno-1",
    outer: Sequence[float] = (0.003,),
    medium: float = 0.003,
    duration: float = 2.0,
    platform: PlatformLike = "CPU",
    seed: int = 1,
    replicas: int = 1,
    half: bool = False,
) -> MultistepAudit:
    """Audit multiple time stepping on a region, and the molecules nearest to it if a size is given.

    Parameters
    ----------
    structure
        ``"peptide"``, ``"helix"`` or ``"cb7"``, or a PDB file of the region in water.
    region
        MDTraj selection of what is always inside; by default the system's own.
    size
        Atoms of the region, about: molecules stay whole. Water in it is flexible. None for the region alone.
    potential
        Name or path.
    outer
        Steps of the potential, ps.
    medium
        Step of the nonbonded terms, ps, or the next smaller one that divides an outer step.
    duration
        Of each run, ps; a quarter of it, 5 ps at most, comes before them.
    platform
        An OpenMM platform, or its name.
    seed, replicas, half
        See `openmm_nn.dynamics.audit_multistep`.

    Returns
    -------
    MultistepAudit
        Against single steps of 1 fs.
    """
    subject = find_subject(structure, region)
    atoms = nearest_atoms(subject.topology, subject.positions, subject.region, size or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice on the time step
        flexible, embedding = _flexible_inside(subject, atoms), Mechanical(periodic=needs_box(subject, atoms))
        hybrid = create_hybrid_system(
            subject.topology, flexible, load_potential(potential), atoms, embedding=embedding, charge=0
        )
    return audit_multistep(
        hybrid,
        subject.positions,
        outer=outer,
        medium=medium,
        duration=duration,
        equilibration=min(5.0, duration / 4.0),
        platform=platform,
        seed=seed,
        replicas=replicas,
        reference=(0.001, 0.0005) if half else 0.001,
    )


def _flexible_inside(subject: Subject, atoms: Sequence[int]) -> openmm.System:
    """Make a classical System whose water is rigid outside a region, and has its bonds inside."""
    inside = set(atoms)
    system, rigid = subject.make(False), subject.make(True)
    for index in range(rigid.getNumConstraints()):
        first, second, distance = rigid.getConstraintParameters(index)
        if not {first, second} <= inside:
            system.addConstraint(first, second, distance)
    return system
