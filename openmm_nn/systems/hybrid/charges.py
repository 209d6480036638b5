"""Classical charges of the region and its boundary, and the schemes that rearrange them.

A charge scheme changes what the region sees of the charge of each M (the environment atom of a cut bond, bonded further
to the environment atoms M2). Interactions within the environment stay as the force field made them. Each atom of the
region that sees the charge q of M (fully, or scaled as a 1-4 pair; excluded pairs stay excluded) sees instead, with n
the number of M2 atoms:

``z1``
    nothing at M.
``rc``
    q/n at the middle of each bond M-M2.
``rcd``
    2q/n at the middle of each bond M-M2, and q/n less on each M2, which keeps the dipoles of these bonds.
``cs``
    q/n more on each M2, and about it a pair of charges that keeps the dipole.

References
----------
H. Lin, D. G. Truhlar, J. Phys. Chem. A 109, 3991 (2005), doi:10.1021/jp0446332 (rc, rcd).
P. Sherwood et al., J. Mol. Struct. THEOCHEM 632, 1 (2003), doi:10.1016/S0166-1280(03)00285-9 (cs).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import openmm
from openmm import unit

from ... import errors
from .bond_graph import BondGraph, pair
from .boundary import CutBond
from .region import Region

CHARGE_SCHEMES = ("none", "z1", "rc", "rcd", "cs")

# The pair of charges of `cs` sits on the line M-M2 at M2 plus and minus this fraction of the bond. J. C. Phillips et
# al., J. Chem. Phys. 153, 044130 (2020), doi:10.1063/5.0014475 (NAMD) uses the same.
_CS_FRACTION = 0.06

# Coulomb's constant in kJ nm/mol/e^2, as OpenMM's kernels have it (SimTKOpenMMRealType.h), so that what is taken out is
# what is there.
COULOMB = 138.93545764438198

_EWALD = (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME)


@dataclass(frozen=True)
class Site:
    """A charge that the region sees in place of that of M, on the line from M to M2.

    Parameters
    ----------
    outside, second : int
        M and M2.
    fraction : float
        Where on the line: 0 at M, 1 at M2.
    charge : float
        In e.
    """

    outside: int
    second: int
    fraction: float
    charge: float


def second_neighbours(graph: BondGraph, region: Region, cut: CutBond) -> list[int]:
    """List the environment atoms bonded to the M of a cut bond."""
    inside = set(region.indices)
    return sorted(other for other in graph.neighbours[cut.outside] if other not in inside)


def scheme_sites(scheme: str, charge: float, outside: int, seconds: list[int]) -> list[Site]:
    """List the charges that take the place of one M's.

    Parameters
    ----------
    scheme : str
        One of `CHARGE_SCHEMES` but ``none``.
    charge : float
        Charge of M in e.
    outside : int
        M.
    seconds : list of int
        Its neighbours in the environment, at least one unless the scheme is ``z1``.

    Returns
    -------
    list of Site

    Examples
    --------
    >>> from openmm_nn.systems.hybrid.charges import scheme_sites
    >>> [(site.fraction, site.charge) for site in scheme_sites("rcd", 0.3, 0, [1])]
    [(0.5, 0.6), (1.0, -0.3)]
    """
    if scheme == "z1":
        return []
    share = charge / len(seconds)
    parts = {
        "rc": [(0.5, share)],
        "rcd": [(0.5, 2 * share), (1.0, -share)],
        "cs": [
            (1.0, share),
            (1.0 - _CS_FRACTION, share / (2 * _CS_FRACTION)),
            (1.0 + _CS_FRACTION, -share / (2 * _CS_FRACTION)),
        ],
    }
    return [Site(outside, second, fraction, part) for second in seconds for fraction, part in parts[scheme]]


def _check_scheme(scheme: str, force: openmm.NonbondedForce, region: Region, cut: CutBond, seconds: list[int]) -> None:
    if scheme != "z1" and not seconds:
        raise errors.BoundaryError(
            "charge_scheme",
            f"{scheme!r}, but {cut.names[1]} has no further neighbour in the environment that could take its charge",
            "'none' and 'z1'",
            "move the cut",
        )
    watched = {cut.outside, *region.indices}
    for index in range(force.getNumParticleParameterOffsets()):
        parameter, particle, charge, _, _ = force.getParticleParameterOffset(index)
        if particle in watched and charge != 0:
            raise errors.UnsupportedError(
                "charge_scheme",
                f"{scheme!r}, but the charge of particle {particle} depends on the parameter {parameter!r}",
                "'none' where charges of the boundary or the region change during a run",
                "use {charge_scheme}",
                {"charge_scheme": "none"},
            )


def _pair_function(force: openmm.NonbondedForce, distance: str) -> str:
    """Write the factor of q_i q_j, less Coulomb's constant, that OpenMM uses for a pair that is no exception."""
    method = force.getNonbondedMethod()
    if method == openmm.NonbondedForce.NoCutoff or method in _EWALD:
        return f"1/{distance}"
    cutoff = force.getCutoffDistance().value_in_unit(unit.nanometer)
    dielectric = force.getReactionFieldDielectric()
    k_rf = (dielectric - 1) / (2 * dielectric + 1) / cutoff**3
    c_rf = 3 * dielectric / (2 * dielectric + 1) / cutoff
    return f"step({cutoff!r}-{distance})*(1/{distance}+{k_rf!r}*{distance}^2-{c_rf!r})"


def scheme_forces(scheme: str, system: openmm.System, graph: BondGraph, region: Region) -> list[openmm.Force]:
    """Make the forces that turn the region's interaction with the charge of each M into that with the scheme's charges.

    Parameters
    ----------
    scheme : str
        One of `CHARGE_SCHEMES`.
    system : openmm.System
        The classical System.
    graph : BondGraph
    region : Region

    Returns
    -------
    list of openmm.Force
        One CustomCompoundBondForce for each cut bond and NonbondedForce with a charge on M; none for ``none``.

    Raises
    ------
    BoundaryError
        If an M has no neighbour that could take its charge.
    UnsupportedError
        If charges concerned depend on Context parameters.
    """
    if scheme == "none":
        return []
    forces = []
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            exceptions = _exceptions_of(force, {cut.outside for cut in region.cuts})
            for cut in region.cuts:
                seconds = second_neighbours(graph, region, cut)
                _check_scheme(scheme, force, region, cut, seconds)
                correction = _correction(scheme, force, region, cut, seconds, exceptions[cut.outside])
                if correction is not None:
                    forces.append(correction)
    return forces


def _exceptions_of(force: openmm.NonbondedForce, atoms: set[int]) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for index in range(force.getNumExceptions()):
        first, second, product, _, _ = force.getExceptionParameters(index)
        for atom, other in ((first, second), (second, first)):
            if atom in atoms:
                found[atom][other] = product.value_in_unit(unit.elementary_charge**2)
    return found


def _correction(
    scheme: str,
    force: openmm.NonbondedForce,
    region: Region,
    cut: CutBond,
    seconds: list[int],
    exceptions: dict[int, float],
) -> openmm.CustomCompoundBondForce | None:
    charge = force.getParticleParameters(cut.outside)[0].value_in_unit(unit.elementary_charge)
    if charge == 0:
        return None

    terms = [f"{-charge!r}*f0"]
    distances = ["r0=distance(p1,p2)"]
    for number, site in enumerate(scheme_sites(scheme, charge, cut.outside, seconds), 1):
        index = seconds.index(site.second) + 3
        place = ",".join(f"{axis}2+{site.fraction!r}*({axis}{index}-{axis}2)" for axis in "xyz")
        terms.append(f"{site.charge!r}*f{number}")
        distances.append(f"r{number}=pointdistance(x1,y1,z1,{place})")
    functions = [f"f{n}=select(plain,1/r{n},{_pair_function(force, f'r{n}')})" for n in range(len(terms))]
    energy = "; ".join([f"{COULOMB!r}*charge*({'+'.join(terms)})", *functions, *distances])

    members = [cut.outside, *(seconds if scheme != "z1" else [])]
    correction = openmm.CustomCompoundBondForce(1 + len(members), energy)
    correction.addPerBondParameter("charge")
    correction.addPerBondParameter("plain")
    for atom in region.indices:
        if atom in exceptions:
            seen, plain = exceptions[atom] / charge, 1
        else:
            seen, plain = force.getParticleParameters(atom)[0].value_in_unit(unit.elementary_charge), 0
        if seen != 0:
            correction.addBond([atom, *members], [seen, plain])
    correction.setName(f"charge scheme {scheme}, {pair(cut.inside, cut.outside)}")
    correction.setForceGroup(force.getForceGroup())
    correction.setUsesPeriodicBoundaryConditions(force.usesPeriodicBoundaryConditions())
    return correction
