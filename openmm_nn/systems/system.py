"""Systems with a potential: a new one, or one that has other forces already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import openmm

from ..engine.force import Link
from ..errors import ParameterError, ParticleError
from ..geometry import check_system_box, topology_box
from ..potentials.familiarity import warn_of_unfamiliar
from ..potentials.potential import Potential
from ..selection import select_atoms
from ..units import MASS_UNIT, in_nanometers, in_unit
from .completeness import check_bonds_present, warn_of_missing_hydrogens
from .electrons import Molecules, sees_elements, settle_charge
from .hybrid.region import Region, RegionLike, check_kinds

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["add_neural_force", "create_system"]


def add_neural_force(
    topology: Topology,
    system: openmm.System,
    potential: Potential,
    region: RegionLike | None = None,
    *,
    links: Iterable[Link] = (),
    bonds: Iterable[tuple[int, int]] | None = None,
    periodic: bool | None = None,
    charge: int | None = None,
    multiplicity: int = 1,
    scale: tuple[str, float] | None = None,
    parameters: Mapping[str, float] | None = None,
    force_group: int = 0,
    properties: Mapping[str, str] | None = None,
) -> Any:
    """Add a potential on top of what a System has; nothing is removed.

    Parameters
    ----------
    topology
        Of the System.
    system
        Changed: a force is added.
    potential
        The potential.
    region
        From `select_region`, whose link atoms cap the cut bonds inside the force; or, without link atoms, an MDTraj
        selection, indices in any order, or a mask. None for all atoms.
    links
        Hydrogens that cap cut bonds, in place of those of the region.
    bonds
        Pairs of atoms, in place of the region's or the topology's bonds.
    periodic
        Whether the model is given the box; by default as the card says, and where that leaves the choice only if the
        potential describes all atoms and the topology has a box.
    charge
        Of the region, with its link atoms, in e. By default what the bonds imply; a warning if that is not zero.
    multiplicity
        Spin multiplicity, 2S + 1.
    scale
        Name and default value of a Context parameter that multiplies the energy.
    parameters
        Default values of global parameters, in place of the card's.
    force_group
        0 to 31.
    properties
        ``device``, ``precision``, ``threads``, ``concurrent``, ``cuda_graphs``, ``geometry``.

    Returns
    -------
    NeuralForce
        The force that was added.

    Raises
    ------
    ParticleError
        If topology and System differ, atoms are wrong, virtual sites or of elements that are not known, or bonds are
        missing beside a barostat.
    ParameterError
        If an option has a value that is not allowed, or no such multiplicity exists for the number of electrons.

    Examples
    --------
    >>> import openmm
    >>> from openmm.app import Element, Topology
    >>> from openmm_nn import add_neural_force, load_potential
    >>> topology = Topology()
    >>> atom = topology.addAtom("H", Element.getBySymbol("H"), topology.addResidue("H", topology.addChain()))
    >>> system = openmm.System()
    >>> system.addParticle(1.0)
    0
    >>> force = add_neural_force(topology, system, load_potential(lambda positions: (positions**2).sum()))
    >>> system.getNumForces()
    1
    """
    check_kinds(topology, system)
    if topology.getNumAtoms() != system.getNumParticles():
        raise ParticleError(
            "topology", f"{topology.getNumAtoms()} atoms for a System of {system.getNumParticles()} particles",
                    "one atom for every particle", "give the topology that the System was made from"
        )  # fmt: skip
    check_system_box(system, topology)
    if region is not None and not isinstance(region, Region):
        region = select_atoms(topology, region)
    if isinstance(region, Region):
        region.check_cuts()
    atoms: Iterable[int] = region.indices if isinstance(region, Region) else region or range(system.getNumParticles())
    _check_sites(system, potential, atoms)
    links, bonds = tuple(links), None if bonds is None else tuple(bonds)
    if sees_elements(potential.card):
        chosen = None if region is None else tuple(atoms)
        caps = len(region.links) if isinstance(region, Region) else len(links)
        charge = _check_chemistry(system, potential, topology, chosen, caps, charge, multiplicity)
    force = potential.create_force(
        topology,
        region,
        links=links,
        bonds=bonds,
        periodic=periodic,
        charge=charge or 0,
        multiplicity=multiplicity,
        scale=scale,
        parameters=parameters,
        force_group=force_group,
        properties=properties,
    )
    system.addForce(force)
    return force


def create_system(
    topology: Topology,
    potential: Potential,
    positions: Any | None = None,
    *,
    charge: int | None = None,
    multiplicity: int = 1,
    periodic: bool | None = None,
    hydrogen_mass: Any | None = None,
    remove_cm_motion: bool = True,
    parameters: Mapping[str, float] | None = None,
    force_group: int = 0,
    properties: Mapping[str, str] | None = None,
) -> openmm.System:
    """Make a System that a potential describes as a whole. There are no constraints.

    Parameters
    ----------
    topology
        Elements, bonds, and the box of a periodic System.
    potential
        The potential.
    positions
        (N,3): a Quantity, or numbers in nm. If they are given, a bundled potential is evaluated once, and there is a
        warning if its members disagree as they do on molecules that they do not know.
    charge
        Of everything, in e. By default what the bonds imply; a warning if that is not zero.
    multiplicity
        Spin multiplicity, 2S + 1.
    periodic
        Whether the model is given the box; by default if the topology has one and the card allows it.
    hydrogen_mass
        Mass of hydrogens bonded to heavier atoms, as a Quantity or in dalton; what they gain is taken from these.
    remove_cm_motion
        Whether to remove the motion of the centre of mass. It is not for a potential with an absolute frame, whose
        centre of mass moves on purpose, and is left out there.
    parameters
        Default values of global parameters, in place of the card's.
    force_group
        Of the neural force, 0 to 31.
    properties
        ``device``, ``precision``, ``threads``, ``concurrent``, ``cuda_graphs``, ``geometry``.

    Returns
    -------
    openmm.System
        The System.

    Raises
    ------
    ParticleError
        If an atom has no element, or one that the potential does not know.
    ParameterError
        If an option has a value that is not allowed, or the potential needs a box that the topology does not have.

    Examples
    --------
    >>> from openmm.app import Element, Topology
    >>> from openmm_nn import create_system, load_potential
    >>> topology = Topology()
    >>> atom = topology.addAtom("H", Element.getBySymbol("H"), topology.addResidue("H", topology.addChain()))
    >>> create_system(topology, load_potential(lambda positions: (positions**2).sum())).getNumParticles()
    1
    """
    believed = periodic is not False and potential.card.periodic != "never"
    box = topology_box(topology) if believed else topology.getPeriodicBoxVectors()
    if box is None and (periodic or potential.card.periodic == "always"):
        raise ParameterError(
            "topology", "one without box vectors, for a periodic potential", "one with a box",
                    "call topology.setPeriodicBoxVectors(...)"
        )  # fmt: skip
    system = openmm.System()
    for atom, mass in zip(topology.atoms(), _masses(topology, hydrogen_mass), strict=True):
        if mass is None:
            raise ParticleError(
                "topology", f"atom {atom.name} (index {atom.index}) without an element",
                        "an element for every atom", "set the element of the atom, or remove virtual sites"
            )  # fmt: skip
        system.addParticle(mass)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*vector) for vector in in_nanometers(box).tolist()))
    force = add_neural_force(
        topology,
        system,
        potential,
        periodic=periodic,
        charge=charge,
        multiplicity=multiplicity,
        parameters=parameters,
        force_group=force_group,
        properties=properties,
    )
    if positions is not None and (box is None or force.usesPeriodicBoundaryConditions()):
        warn_of_unfamiliar(
            potential,
            [atom.element.atomic_number for atom in topology.atoms()],
            positions,
            [f"{atom.residue.name}{atom.residue.id}:{atom.name} (atom {atom.index})" for atom in topology.atoms()],
            box=box,
            charge=force.getCharge(),
            multiplicity=multiplicity,
        )
    if remove_cm_motion and potential.card.frame == "invariant":
        system.addForce(openmm.CMMotionRemover())
    return system


def _check_chemistry(
    system: openmm.System,
    potential: Potential,
    topology: Topology,
    atoms: tuple[int, ...] | None,
    links: int,
    charge: int | None,
    multiplicity: int,
) -> int | None:
    """Look for missing bonds and hydrogens, and settle the charge; a term on a part of a molecule has no electrons."""
    check_bonds_present(topology, system)
    warn_of_missing_hydrogens(topology, None if atoms is None else set(atoms))
    molecules = Molecules.of_topology(topology, atoms)
    if len(molecules.numbers) != (topology.getNumAtoms() if atoms is None else len(atoms)) + links:
        return charge
    return settle_charge(molecules, charge, multiplicity, told=potential.card.supports_charge)


def _masses(topology: Topology, hydrogen_mass: Any | None) -> list[float | None]:
    """Return the masses of the atoms in dalton; None without an element."""
    masses = [None if a.element is None else float(a.element.mass.value_in_unit(MASS_UNIT)) for a in topology.atoms()]
    if hydrogen_mass is None:
        return masses
    target = in_unit(hydrogen_mass, MASS_UNIT)
    for bond in topology.bonds():
        for light, heavy in ((bond[0], bond[1]), (bond[1], bond[0])):
            mass, other = masses[light.index], masses[heavy.index]
            if mass is None or other is None or light.element.atomic_number != 1 or heavy.element.atomic_number == 1:
                continue
            masses[light.index], masses[heavy.index] = target, other - (target - mass)
    if any(mass is not None and mass <= 0.0 for mass in masses):
        raise ParameterError(
            "hydrogen_mass", f"{hydrogen_mass}", "a mass that leaves every heavy atom some",
                    "give about 1.5 to 3 dalton"
        )  # fmt: skip
    return masses


def _check_sites(system: openmm.System, potential: Potential, atoms: Iterable[int]) -> None:
    """Refuse virtual sites and Drude particles; massless atoms that are neither are frozen, and allowed."""
    if potential.card.follows_torchforce:
        return
    drude = {
        particle
        for force in system.getForces()
        if isinstance(force, openmm.DrudeForce)
        for index in range(force.getNumParticles())
        for particle in force.getParticleParameters(index)[:2]
    }
    for atom in atoms:
        if system.isVirtualSite(atom) or atom in drude:
            kind = "a virtual site" if system.isVirtualSite(atom) else "part of a Drude oscillator"
            raise ParticleError("region", f"particle {atom}, which is {kind}", "atoms", "leave it out of the region")
