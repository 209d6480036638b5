"""Cut bonds: which may be cut, where the link atoms sit, and the force on the atoms of the bond."""

import pathlib
import re

import mdtraj
import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system, load_potential, select_region
from openmm_nn.errors import BoundaryError, ParameterError, ParticleError
from tests.refusals import refusal
from tests.systems.hybrid import molecules
from tests.systems.hybrid.cases import BACKBONE, SIDE_CHAIN, make_hybrid, villin
from tests.systems.hybrid.molecules import build
from tests.systems.hybrid.region_energy import card, energy_and_forces, reference_context, zero_potential


def cut(text: str, region: str, types: dict[str, object] | None = None, **options: object) -> HybridSystem:
    topology, system, index = build(text, types)
    return make_hybrid(topology, system, zero_potential(), [index[name] for name in region.split()], **options)


@pytest.mark.parametrize(
    "text, region, kind",
    [
        (molecules.TOLUENE, "C7 H71 H72 H73", "single"),
        (molecules.BIPHENYL, "C1 C2 C3 C4 C5 C6 H2 H3 H4 H5 H6", "single"),
        (molecules.BUTADIENE, "C1 C2 H1 H2 H3", "single"),
        (molecules.PROPYNE, "C3 H2 H3 H4", "single"),
        (molecules.PROPANE, "C1 H1 H2 H3", "single"),
        (molecules.UNITED, "C1", "single"),
        (molecules.ACETAMIDE, "C1 H3 H4 H5", "single"),
    ],
)
def test_single_bonds_may_be_cut(text: str, region: str, kind: str) -> None:
    hybrid = cut(text, region)
    (only,) = hybrid.boundary_report().cuts
    assert only.kind.kind == kind
    assert len(hybrid.links) == 1


@pytest.mark.parametrize(
    "text, region, types, got, remedy",
    [
        (molecules.TOLUENE, "C1 C7 H71 H72 H73", None, ("aromatic", "LIG1:C1 (atom 0) - LIG1:C2 (atom 1)"),
         ("LIG1:C1 (atom 0) - LIG1:C7 (atom 11)", "allow_cuts=[(0, 1)]")),
        (molecules.BUTADIENE, "C1 H1 H2", None, ("double", "0.1340 nm"), "LIG1:C2 (atom 1) - LIG1:C3 (atom 2)"),
        (molecules.BUTADIENE.replace("=0.134", "").replace("=0.146", ""), "C1 H1 H2", None,
         ("double", "no equilibrium length"), "allow_cuts=[(0, 1)]"),
        (molecules.PROPYNE, "C1 H1", None, ("triple", "neighbour counts"), "LIG1:C2 (atom 1) - LIG1:C3 (atom 2)"),
        (molecules.ACETAMIDE, "N1 H1 H2", None, ("amide", "LIG1:N1 (atom 3) - LIG1:C2 (atom 1)"),
         "LIG1:C2 (atom 1) - LIG1:C1 (atom 0)"),
        (molecules.ACETAMIDE, "O1", None, ("double", "LIG1:O1 (atom 2)"), "LIG1:C2 (atom 1) - LIG1:C1 (atom 0)"),
        (molecules.ANILINE, "N1 H71 H72", None, ("conjugated", "0.1386 nm"), "allow_cuts=[(11, 0)]"),
        (molecules.PHOSPHATE, "O2", None, ("double", "LIG1:O2 (atom 3) - LIG1:P1 (atom 2)"), "allow_cuts=[(3, 2)]"),
        (molecules.PROPANE, "C1 H1 H2", None, ("X-H", "LIG1:C1 (atom 0) - LIG1:H3 (atom 5)"), "allow_cuts=[(0, 5)]"),
        (molecules.UNITED, "C1 C2", None, ("double", "0.1390 nm"),
         ("LIG1:C3 (atom 2) - LIG1:C4 (atom 3)", "LIG1:C2 (atom 1) - LIG1:C1 (atom 0)")),
        (molecules.without_lengths(molecules.UNITED), "C1", None, "unknown order",
         ("bond types", "allow_cuts=[(0, 1)]")),
        (molecules.PROPANE, "C1 H1 H2 H3", {"C1-C2": app.topology.Double}, ("double", "bond type in the topology"),
         "LIG1:C2 (atom 1) - LIG1:C3 (atom 2)"),
        (molecules.ACETAMIDE, "N1 H1 H2", {"C2-N1": app.topology.Single}, ("amide", "stated to be single"),
         "LIG1:C2 (atom 1) - LIG1:C1 (atom 0)"),
        (molecules.TOLUENE, "C1 C7 H71 H72 H73", {"C1-C2": app.topology.Single}, ("aromatic", "stated to be single"),
         "LIG1:C1 (atom 0) - LIG1:C7 (atom 11)"),
    ],
)  # fmt: skip
def test_other_bonds_are_refused_by_name(
    text: str, region: str, types: dict[str, object] | None, got: str | tuple[str, ...], remedy: str | tuple[str, ...]
) -> None:
    with refusal(BoundaryError, "region", got=got, remedy=remedy):
        cut(text, region, types)


@pytest.mark.parametrize(
    "selection, residue",
    [("resid 5 and (name CG CD1 HD1 CE1 HE1)", "PHE"), ("resid 13 and (name NH1 HH11 HH12)", "ARG")],
)
def test_templates_of_amino_acids(selection: str, residue: str) -> None:
    case = villin(rigidWater=False)
    with refusal(BoundaryError, "region", got=f"residue template {residue}"):
        create_hybrid_system(case.topology, case.system, zero_potential(), selection)


@pytest.mark.parametrize("field", ["amber14", "charmm36"])
def test_residues_end_in_amides(field: str) -> None:
    case = villin(field, rigidWater=False)
    ends = re.compile(r"ALA8:N \(atom \d+\) - LYS7:C \(atom \d+\)")
    with refusal(BoundaryError, "region", got=("amide", ends), remedy=re.compile(r"LYS7:CA .* or ALA8:CA ")):
        create_hybrid_system(case.topology, case.system, zero_potential(), "resid 7")


def test_two_cuts_on_one_environment_atom() -> None:
    region = "C1 H1 H2 H3 C3 H6 H7 H8"
    atoms = ("two cuts", "LIG1:C2 (atom 1)", "LIG1:C1 (atom 0)", "LIG1:C3 (atom 2)")
    with refusal(BoundaryError, "region", got=atoms, remedy=("LIG1:C2 (atom 1)", "allow_cuts=[(0, 1), (2, 1)]")):
        cut(molecules.PROPANE, region)
    assert len(cut(molecules.PROPANE, region, allow_cuts=[(0, 1), (1, 2)]).links) == 2


def test_allowed_cuts_pass_and_others_do_not() -> None:
    text = molecules.PROPANE
    assert len(cut(text, "C1 H1 H2", allow_cuts=[(0, 5), (0, 1)]).links) == 2
    with refusal(BoundaryError, "region", got=("X-H", "LIG1:H3 (atom 5)"), remedy="allow_cuts=[(0, 5)]"):
        cut(text, "C1 H1 H2", allow_cuts=[(0, 1)])
    with refusal(ParameterError, "allow_cuts", got="(0, 2)", allowed="(0, 1)"):
        cut(text, "C1 H1 H2 H3", allow_cuts=[(0, 2)])
    with refusal(ParameterError, "allow_cuts", got="3", allowed="pairs"):
        cut(text, "C1 H1 H2 H3", allow_cuts=[3])


def test_link_distances() -> None:
    text, region = molecules.PROPANE, "C1 H1 H2 H3"
    assert cut(text, region).links[0].value == pytest.approx(0.107)  # radii of C and H, 75 and 32 pm
    assert cut(text, region, link="ratio").links[0].value == pytest.approx(0.107 / 0.150)
    assert cut(text, region, link_distances={(0, 1): 0.109}).links[0].value == pytest.approx(0.109)
    assert cut(text, region, link_distances=[(1, 0, 1.09 * unit.angstrom)]).links[0].value == pytest.approx(0.109)
    assert cut(text, region, link="ratio", link_distances={(0, 1): 0.109}).links[0].value == pytest.approx(
        0.109 / 0.150
    )
    with refusal(ParameterError, "link_distances", got=("1.09", "(0, 1)"), allowed="between 0 and 1 nm"):
        cut(text, region, link_distances={(0, 1): 1.09})
    with refusal(ParameterError, "link_distances", got="(0, 5)", allowed="(0, 1)"):
        cut(text, region, link_distances={(0, 5): 0.1})
    with refusal(ParameterError, "link", got="'scaled'", allowed=("'fixed'", "'ratio'")):
        cut(text, region, link="scaled")


def test_cuts_between_other_atoms_than_carbons_are_warned_of() -> None:
    topology, system, index = build(molecules.PHOSPHATE)
    methyl = [index[name] for name in ("C1", "H1", "H2", "H3")]
    with pytest.warns(UserWarning, match=r"LIG1:C1 .* - LIG1:O1 .* is not between carbons") as caught:
        create_hybrid_system(topology, system, zero_potential(), methyl)
    assert caught[0].filename == __file__


def wells(positions: torch.Tensor) -> torch.Tensor:
    """A smooth energy that depends on every pair, link hydrogens included."""
    distance = torch.pdist(positions)
    return (40.0 * torch.exp(-2.0 * distance) + 3.0 * torch.cos(9.0 * distance)).sum()


def region_potential() -> object:
    own = card("wells")
    return load_potential(wells, card=type(own)(**{**own.__dict__, "outputs": ("energy",)}))


@pytest.mark.parametrize("link", ["fixed", "ratio"])
@pytest.mark.parametrize("rule", ["capped", "all-atoms", "gromacs"])
@pytest.mark.filterwarnings("ignore:charge")
def test_finite_differences_of_the_whole_hybrid_energy(link: str, rule: str) -> None:
    """For Q, M and their neighbours, to 1e-5 relative, with two cuts; without a cutoff, whose jumps would be seen."""
    case = villin(method="NoCutoff", waters=30, rigidWater=False)
    hybrid = create_hybrid_system(
        case.topology,
        case.system,
        region_potential(),
        select_region(case.topology, case.system, BACKBONE, link=link),
        embedding=Mechanical(bonded_rule=rule),
    )
    assert len(hybrid.links) == 2
    context = reference_context(hybrid.system, case.positions)
    forces = energy_and_forces(context)[1]
    bonds = [(bond[0].index, bond[1].index) for bond in case.topology.bonds()]
    ends = {atom for entry in hybrid.links for atom in (entry.inside, entry.outside)}
    near = ends | {b if a in ends else a for a, b in bonds if (a in ends) != (b in ends)}
    step = 1e-4
    for atom in sorted(near):
        for axis in range(3):
            energies = []
            for sign in (-2, -1, 1, 2):
                x = case.positions.copy()
                x[atom, axis] += sign * step
                context.setPositions(x)
                energies.append(energy_and_forces(context)[0])
            slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
            assert abs(-slope - forces[atom, axis]) < 1e-5 * np.abs(forces[atom]).max() + 2e-3


@pytest.mark.parametrize("link", ["fixed", "ratio"])
@pytest.mark.filterwarnings("ignore:charge")
def test_force_and_torque_vanish_in_vacuum(link: str) -> None:
    case = villin(method="NoCutoff", waters=0)
    hybrid = create_hybrid_system(
        case.topology, case.system, region_potential(), select_region(case.topology, case.system, BACKBONE, link=link)
    )
    forces = energy_and_forces(reference_context(hybrid.system, case.positions))[1]
    assert np.abs(forces.sum(axis=0)).max() < 1e-6
    assert np.abs(np.cross(case.positions, forces).sum(axis=0)).max() < 1e-6


@pytest.mark.filterwarnings("ignore:charge")
def test_report_prints_cuts_terms_and_charges() -> None:
    case = villin(rigidWater=False)
    report = create_hybrid_system(case.topology, case.system, zero_potential(), BACKBONE).boundary_report()
    text = str(report)
    for piece in ("cut bonds", "ALA8:C ", "PHE10:CA", "fixed", "0.1070", "capped* removed", "HarmonicAngleForce", "M2"):
        assert piece in text
    assert report.charge_region + report.charge_environment == pytest.approx(0.0, abs=1e-9)
    for term in report.terms:
        assert term.touching >= term.removed["capped"] >= term.removed["all-atoms"] > 0


def test_hybrid_keeps_particles_and_topology() -> None:
    case = villin(rigidWater=False)
    hybrid = create_hybrid_system(case.topology, case.system, zero_potential(), SIDE_CHAIN, charge=0)
    assert hybrid.topology is case.topology
    assert hybrid.system.getNumParticles() == case.system.getNumParticles()
    for index in range(0, case.system.getNumParticles(), 7):
        assert hybrid.system.getParticleMass(index) == case.system.getParticleMass(index)
    molecules_ = [mm.Context(s, mm.VerletIntegrator(1e-3), mm.Platform.getPlatformByName("Reference")).getMolecules()
                  for s in (case.system, hybrid.system)]  # fmt: skip
    assert sorted(map(sorted, molecules_[0])) == sorted(map(sorted, molecules_[1]))


@pytest.mark.filterwarnings("ignore:charge")
def test_trajectories_are_those_of_the_input(tmp_path: pathlib.Path) -> None:
    """A run with cut bonds writes the input's atoms, and neither call nor run changes the input."""
    case = villin(waters=10, rigidWater=False)
    before = (mm.XmlSerializer.serialize(case.system), mdtraj.Topology.from_openmm(case.topology))
    hybrid = create_hybrid_system(case.topology, case.system, region_potential(), BACKBONE)
    simulation = app.Simulation(
        hybrid.topology, hybrid.system, mm.VerletIntegrator(1e-4), mm.Platform.getPlatformByName("CPU")
    )
    simulation.context.setPositions(case.positions)
    simulation.reporters += [
        app.DCDReporter(str(tmp_path / "run.dcd"), 1),
        app.PDBReporter(str(tmp_path / "run.pdb"), 2),
    ]
    simulation.step(2)
    trajectory = mdtraj.load(str(tmp_path / "run.dcd"), top=before[1])
    written = app.PDBFile(str(tmp_path / "run.pdb")).topology
    assert trajectory.n_frames == 2
    np.testing.assert_allclose(trajectory.xyz[-1], case.positions, atol=0.01)
    assert [atom.name for atom in written.atoms()] == [atom.name for atom in case.topology.atoms()]
    assert mm.XmlSerializer.serialize(case.system) == before[0]
    after = mdtraj.Topology.from_openmm(case.topology)
    assert after == before[1]
    assert case.topology.getPeriodicBoxVectors() == hybrid.topology.getPeriodicBoxVectors()


def test_elements_that_the_potential_does_not_know() -> None:
    own = card("organic")
    organic = load_potential(wells, card=type(own)(**{**own.__dict__, "outputs": ("energy",), "elements": ("H", "C")}))
    topology, system, _ = build(molecules.ACETAMIDE)
    with refusal(ParticleError, "region", got=("O (atom 2)", "N (atom 3)"), allowed=("H, C", "'organic'")):
        create_hybrid_system(topology, system, organic, range(topology.getNumAtoms()))
