"""What MDTraj computes is what comes out, for the region of a hybrid in water."""

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmm_nn.analysis import compute_link_geometry, compute_structure, compute_twin_comparison, compute_water_rdf
from openmm_nn.errors import ParameterError, ParticleError
from tests.refusals import refusal
from tests.systems.hybrid.cases import droplet, villin

REGION = list(range(22))


def shaken(frames: int = 12, waters: int = 120, seed: int = 1, size: float = 0.004) -> mdtraj.Trajectory:
    topology, positions = droplet(waters)
    noise = np.random.default_rng(seed).normal(scale=size, size=(frames, len(positions), 3))
    traj = mdtraj.Trajectory(positions + noise, mdtraj.Topology.from_openmm(topology), time=np.arange(frames) * 0.5)
    vectors = topology.getPeriodicBoxVectors()._value
    traj.unitcell_vectors = np.repeat(np.array(vectors)[None], frames, axis=0).astype(np.float32)
    return traj


def heavy_atoms(traj: mdtraj.Trajectory) -> np.ndarray:
    """Of the region, counted in it."""
    return traj.atom_slice(REGION).topology.select("element != H")


def test_numbers_are_those_of_mdtraj() -> None:
    traj = shaken()
    summary = compute_structure(traj, REGION)
    peptide = traj.atom_slice(REGION)
    heavy = peptide.topology.select("element != H")
    assert summary.time == pytest.approx(traj.time)
    assert summary.rmsd == pytest.approx(mdtraj.rmsd(peptide, peptide, 0, atom_indices=heavy), abs=1e-6)
    assert summary.rmsf == pytest.approx(mdtraj.rmsf(peptide[:].superpose(peptide, 0, heavy), None), abs=1e-6)
    assert summary.rg == pytest.approx(mdtraj.compute_rg(peptide), abs=1e-6)
    assert summary.dihedrals["phi ALA2"] == pytest.approx(mdtraj.compute_phi(traj)[1][:, 0])
    assert summary.dihedrals["psi ALA2"] == pytest.approx(mdtraj.compute_psi(traj)[1][:, 0])
    assert summary.sasa == pytest.approx(mdtraj.shrake_rupley(peptide).sum(axis=1), rel=1e-5)
    assert summary.dssp is None
    oxygens = traj.topology.select("water and element O")
    pairs = traj.topology.select_pairs(heavy, oxygens)
    radii, values = mdtraj.compute_rdf(traj, pairs, r_range=(0.0, 1.0), bin_width=0.01)
    assert summary.rdf is not None
    assert summary.rdf.radii == pytest.approx(radii)
    assert summary.rdf.values == pytest.approx(values)


def test_a_molecule_that_tumbles_does_not_fluctuate() -> None:
    """Turned and moved, a rigid molecule has no RMSD, no RMSF and one radius; shaken, it has what it was shaken by."""
    still = shaken(frames=1, waters=1).atom_slice(REGION)
    turns = Rotation.random(300, random_state=1)
    noise = np.random.default_rng(2).normal(scale=0.004, size=(300, 22, 3))
    for spread, frames in ((0.0, np.repeat(still.xyz, 300, axis=0)), (0.004, still.xyz + noise)):
        xyz = np.array([turn.apply(x) + shift for shift, (turn, x) in enumerate(zip(turns, frames, strict=True))])
        summary = compute_structure(mdtraj.Trajectory(xyz - xyz.mean(axis=1, keepdims=True), still.topology))
        # Superposing ten heavy atoms takes 6 of their 30 degrees of freedom, and adds its own error to the hydrogens.
        assert summary.rmsf == pytest.approx(np.sqrt(3) * spread, abs=1e-5 + 0.25 * np.sqrt(3) * spread)
        assert np.sqrt(np.mean(summary.rmsf**2)) == pytest.approx(np.sqrt(3) * spread, abs=1e-5, rel=0.1)
        if spread == 0:
            assert summary.rmsd == pytest.approx(0.0, abs=2e-4)
            assert np.ptp(summary.rg) < 1e-6


def test_hydrogen_bonds_are_those_of_mdtraj_over_all_atoms() -> None:
    case = villin(waters=60)
    topology = mdtraj.Topology.from_openmm(case.topology)
    noise = np.random.default_rng(1).normal(scale=0.004, size=(3, len(case.positions), 3))
    traj = mdtraj.Trajectory(case.positions + noise, topology)
    region = topology.select("resid 4 to 14")
    counts = compute_structure(traj, region).hydrogen_bonds
    for frame, bonds in enumerate(mdtraj.wernet_nilsson(traj, exclude_water=False)):
        inside = np.isin(bonds[:, [0, 2]], region)
        assert counts["within"][frame] == np.sum(inside.all(axis=1))
        assert counts["given"][frame] == np.sum(inside[:, 0] & ~inside[:, 1])
        assert counts["accepted"][frame] == np.sum(inside[:, 1] & ~inside[:, 0])
    assert all(counts[kind].sum() > 0 for kind in ("within", "given", "accepted"))


def test_a_region_split_by_the_box_is_made_whole() -> None:
    traj = shaken(frames=4)
    expected = compute_structure(traj, REGION)
    moved = traj[:]
    moved.xyz = traj.xyz.copy()
    moved.xyz[:, 10:22] += traj.unitcell_vectors[:, 1][:, None]
    found = compute_structure(moved, REGION)
    assert found.rg == pytest.approx(expected.rg, abs=1e-5)
    assert found.rmsd == pytest.approx(expected.rmsd, abs=1e-5)


def test_secondary_structure_of_a_protein() -> None:
    case = villin(waters=0, method="NoCutoff")
    traj = mdtraj.Trajectory(case.positions[None], mdtraj.Topology.from_openmm(case.topology))
    summary = compute_structure(traj, "resid 5 to 9")
    assert summary.dssp is not None
    assert (summary.dssp == mdtraj.compute_dssp(traj.atom_slice(traj.topology.select("protein")))).all()
    assert (summary.dssp == "H").mean() > 0.4
    assert summary.rdf is None


def test_no_water_no_box_no_distribution() -> None:
    traj = shaken(frames=2)
    assert compute_water_rdf(traj.atom_slice(REGION)) is None
    traj.unitcell_vectors = None
    assert compute_water_rdf(traj, REGION) is None


def test_cut_bonds_are_measured() -> None:
    case = villin()
    topology = mdtraj.Topology.from_openmm(case.topology)
    traj = mdtraj.Trajectory(case.positions[None], topology)
    inside, outside = (int(topology.select(f"resid 5 and name {name}")[0]) for name in ("CB", "CA"))
    geometry = compute_link_geometry(traj, [(inside, outside)])
    x = case.positions
    assert geometry.lengths[0, 0] == pytest.approx(np.linalg.norm(x[inside] - x[outside]), abs=1e-6)
    assert len(geometry.angles) == 3 + 3
    assert (geometry.angles[:, 1] == [inside] * 3 + [outside] * 3).all()
    for column, (a, b, c) in enumerate(geometry.angles):
        u, v = x[a] - x[b], x[c] - x[b]
        cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
        assert geometry.values[0, column] == pytest.approx(np.arccos(cosine), abs=1e-5)


def test_no_cut_bond_no_columns() -> None:
    geometry = compute_link_geometry(shaken(frames=3), [])
    assert geometry.lengths.shape == (3, 0)
    assert geometry.values.shape == (3, 0)


def test_a_run_equals_itself_and_differs_from_another() -> None:
    traj = shaken(frames=40, waters=40)
    same = compute_twin_comparison(traj, traj, REGION)
    assert all(row.value == 0 for row in same.differences.values())
    assert all(divergence == 0 for divergence in same.dihedrals.values())
    swollen = shaken(frames=40, waters=40, seed=2)
    centre = swollen.xyz[:, :22].mean(axis=1, keepdims=True)
    swollen.xyz[:, :22] = centre + 1.05 * (swollen.xyz[:, :22] - centre)
    other = compute_twin_comparison(swollen, traj, REGION)
    rg = other.differences["rg"]
    assert rg.value == pytest.approx(0.05 * rg.second.mean, rel=0.05)
    assert rg.error == pytest.approx(np.hypot(rg.first.error, rg.second.error))
    assert rg.significance > 10
    # Both to one structure: the second's heavy atoms are larger by a twentieth.
    to_first = mdtraj.rmsd(*(t.atom_slice(REGION) for t in (swollen, traj)), 0, atom_indices=heavy_atoms(traj))
    assert compute_twin_comparison(traj, swollen, REGION).differences["rmsd"].second.mean == pytest.approx(
        to_first.mean(), abs=1e-5
    )
    turned = shaken(frames=40, waters=40)
    index = mdtraj.compute_phi(turned)[0]
    axis = index[0][1:3]
    for frame, x in enumerate(turned.xyz):
        # All that comes after the alpha carbon turns by a quarter about the bond from N to CA.
        unit = (x[axis[1]] - x[axis[0]]) / np.linalg.norm(x[axis[1]] - x[axis[0]])
        r = x[index[0][3] : 22] - x[axis[1]]
        turned.xyz[frame, index[0][3] : 22] = np.cross(unit, r) + np.outer(r @ unit, unit) + x[axis[1]]
    assert compute_twin_comparison(turned, traj, REGION).dihedrals["phi ALA2"] == pytest.approx(np.log(2), abs=1e-9)


def test_wrong_arguments() -> None:
    traj = shaken(frames=2, waters=5)
    with refusal(ParticleError, "region", got="index 999"):
        compute_structure(traj, [999])
    with refusal(ParticleError, "region", got="'resname LIG'"):
        compute_structure(traj, "resname LIG")
    with refusal(ParameterError, "traj", got="a list"):
        compute_structure([1, 2])
    with refusal(ParticleError, "links", got="index 400"):
        compute_link_geometry(traj, [(0, 400)])
    with refusal(ParticleError, "twin", got="22 atoms"):
        compute_twin_comparison(traj, traj.atom_slice(REGION))
