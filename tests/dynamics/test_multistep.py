"""Multiple time stepping: the energy in three groups, one evaluation an outer step, an audit that can say no."""

import math

import numpy as np
import openmm as mm
import pytest
from openmm import app, unit

import openmm_nn
from openmm_nn import HybridSystem, create_hybrid_system, load_potential
from openmm_nn.dynamics import audit_multistep, multistep_audit, multistep_integrator, multistep_system
from openmm_nn.dynamics.multistep import FAST_GROUP, MEDIUM_GROUP, SLOW_GROUP, microcanonical_integrator
from openmm_nn.errors import ParameterError, UnsupportedError
from tests.refusals import Pieces, refusal
from tests.systems.hybrid.cases import make_hybrid

PEPTIDE = "resname ACE ALA NME"
SIDE_CHAIN = "resname ALA and name CB HB1 HB2 HB3"


def peptide(
    waters: int = 20, *, constraints: object = None, method: object = app.CutoffPeriodic
) -> tuple[app.Topology, mm.System, np.ndarray]:
    """The examples' peptide with its nearest waters, in the box of all of them."""
    pdb = app.PDBFile("examples/data/alanine-dipeptide-explicit.pdb")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    x = np.asarray(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    residues = [residue for residue in modeller.topology.residues() if residue.name == "HOH"]
    residues.sort(key=lambda residue: float(np.linalg.norm(x[next(residue.atoms()).index] - x[:22].mean(axis=0))))
    modeller.delete(residues[waters:])
    field = app.ForceField("amber14-all.xml", "amber14/tip3pfb.xml")
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=method,
        nonbondedCutoff=1.0,
        constraints=constraints,
        flexibleConstraints=True,
    )
    return modeller.topology, system, np.asarray(modeller.positions.value_in_unit(unit.nanometer))


def hybrid_of(region: str = PEPTIDE, **options: object) -> tuple[HybridSystem, np.ndarray]:
    topology, system, x = peptide()
    potential = load_potential("openmm-nn/hcno-1")
    return make_hybrid(topology, system, potential, region, **options), x  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(request.config.rootpath)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("region", [PEPTIDE, SIDE_CHAIN])
@pytest.mark.parametrize("match", [False, True])
def test_the_energy_of_the_hybrid(native: str, region: str, subtract: bool, match: bool) -> None:
    hybrid, x = hybrid_of(region, subtract_region=subtract)
    states = []
    for system in (hybrid.system, multistep_system(hybrid, x if match else None)):
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(x)
        states.append(context.getState(energy=True, forces=True))
    energies = [state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) for state in states]
    assert abs(energies[0] - energies[1]) < 1e-6
    forces = [state.getForces(asNumpy=True)._value for state in states]
    assert np.allclose(forces[0], forces[1], atol=1e-4)


def test_the_groups(native: str) -> None:
    """Fast and medium are the classical System, slow is the rest."""
    topology, system, x = peptide()
    hybrid = create_hybrid_system(topology, system, load_potential("openmm-nn/hcno-1"), PEPTIDE)
    split = multistep_system(hybrid)
    platform = mm.Platform.getPlatformByName("Reference")
    classical = mm.Context(system, mm.VerletIntegrator(0.001), platform)
    context = mm.Context(split, mm.VerletIntegrator(0.001), platform)
    for each in (classical, context):
        each.setPositions(x)
    groups = {FAST_GROUP, MEDIUM_GROUP}
    kilojoules = unit.kilojoule_per_mole
    two = context.getState(energy=True, groups=groups).getPotentialEnergy().value_in_unit(kilojoules)
    assert abs(two - classical.getState(energy=True).getPotentialEnergy().value_in_unit(kilojoules)) < 1e-6
    slow = context.getState(forces=True, groups={SLOW_GROUP}).getForces(asNumpy=True)._value
    assert np.abs(slow[22:]).max() < 1e-9  # without cut bonds the correction acts on the region alone
    assert np.abs(slow[:22]).max() > 1.0


def test_matched_stretches_leave_little_to_the_slow_part(native: str) -> None:
    """Along every bond of hydrogen, two thermal amplitudes either way, the slow force varies a fifth as much."""
    hybrid, x = hybrid_of()
    start = mm.Context(hybrid.system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("CPU"))
    start.setPositions(x)
    mm.LocalEnergyMinimizer.minimize(start, 10.0, 200)
    x = start.getState(positions=True).getPositions(asNumpy=True)
    varies = []
    for system in (multistep_system(hybrid), multistep_system(hybrid, x)):
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        varies.append([np.ptp(slow_forces(context, x._value, *bond)) for bond in bonds_of_hydrogen(hybrid)])
    before, after = np.array(varies)
    assert len(before) == 12
    assert before.min() > 200.0  # kJ/mol/nm
    assert np.median(after / before) < 0.2
    assert (after / before).max() < 0.3


def bonds_of_hydrogen(hybrid: HybridSystem) -> list[tuple[int, int]]:
    bonds = [(bond[0], bond[1]) for bond in hybrid.topology.bonds() if {bond[0].index, bond[1].index} <= set(range(22))]
    hydrogen = app.element.hydrogen
    return [
        (a.index, b.index) if b.element is hydrogen else (b.index, a.index)
        for a, b in bonds
        if hydrogen in (a.element, b.element)
    ]


def slow_forces(context: mm.Context, x: np.ndarray, heavy: int, hydrogen: int) -> list[float]:
    """Force of the slow group on the hydrogen along its bond, as it moves."""
    along = (x[hydrogen] - x[heavy]) / np.linalg.norm(x[hydrogen] - x[heavy])
    found = []
    for shift in (-0.006, -0.003, 0.0, 0.003, 0.006):
        moved = x.copy()
        moved[hydrogen] += shift * along
        context.setPositions(moved)
        forces = context.getState(forces=True, groups={SLOW_GROUP}).getForces(asNumpy=True)._value
        found.append(float(forces[hydrogen] @ along))
    return found


@pytest.mark.parametrize("match", [np.zeros((3, 3)), "positions", np.full((82, 3), np.nan)])
def test_positions_that_do_not_match(native: str, match: object) -> None:
    hybrid, _ = hybrid_of()
    with refusal(ParameterError, "match", allowed="(82, 3)"):
        multistep_system(hybrid, match)


def test_one_evaluation_an_outer_step(native: str) -> None:
    hybrid, x = hybrid_of()
    system = multistep_system(hybrid)
    force = next(f for f in map(openmm_nn.native.load().NeuralForce.cast, potentials(system)))
    integrator = multistep_integrator(300, 1, slow=0.004, medium=0.002, fast=0.001)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"))
    context.setPositions(x)
    integrator.step(2)
    before = force.getStatistics(context)["evaluations"]
    integrator.step(10)
    assert force.getStatistics(context)["evaluations"] - before == 10


def potentials(system: mm.System) -> list[mm.Force]:
    isinstance_of = openmm_nn.native.load().NeuralForce.isinstance
    return [force for force in system.getForces() if isinstance_of(force)]


def test_energy_is_conserved_as_the_square_of_the_step(native: str) -> None:
    """The error of a reversible, symplectic step is of second order: halving all steps divides it by about four."""
    hybrid, x = hybrid_of()
    system = multistep_system(hybrid)
    platform = mm.Platform.getPlatformByName("Reference")
    start = mm.Context(system, mm.LangevinMiddleIntegrator(100, 10, 0.0005), platform)
    start.setPositions(x)
    mm.LocalEnergyMinimizer.minimize(start, 10, 100)
    start.setVelocitiesToTemperature(100, 3)
    start.getIntegrator().step(50)
    state = start.getState(positions=True, velocities=True)
    spread = []
    for scale in (1.0, 0.5):
        integrator = microcanonical_integrator(0.001 * scale, 0.0005 * scale, 0.00025 * scale)
        context = mm.Context(system, integrator, platform)
        context.setState(state)
        totals = []
        for _ in range(25):
            integrator.step(round(2 / scale))
            now = context.getState(energy=True)
            totals.append((now.getPotentialEnergy() + now.getKineticEnergy())._value)
        spread.append(np.std(totals))
    assert 2.5 < spread[0] / spread[1] < 6.0


def test_constraints_without_energy_are_refused(native: str) -> None:
    topology, _, _ = peptide()
    field = app.ForceField("amber14-all.xml", "amber14/tip3pfb.xml")
    system = field.createSystem(topology, constraints=app.HBonds)
    with pytest.warns(UserWarning, match="constraints in the region were removed"):
        hybrid = create_hybrid_system(topology, system, load_potential("openmm-nn/hcno-1"), PEPTIDE)
    with refusal(UnsupportedError, "multistep_system", remedy="flexibleConstraints=True"):
        multistep_system(hybrid)


def test_interpolation_is_refused(native: str) -> None:
    hybrid, _ = hybrid_of(interpolate=True)
    with refusal(UnsupportedError, "hybrid", got="lambda_interpolate", allowed="interpolate=False"):
        multistep_system(hybrid)


@pytest.mark.parametrize(
    "steps, argument, got",
    [
        ({"slow": 0.003, "medium": 0.002}, "slow", ("3 fs", "medium = 2 fs")),
        ({"medium": 0.0015, "slow": 0.003}, "medium", ("1.5 fs", "fast = 1 fs")),
        ({"slow": 0.001, "medium": 0.002}, "slow", ("1 fs", "medium = 2 fs")),
        ({"fast": 0.0}, "fast", "0.0"),
    ],
)
def test_steps_that_do_not_fit(steps: dict[str, float], argument: str, got: Pieces) -> None:
    with refusal(ParameterError, argument, got=got):
        multistep_integrator(300, 1, **steps)


def test_an_audit_finds_the_step_that_resonates(native: str) -> None:
    """A potential stiffer than the classical bonds of water: 1 fs is sound, 6 fs is past half the period."""
    topology, system, x = peptide(4)
    waters = [atom.index for atom in topology.atoms() if atom.residue.name == "HOH"]
    pairs = [(a, b) for a, b in ((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5), (6, 7), (6, 8), (7, 8))]

    def stiff(positions):  # type: ignore[no-untyped-def]
        energy = 0.0
        for a, b in pairs:
            r = (positions[a] - positions[b]).norm()
            energy = energy + 0.5 * 6e5 * (r - (0.096 if a % 3 == 0 else 0.152)) ** 2
        return energy

    hybrid = create_hybrid_system(topology, system, load_potential(stiff), waters[:9])
    steps = {"medium": 0.001, "fast": 0.0005, "reference": (0.0005, 0.00025), "duration": 0.2, "equilibration": 0.1}
    audit = audit_multistep(hybrid, x, outer=(0.001, 0.006), match=False, replicas=2, **steps)
    assert [row.levels[0] for row in audit.rows] == [0.5, 0.25, 1.0, 6.0]
    assert audit.rows[1].verdict == "sound"
    assert audit.rows[2].observables["T region H"][1] > 0.0
    verdicts = {row.outer: row.verdict for row in audit.rows}
    assert verdicts[0.5] == "reference"
    assert verdicts[1.0] == "sound"
    assert verdicts[6.0] != "sound"
    assert audit.recommended == 1.0
    text = audit.to_text()
    assert "recommended outer step: 1 fs (2 times 0.2 ps)" in text
    assert "T region H [K]" in text
    assert math.isclose(audit.to_json()["rows"][2]["levels"][0], 1.0)


def test_an_audit_needs_steps(native: str) -> None:
    hybrid, x = hybrid_of()
    with refusal(ParameterError, "outer", got="no step"):
        audit_multistep(hybrid, x, outer=())
    with refusal(ParameterError, "duration", got="-1"):
        audit_multistep(hybrid, x, duration=-1)
    with refusal(ParameterError, "replicas", got="0"):
        audit_multistep(hybrid, x, replicas=0)


def test_what_changes_slowly_is_known_from_the_scatter_of_runs() -> None:
    """Noise about a level of its own in each run: the levels' standard deviation over the root of their number."""
    rng = np.random.default_rng(5)
    levels = np.array([0.0, 1.0, 2.0, 3.0])
    runs = [level + rng.normal(scale=0.01, size=200) for level in levels]
    mean, error = multistep_audit._estimate(runs)
    assert mean == pytest.approx(1.5, abs=0.01)
    assert error == pytest.approx(levels.std(ddof=1) / 2.0, rel=0.02)
    # Without levels of their own, what the blocks of one run of that length give.
    noise = [rng.normal(size=400) for _ in range(4)]
    assert 0.02 < multistep_audit._estimate(noise)[1] < 0.07
