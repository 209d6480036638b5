"""Preflight: a potential is examined before it is believed.

`preflight` makes named checks of a potential on a structure and returns a `PreflightReport`: measured numbers, a
verdict and advice each.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .preflight_report import PreflightReport
from .registry import check_names, run_checks, select

if TYPE_CHECKING:
    from ..potentials.potential import Potential
    from .subject import Subject


__all__ = ["available_checks", "preflight"]

_SMALL = 100  # atoms: fewer are evaluated by one thread


def preflight(
    topology: Any,
    potential: Potential,
    positions: Any,
    region: Any = None,
    *,
    box: Any = None,
    charge: int | None = None,
    multiplicity: int = 1,
    parameters: Mapping[str, float] | None = None,
    checks: Iterable[str] | None = None,
    reference: Any = None,
    timestep: Any = 0.0005,
    temperature: Any = 300.0,
    steps: int | None = None,
    seed: int = 0,
) -> PreflightReport:
    """Examine a potential on a structure, before anything is run with it.

    Parameters
    ----------
    topology
        An OpenMM or MDTraj topology, or atomic numbers (N,): of what the potential will describe, nothing else.
    potential
        From ``load_potential``.
    positions
        (N,3): a Quantity, or numbers in nm. A structure as the simulation would start from.
    region
        The part of the topology that is examined: from `openmm_nn.select_region` or of a hybrid, a selection, indices
        or a mask. Where bonds are cut, it has its link atoms where the force places them.
    box
        (3,3): a Quantity, or numbers in nm, if the potential will be used periodically.
    charge
        Of all atoms together, in e. By default what the bonds imply; a warning if that is not zero.
    multiplicity
        Spin multiplicity of all atoms together.
    parameters
        Values of the potential's global parameters, in place of the card's defaults.
    checks
        Names of the checks to make, see `available_checks`; all by default.
    reference
        Geometries that the potential knows, for `committee_sigma`: frames (F,N,3) in nm or an MDTraj trajectory of the
        same atoms, pairs (numbers, positions), or a deviation of forces in kJ/mol/nm. The bundled potential brings its
        own.
    timestep
        Of the simulation to come: a Quantity, or ps.
    temperature
        Likewise: a Quantity, or K.
    steps
        Length of the simulation at constant energy; by default 600 steps, fewer for large structures.
    seed
        Of all random numbers.

    Returns
    -------
    PreflightReport
        The checks; ``print(report)`` shows them.

    Raises
    ------
    ParameterError
        If an argument is not allowed. What is wrong with the potential raises nothing: it is in the report.
    ParticleError
        If elements and positions do not belong together.

    Examples
    --------
    >>> from openmm_nn import load_potential, preflight
    >>> water = [[0.0, 0.0, 0.0], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]]
    >>> report = preflight([8, 1, 1], load_potential("openmm-nn/hcno-1"), water, checks=["rotation"])
    >>> report["rotation"].verdict
    'pass'
    """
    # Here, since these load openmm and what evaluates potentials.
    from .fragments import formula
    from .subject import make_subject

    chosen = select(checks)
    start = time.perf_counter()
    subject = make_subject(
        topology,
        potential,
        positions,
        region=region,
        box=box,
        charge=charge,
        multiplicity=multiplicity,
        parameters=parameters,
        reference=reference,
        timestep=timestep,
        temperature=temperature,
        steps=steps,
        seed=seed,
    )
    with _few_threads(subject):
        made = run_checks(subject, chosen)
    return PreflightReport(
        potential.card.name,
        potential.sha256,
        len(subject.numbers),
        formula(subject.numbers),
        made,
        round(time.perf_counter() - start, 3),
    )


@contextlib.contextmanager
def _few_threads(subject: Subject) -> Iterator[None]:
    """Give a small structure one thread, as the engine does: where cores are shared, more wait for each other."""
    import torch

    kept = torch.get_num_threads()
    if subject.device == "cpu" and len(subject.numbers) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(kept)


def available_checks() -> dict[str, str]:
    """Return the names of all checks, each with one line on what it does.

    Returns
    -------
    dict
        In the order in which they are made.

    Examples
    --------
    >>> from openmm_nn.checks import available_checks
    >>> available_checks()["rotation"]
    'Turn everything.'
    """
    from .registry import describe

    return {name: describe(name) for name in check_names()}
