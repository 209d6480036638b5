"""Mechanical embedding: classical charges of the environment act on classical charges of the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import openmm

from ... import errors
from ...engine import force as force_module
from ...potentials.potential import Potential
from .bonded import BONDED_RULES, RegionAtoms
from .charges import CHARGE_SCHEMES, scheme_forces, second_neighbours
from .embeddings import Embedded, EmbeddingRequest
from .hybrid_arguments import check_choice, check_range, chooses_subtraction
from .interpolation import LAMBDA, Factor, bonded_forces, check_constraints, image_forces, pair_forces
from .mechanical import check_rigid_water, inner_constraints, remove_region
from .nonbonded import check_forces


@dataclass(frozen=True)
class Mechanical:
    """The environment acts on the region through the classical force field.

    The energy is E_MM(E,E) + E_MM(R,E) + E_NN(R and link atoms), for a region R and its environment E.

    Parameters
    ----------
    bonded_rule : {"capped", "all-atoms", "gromacs"}
        Which bonded terms the potential replaces, see `openmm_nn.systems.hybrid.bonded`; with no cut bond all agree.
    charge_scheme : {"none", "z1", "rc", "rcd", "cs"}
        How the region sees the charges of the environment at cut bonds, see `openmm_nn.systems.hybrid.charges`. Not
        together with ``interpolate=True``, whose lower end would not be the classical System.
    long_range : bool, optional
        Whether the potential itself contains the interaction of the region with its periodic images. Needed where the
        card does not say and the System uses Ewald summation. If it does and is given the box, the classical one, with
        the neutralising plasma of a charged region, is taken out (by the native extension); else the images stay
        classical.
    periodic : bool
        Give the potential the periodic box, if its card allows both; by default the region is a cluster.
    subtract_region : bool, optional
        Leave the region's own nonbonded pairs in the classical forces and subtract them by the native extension,
        instead of making each an exception, whose number grows with the square of the region's size. By default for
        regions of more than 300 atoms, and where another nonbonded force keeps pairs of the region: a
        CustomNonbondedForce that ``interpolate`` scales, or one that ``keep`` names. Not for reactive
        regions: where atoms come close, two large energies cancel badly.

    Raises
    ------
    ParameterError
        If an option has a value that does not exist.

    Examples
    --------
    >>> from openmm_nn import Mechanical
    >>> Mechanical(charge_scheme="rcd")
    Mechanical(bonded_rule='capped', charge_scheme='rcd', long_range=None, periodic=False, subtract_region=None)
    """

    bonded_rule: str = "capped"
    charge_scheme: str = "none"
    long_range: bool | None = None
    periodic: bool = False
    subtract_region: bool | None = None

    name: ClassVar[str] = "mechanical"

    def __post_init__(self) -> None:
        check_choice("bonded_rule", self.bonded_rule, BONDED_RULES)
        check_choice("charge_scheme", self.charge_scheme, CHARGE_SCHEMES)

    def embed(self, request: EmbeddingRequest) -> Embedded:
        """Take the region's own energy out of the classical System and add the potential.

        Parameters
        ----------
        request : EmbeddingRequest

        Returns
        -------
        Embedded

        Raises
        ------
        ParameterError
            If an option contradicts the potential, the System or another option.
        UnsupportedError
            If the System has a force or particles that cannot be treated rightly.
        """
        system, graph, region, ignored = request.system, request.graph, request.region, request.ignored
        atoms = RegionAtoms.of(region.indices, graph.neighbours)

        # What cannot be treated rightly is refused before anything is built.
        check_forces(system, atoms.inside, ignored)
        if not request.remove_constraints:
            check_rigid_water(graph, inner_constraints(system, atoms.inside))
        uses_box, images = check_range(system, request.potential, self.long_range, self.periodic)
        subtract = chooses_subtraction(self.subtract_region, system, region, ignored, bool(request.interpolate))
        scheme = scheme_forces(self.charge_scheme, system, graph, region)
        if request.interpolate:
            self._check_scheme(request.interpolate)
            check_constraints(system, graph, region, "interpolate", request.kept_constraints)

        # The classical System without the region's bonded terms, constraints and, unless subtracted, its pairs.
        remainder = remove_region(
            system,
            graph,
            region,
            bonded_rule=self.bonded_rule,
            ignored=ignored,
            remove_constraints=request.remove_constraints,
            kept_constraints=request.kept_constraints,
            keep_pairs=subtract,
        )

        # What was left in and must be subtracted, and what interpolation adds back times 1 - lambda.
        own: list[openmm.Force] = []
        if subtract or request.interpolate:
            factor = _own_factor(subtract, request.interpolate)
            purpose = "interpolate" if request.interpolate else "subtract_region"
            own += pair_forces(system, region, ignored, factor, purpose, images=images and subtract)
        if images and not subtract:
            factor = _own_factor(True, request.interpolate)  # zero exceptions leave the images in
            own += image_forces(system, region, ignored, factor, "long_range")
        if request.interpolate:
            own += bonded_forces(system, atoms, self.bonded_rule, ignored, _own_factor(False, request.interpolate))

        # The complete System: what remains, these, the charge scheme, and the potential.
        hybrid = remainder.system
        roles = ["ignored" if index in ignored else "classical" for index in range(hybrid.getNumForces())]
        for role, forces in (("own", own), ("scheme", scheme)):
            for force in forces:
                hybrid.addForce(force)
                roles.append(role)
        _add_potential(hybrid, request, uses_box)
        roles += ["potential"] * (hybrid.getNumForces() - len(roles))
        return Embedded(
            hybrid,
            tuple(roles),
            self.bonded_rule,
            self.charge_scheme,
            images,
            subtract,
            self._charges_from(request),
            remainder.terms,
            remainder.constraints_removed,
        )

    def _charges_from(self, request: EmbeddingRequest) -> tuple[int, ...]:
        region, graph = request.region, request.graph
        if self.charge_scheme == "none":
            return ()
        seconds = [atom for cut in region.cuts for atom in second_neighbours(graph, region, cut)]
        return tuple({*region.indices, *(cut.outside for cut in region.cuts), *seconds})

    def _check_scheme(self, parameter: str) -> None:
        if self.charge_scheme != "none":
            raise errors.ParameterError(
                "charge_scheme",
                f"{self.charge_scheme!r} together with interpolate={True if parameter == LAMBDA else parameter!r}",
                "'none', since at zero the interpolated System would not be the classical one",
                "leave the scheme out, or do not interpolate",
            )


def _own_factor(left_in: bool, interpolate: str) -> Factor:
    """Return the factor of E_MM(R) or a part of it: the hybrid has none of it, the classical System has it once."""
    if not interpolate:
        return Factor(-1.0)
    return Factor(0.0 if left_in else 1.0, -1.0, interpolate)


def _add_potential(system: openmm.System, request: EmbeddingRequest, uses_box: bool) -> None:
    potential, region = request.potential, request.region
    if isinstance(potential, Potential):
        # The engine on PythonForce, which reports no bonds, brings bonds of zero strength of its own.
        force = force_module.create_force(
            potential.source(request.parameters),
            topology=request.topology,
            region=region.indices,
            links=region.links,
            bonds=region.bonds,
            periodic=uses_box,
            charge=request.charge,
            multiplicity=request.multiplicity,
            force_group=request.force_group,
            properties=request.properties,
            scale=(request.interpolate, 1.0) if request.interpolate else request.scale,
        )
        if request.interpolate:
            force.addEnergyParameterDerivative(request.interpolate)
            force.setScaleRange(0.0, 1.0)
        system.addForce(force)
        return
    if region.links:
        raise errors.UnsupportedError(
            "potential",
            f"an MLPotential with {len(region.links)} cut bonds; its force has no link atoms",
            "regions of whole molecules",
            "use {expand}, or a Potential from openmm_nn.load_potential(...)",
            {"expand": "molecule"},
        )
    for name in ("scale", "parameters", "properties"):
        if getattr(request, name):
            raise errors.ParameterError(
                name,
                f"{getattr(request, name)!r} with an MLPotential, whose force has none",
                "None",
                f"leave {name} out, or use a Potential from openmm_nn.load_potential(...)",
            )
    potential._impl.addForces(
        request.topology,
        system,
        list(region.indices),
        request.force_group,
        charge=request.charge,
        multiplicity=request.multiplicity,
    )
    _hold_together(system, region.bonds, request.force_group)


def _hold_together(system: openmm.System, bonds: tuple[tuple[int, int], ...], force_group: int) -> None:
    """Add bonds of zero strength in place: the PythonForce of an MLPotential reports none to barostats and imaging."""
    if not bonds:
        return
    force = openmm.HarmonicBondForce()
    force.setName("bonds of the region, without strength")
    force.setForceGroup(force_group)
    for first, second in bonds:
        force.addBond(first, second, 0.0, 0.0)
    system.addForce(force)
