"""E_MM(R), the classical energy of a region's own atoms, from a ForceField and plain OpenMM.

Nothing here comes from the package under test: terms are found in the XML of the classical System, and the nonbonded
pairs of every method are written out as the sums that OpenMM's documentation gives.
"""

import itertools
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Collection, Sequence

import numpy as np
import openmm as mm
import torch
from openmm import unit

from openmm_nn import ModelCard, Potential, load_potential

NonbondedForce = mm.NonbondedForce
COULOMB = 138.93545764438198
EWALD = (NonbondedForce.Ewald, NonbondedForce.PME, NonbondedForce.LJPME)
PERIODIC = (NonbondedForce.CutoffPeriodic, *EWALD)

TermRule = Callable[[tuple[int, ...]], bool]


def reference_context(system: mm.System, positions: np.ndarray | None = None) -> mm.Context:
    """A Context in double precision."""
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    if positions is not None:
        context.setPositions(positions)
    return context


def energy_and_forces(context: mm.Context, groups: int = -1) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces (N, 3) in kJ/mol/nm."""
    state = context.getState(getEnergy=True, getForces=True, groups=groups)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return energy, np.array(state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer))


def term_atoms(element: ElementTree.Element) -> tuple[int, ...]:
    """Particles of a bonded term in OpenMM's XML, in order."""
    keys = [key for key in element.attrib if key[0] in "pab" and key[1:].isdigit()]
    order = sorted(keys, key=lambda key: (key[0] == "b", int(key[1:])))
    return tuple(int(element.attrib[key]) for key in order)


def bonded_part(system: mm.System, is_inside: TermRule) -> mm.System:
    """A System with only the bonded terms that a rule counts to the region."""
    root = ElementTree.fromstring(mm.XmlSerializer.serialize(system))
    forces = root.find("Forces")
    for force in list(forces):
        lists = [part for part in force if part.tag in ("Bonds", "Angles", "Torsions")]
        if not lists or force.attrib["type"] in ("NonbondedForce", "GBSAOBCForce"):
            forces.remove(force)
            continue
        for terms in lists:
            for term in list(terms):
                if not is_inside(term_atoms(term)):
                    terms.remove(term)
    part = mm.XmlSerializer.deserialize(ElementTree.tostring(root, encoding="unicode"))
    for index in reversed(range(part.getNumConstraints())):
        part.removeConstraint(index)
    return part


def ewald_parameters(system: mm.System, force: NonbondedForce) -> tuple[float, float]:
    """Splitting parameters of Coulomb and dispersion in 1/nm."""
    cutoff = force.getCutoffDistance().value_in_unit(unit.nanometer)
    tolerance = force.getEwaldErrorTolerance()
    alpha = math.sqrt(-math.log(2 * tolerance)) / cutoff
    dispersion = 0.0
    if force.getNonbondedMethod() != NonbondedForce.Ewald:
        alpha = force.getPMEParametersInContext(reference_context(system))[0]
    if force.getNonbondedMethod() == NonbondedForce.LJPME:
        dispersion = force.getLJPMEParametersInContext(reference_context(system))[0]
    return alpha, dispersion


def pair_expression(system: mm.System, force: NonbondedForce) -> str:
    """The energy of a pair that is no exception, in OpenMM's expression language."""
    method = force.getNonbondedMethod()
    lennard_jones = "4*eps*((sig/r)^12-(sig/r)^6)"
    if method == NonbondedForce.NoCutoff:
        return f"{COULOMB}*qq/r + {lennard_jones}"
    cutoff = force.getCutoffDistance().value_in_unit(unit.nanometer)
    inside = f"step({cutoff}-r)"
    switched = lennard_jones
    if force.getUseSwitchingFunction() and method != NonbondedForce.LJPME:
        start = force.getSwitchingDistance().value_in_unit(unit.nanometer)
        taper = f"select(step(r-{start}),1-10*t^3+15*t^4-6*t^5,1); t=(r-{start})/({cutoff}-{start})"
        switched = f"{lennard_jones}*{taper}"
    if method not in EWALD:
        eps = force.getReactionFieldDielectric()
        k_rf, c_rf = (eps - 1) / (2 * eps + 1) / cutoff**3, 3 * eps / (2 * eps + 1) / cutoff
        return f"{inside}*({COULOMB}*qq*(1/r+{k_rf}*r^2-{c_rf}) + lj); lj={switched}"
    alpha, dispersion = ewald_parameters(system, force)
    coulomb = f"{COULOMB}*qq*(erfc({alpha}*r)*{inside}+erf({alpha}*r))/r"
    if method != NonbondedForce.LJPME:
        return f"{coulomb} + {inside}*lj; lj={switched}"
    # Within the cutoff the grid's multiplicative dispersion is replaced by the pair's own; beyond it, it is all.
    grid = "c6/r^6*(1-exp(-x)*(1+x+0.5*x^2))"
    at_cutoff = f"(4*eps*((sig/{cutoff})^12-(sig/{cutoff})^6) + c6/{cutoff}^6*(1-exp(-xc)*(1+xc+0.5*xc^2)))"
    return (
        f"{coulomb} + select({inside}, {lennard_jones}-{at_cutoff}, -{grid}); "
        f"x=({dispersion}*r)^2; xc=({dispersion}*{cutoff})^2"
    )


def nonbonded_part(system: mm.System, force: NonbondedForce, atoms: Sequence[int]) -> mm.CustomBondForce:
    """Every pair of the region, as a bond."""
    charges, sigmas, epsilons = zip(
        *[[value.value_in_unit_system(unit.md_unit_system) for value in force.getParticleParameters(i)] for i in atoms],
        strict=True,
    )
    exceptions = {}
    for index in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(index)
        exceptions[frozenset((i, j))] = [value.value_in_unit_system(unit.md_unit_system) for value in values]
    plain = f"{COULOMB}*qq/r + 4*eps*((sig/r)^12-(sig/r)^6)"
    pairs = mm.CustomBondForce(f"select(plain, near, far); near={plain}; far={pair_expression(system, force)}")
    for name in ("qq", "sig", "eps", "c6", "plain"):
        pairs.addPerBondParameter(name)
    for a, b in itertools.combinations(range(len(atoms)), 2):
        found = exceptions.get(frozenset((atoms[a], atoms[b])))
        if found is not None:
            if found[0] != 0 or found[2] != 0:
                pairs.addBond(atoms[a], atoms[b], [*found, 0.0, 1.0])
            continue
        sixth = 4 * math.sqrt(epsilons[a] * epsilons[b]) * (sigmas[a] * sigmas[b]) ** 3
        mixed = (0.5 * (sigmas[a] + sigmas[b]), math.sqrt(epsilons[a] * epsilons[b]))
        pairs.addBond(atoms[a], atoms[b], [charges[a] * charges[b], *mixed, sixth, 0.0])
    pairs.setUsesPeriodicBoundaryConditions(force.getNonbondedMethod() in PERIODIC)
    return pairs


def region_system(system: mm.System, atoms: Collection[int], is_inside: TermRule | None = None) -> mm.System:
    """A System of all particles whose energy is E_MM(R).

    Parameters
    ----------
    system : openmm.System
        The classical System, from a ForceField.
    atoms : collection of int
    is_inside : callable, optional
        The bonded rule, from the atoms of a term; all atoms in the region by default.
    """
    inside = set(atoms)
    ordered = sorted(inside)
    part = bonded_part(system, is_inside or inside.issuperset)
    for force in system.getForces():
        if isinstance(force, NonbondedForce):
            part.addForce(nonbonded_part(system, force, ordered))
        elif isinstance(force, mm.CustomNonbondedForce):
            pairs = mm.XmlSerializer.clone(force)
            pairs.addInteractionGroup(ordered, ordered)
            pairs.setUseLongRangeCorrection(False)
            part.addForce(pairs)
    return part


class RegionModel:
    """A potential that is E_MM(R), of the positions (n, 3) of the region in nm with link hydrogens after them.

    Parameters
    ----------
    region : openmm.System
        From `region_system`.
    atoms : sequence of int
        The region, in the order in which the potential sees it.
    positions : numpy.ndarray, shape (n_particles, 3), nm
        Where the other particles are; no term of the region depends on them.
    """

    def __init__(self, region: mm.System, atoms: Sequence[int], positions: np.ndarray) -> None:
        self.context = reference_context(region)
        self.atoms = list(atoms)
        self.positions = np.array(positions, dtype=float)
        self.calls = 0

    def __call__(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Energy in kJ/mol and forces in kJ/mol/nm."""
        self.calls += 1
        number = len(self.atoms)
        self.positions[self.atoms] = positions.detach().numpy()[:number]
        self.context.setPositions(self.positions)
        energy, forces = energy_and_forces(self.context)
        result = np.zeros(tuple(positions.shape))
        result[:number] = forces[self.atoms]
        return torch.tensor(energy, dtype=torch.float64), torch.tensor(result)


def card(name: str = "region", *, long_range: bool | None = False) -> ModelCard:
    """The card of a callable that returns energy and forces of a cluster in double."""
    return ModelCard(
        name=name,
        format="callable",
        inputs=("positions",),
        outputs=("energy", "forces"),
        length_unit="nm",
        energy_unit="kJ/mol",
        dtype="float64",
        elements=None,
        periodic="never",
        frame="invariant",
        long_range=long_range,
    )


def zero_potential(*, long_range: bool | None = False) -> Potential:
    """A potential that is zero everywhere: what it leaves is the classical remainder."""

    def nothing(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return positions.new_zeros(()), torch.zeros_like(positions)

    return load_potential(nothing, card=card("nothing", long_range=long_range))
