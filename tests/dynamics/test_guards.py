"""Guards: each is tripped by a planted fault, writes what is needed to look at it, and is quiet otherwise."""

import json
import pathlib
from typing import Any

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

import openmm_nn
from openmm_nn.dynamics import (
    BondGuard,
    EnergyJumpGuard,
    FiniteGuard,
    ForceGuard,
    Guard,
    GuardReporter,
    Measure,
    Sample,
    Spread,
    TemperatureGuard,
    UncertaintyGuard,
)
from openmm_nn.dynamics.guards import usual_jump, usual_limit
from openmm_nn.errors import EvaluationError, ParameterError, RunError
from openmm_nn.runs import continue_run, run
from tests.refusals import refusal
from tests.runs.faulty import WATERS, write_model, write_run

OFF = "finite: {action: off}, energy_jump: {action: off}, bonds: {action: off}, temperature: {action: off}"
# Guard and fault; what the run file says of the guards; words of the message; the atoms.
FAULTS = {
    "finite": (
        "nan",
        OFF.replace("finite: {action: off}, ", ""),
        ["the potential is nan", "offending.pdb"],
        None,
    ),
    "energy_jump": (
        "jump",
        OFF.replace("energy_jump: {action: off}, ", ""),
        ["jumped by +", "Look at offending.pdb"],
        (),
    ),
    "force": (
        "break",
        OFF + ", force: {max: 4000 kJ/mol/nm}",
        ["the force on HOH1:", "allowed is 4000 kJ/mol/nm", "Look at offending.pdb"],
        None,
    ),
    "bonds": (
        "break",
        OFF.replace("bonds: {action: off}, ", ""),
        ["HOH1:O (atom 0) - HOH1:H1 (atom 1)", "too long"],
        (0, 1),
    ),
    "temperature": ("heat", OFF.replace(", temperature: {action: off}", ""), ["ran away to", "time step"], ()),
    "uncertainty": (
        "committee",
        OFF + ", uncertainty: {max_force: 20 kJ/mol/nm}",
        ["sigma_F of HOH1:", "committee disagrees", "trained_on"],
        None,
    ),
}


@pytest.mark.parametrize("guard", FAULTS)
def test_a_fault_stops_the_run(tmp_path: pathlib.Path, guard: str) -> None:
    fault, guards, words, atoms = FAULTS[guard]
    more = "uncertainty: {every: 1 fs}\n" if fault == "committee" else ""
    result = run(write_run(tmp_path, fault, f"{{check: 0.5 fs, {guards}}}", length="2 ps", more=more), tmp_path / "out")
    out = tmp_path / "out"
    assert result.status == "stopped"
    assert result.reason is not None
    assert all(word in result.reason for word in words), result.reason
    events = [json.loads(line) for line in (out / "guards.jsonl").read_text().splitlines()]
    assert len(events) == 1
    event = events[0]
    assert event["guard"] == guard
    assert event["action"] == "stop"
    assert event["stage"] == "produce"
    assert set(event) == {"guard", "stage", "step", "time_ps", "value", "allowed", "atoms", "message", "action"}
    if atoms is not None:
        assert tuple(event["atoms"]) == atoms
    record = json.loads((out / "record.json").read_text())
    assert record["status"] == "stopped"
    assert record["reason"] == result.reason == event["message"]
    frame = mdtraj.load_pdb(str(out / "offending.pdb"))
    assert frame.n_atoms == 6
    good = openmm.XmlSerializer.deserialize((out / "last_good.xml").read_text())
    assert np.isfinite(good.getPositions(asNumpy=True)._value).all()
    assert good.getTime().value_in_unit(unit.picosecond) <= event["time_ps"] + 1e-9


@pytest.mark.parametrize("action", ["stop", "record"])
def test_a_minimisation_that_ends_in_a_hole(tmp_path: pathlib.Path, action: str) -> None:
    guards = OFF.replace("bonds: {action: off}", f"bonds: {{action: {action}}}")
    path = write_run(tmp_path, "hole", f"{{{guards}}}", length="10 fs")
    path.write_text(path.read_text().replace("iterations: 0", "iterations: 200"))
    result = run(path, tmp_path / "out")
    event = json.loads((tmp_path / "out" / "guards.jsonl").read_text().splitlines()[0])
    assert event["stage"] == "minimise"
    assert tuple(event["atoms"]) == (0, 1)
    assert "HOH1:O (atom 0) - HOH1:H1 (atom 1)" in event["message"]
    if action == "record":
        assert result.status == "finished"
        return
    assert result.status == "stopped"
    assert "Relax the structure with the force field alone before" in str(result.reason)
    good = openmm.XmlSerializer.deserialize((tmp_path / "out" / "last_good.xml").read_text())
    x = good.getPositions(asNumpy=True)._value
    assert np.linalg.norm(x[0] - x[1]) == pytest.approx(0.0957, abs=1e-4)


def test_the_offending_frame_shows_the_broken_bond(tmp_path: pathlib.Path) -> None:
    fault, guards, *_ = FAULTS["bonds"]
    run(write_run(tmp_path, fault, f"{{check: 0.5 fs, {guards}}}", length="2 ps"), tmp_path / "out")
    event = json.loads((tmp_path / "out" / "guards.jsonl").read_text())
    frame = mdtraj.load_pdb(str(tmp_path / "out" / "offending.pdb"))
    length = mdtraj.compute_distances(frame, [[0, 1]], periodic=False)[0, 0]
    np.testing.assert_allclose(length, event["value"], atol=2e-4)
    assert length > 1.6 * 0.095
    good = openmm.XmlSerializer.deserialize((tmp_path / "out" / "last_good.xml").read_text())
    x = good.getPositions(asNumpy=True)._value
    assert np.linalg.norm(x[0] - x[1]) < 1.6 * 0.0965


@pytest.mark.parametrize("guard", ["energy_jump", "bonds", "temperature", "uncertainty"])
def test_recorded_and_gone_on(tmp_path: pathlib.Path, guard: str) -> None:
    """With `record` the run finishes, and an event that lasts is written once."""
    fault, guards, *_ = FAULTS[guard]
    text = f"{{check: 0.5 fs, {guards}}}"
    if guard == "uncertainty":
        text = text.replace("{max_force", "{action: record, max_force")
    else:
        text = text[:-1] + f", {guard}: {{action: record}}}}"
    more = "uncertainty: {every: 1 fs}\n" if fault == "committee" else ""
    result = run(write_run(tmp_path, fault, text, length="100 fs", more=more), tmp_path / "out")
    events = [json.loads(line) for line in (tmp_path / "out" / "guards.jsonl").read_text().splitlines()]
    assert result.status == "finished"
    assert events
    assert {event["guard"] for event in events} == {guard}
    assert {event["action"] for event in events} == {"record"}
    steps = [event["step"] for event in events]
    # One that lasts, or comes back, is not written at every one of the 200 checks.
    assert len(steps) <= 100
    assert steps == sorted(set(steps))


def test_a_stopped_run_goes_on_with_other_guards(tmp_path: pathlib.Path) -> None:
    """The run file of the directory is read again: the guard is switched to recording, and the run finishes."""
    fault, guards, *_ = FAULTS["energy_jump"]
    run(write_run(tmp_path, fault, f"{{check: 0.5 fs, {guards}}}", length="60 fs"), tmp_path / "out")
    assert continue_run(tmp_path / "out").status == "stopped"
    file = tmp_path / "out" / "run.yaml"
    file.write_text(file.read_text().replace("{check: 0.5 fs,", "{check: 0.5 fs, energy_jump: {action: record},"))
    result = continue_run(tmp_path / "out")
    assert result.status == "finished"
    assert json.loads((tmp_path / "out" / "record.json").read_text())["reason"] is None
    lines = (tmp_path / "out" / "log.csv").read_text().splitlines()
    assert [int(line.split(",")[1]) for line in lines[1:]] == list(range(0, 121, 10))


def test_no_guard_trips_without_a_fault(tmp_path: pathlib.Path) -> None:
    result = run(write_run(tmp_path, "none", "{check: 0.5 fs}", length="200 fs"), tmp_path / "out")
    assert result.status == "finished"
    assert (tmp_path / "out" / "guards.jsonl").read_text() == ""
    assert not (tmp_path / "out" / "offending.pdb").exists()


def sample(**changes: Any) -> Sample:
    """Two waters at rest."""
    values: dict[str, Any] = {
        "stage": "produce",
        "step": 7,
        "time": 0.0035,
        "positions": waters()[1],
        "velocities": np.zeros((6, 3)),
        "box": np.eye(3) * 2.0,
        "potential": 0.0,
        "kinetic": 10.0,
        "temperature": 300.0,
    }
    return Sample(**{**values, **changes})


def waters() -> tuple[app.Topology, np.ndarray]:
    import io

    pdb = app.PDBFile(io.StringIO(WATERS))
    return pdb.topology, np.array(pdb.getPositions(asNumpy=True)._value)


@pytest.mark.parametrize("where", ["positions", "velocities", "potential", "kinetic"])
def test_finite(where: str) -> None:
    guard = FiniteGuard(["O", "H1", "H2", "O", "H1", "H2"])
    assert guard.check(sample()) is None
    if where in ("positions", "velocities"):
        bad = waters()[1].copy()
        bad[4, 1] = np.inf
        event = guard.check(sample(**{where: bad}))
        assert event is not None
        assert event.atoms == (4,)
        assert "H1 (atom 4)" in event.message
    else:
        event = guard.check(sample(**{where: float("nan")}))
        assert event is not None
        assert "in the energy" in event.message


def test_energy_jump() -> None:
    guard = EnergyJumpGuard(50.0)
    assert guard.check(sample(potential=1e6)) is None
    assert guard.check(sample(potential=1e6 + 49.0)) is None
    event = guard.check(sample(potential=1e6 - 2.0))
    assert event is not None
    np.testing.assert_allclose(event.value, -51.0)
    # Another stage begins with another energy.
    assert guard.check(sample(stage="equilibrate", potential=0.0)) is None


@pytest.mark.parametrize("shift", [np.zeros(3), np.array([2.0, 0.0, -4.0])], ids=["as it is", "other image"])
@pytest.mark.parametrize("length, word", [(0.05, "short"), (0.16, "long"), (0.10, None)])
def test_bonds(length: float, word: str | None, shift: np.ndarray) -> None:
    """At minimum image, and with the sum of the covalent radii of O and H, 0.095 nm, as its measure."""
    topology, x = waters()
    x = x.copy()
    x[1] = x[0] + np.array([length, 0.0, 0.0]) + shift
    event = BondGuard(topology, [0, 1, 2]).check(sample(positions=x))
    if word is None:
        assert event is None
        return
    assert event is not None
    assert event.atoms == (0, 1)
    assert f"too {word}, {length:.3f} nm" in event.message
    assert "allowed are 0.057 to 0.152 nm" in event.message
    # The other molecule is no business of a guard of the first.
    assert BondGuard(topology, [3, 4, 5]).check(sample(positions=x)) is None


def test_force() -> None:
    forces = np.zeros((6, 3))
    forces[4] = (30.0, 0.0, 40.0)
    assert ForceGuard(1.0).check(sample()) is None  # none were asked for
    assert ForceGuard(50.0).check(sample(forces=forces)) is None
    event = ForceGuard(49.0, labels=["O", "H1", "H2", "O", "H1", "H2"]).check(sample(forces=forces))
    assert event is not None
    assert event.atoms == (4,)
    assert event.value == pytest.approx(50.0)
    assert "the force on H1 (atom 4) is 50 kJ/mol/nm" in event.message
    # The other molecule is no business of a guard of the first.
    assert ForceGuard(49.0, [0, 1, 2]).check(sample(forces=forces)) is None


def test_temperature() -> None:
    guard = TemperatureGuard(450.0, 900.0)
    assert guard.check(sample(temperature=449.0)) is None
    event = guard.check(sample(temperature=451.0))
    assert event is not None
    assert "the System ran away to 451 K" in event.message
    hot = guard.check(sample(temperature=310.0, region_temperature=901.0))
    assert hot is not None
    assert "the region ran away to 901 K" in hot.message


def test_usual_limits_follow_from_statistics() -> None:
    """Ten standard deviations of f degrees of freedom: T sqrt(2/f) of temperature, RT sqrt(f) of energy."""
    assert usual_limit(300.0, 66) == pytest.approx(300.0 * (1 + 10 * np.sqrt(2 / 66)))
    assert usual_limit(300.0, 10**6) == pytest.approx(450.0)
    assert usual_jump(300.0, 66) == pytest.approx(10 * 2.4943387 * np.sqrt(66), rel=1e-6)


def test_uncertainty() -> None:
    guard = UncertaintyGuard(max_energy=10.0, max_force=100.0, labels=["O"] * 6)
    assert guard.check(sample()) is None
    assert guard.check(sample(spread=Spread(9.0, 99.0, 3))) is None
    force = guard.check(sample(spread=Spread(9.0, 101.0, 3)))
    assert force is not None
    assert force.atoms == (3,)
    energy = guard.check(sample(spread=Spread(11.0, 99.0, 3)))
    assert energy is not None
    assert "sigma_E of the committee is 11 kJ/mol" in energy.message
    assert guard.check(sample(spread=Spread(float("nan"), float("nan"), 0))) is not None


def test_what_is_refused() -> None:
    topology, _ = waters()
    with refusal(ParameterError, "max_energy, max_force"):
        UncertaintyGuard()
    with refusal(ParameterError, "low, high"):
        BondGuard(topology, [0], low=2.0, high=1.0)
    with refusal(ParameterError, "allowed"):
        EnergyJumpGuard(-1.0)
    with refusal(ParameterError, "interval"):
        GuardReporter(0, [FiniteGuard()])
    with refusal(ParameterError, "guards"):
        GuardReporter(10, [])


def test_measure_counts_degrees_of_freedom() -> None:
    """Two rigid waters without motion of the centre of mass: 18 - 6 - 3; one of them as a region: 9 - 3."""
    topology, x = waters()
    system = app.ForceField("amber14/tip3p.xml").createSystem(topology, rigidWater=True)
    measure = Measure(system, (0, 1, 2))
    assert (measure.degrees, measure.region_degrees) == (9, 6)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    context.setVelocitiesToTemperature(300.0, 1)
    state = context.getState(positions=True, velocities=True, energy=True)
    found = measure.sample(state, "produce", 0, 0.0)
    expected = app.Simulation(
        topology, system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    reporter = app.StateDataReporter(str(pathlib.Path("/dev/null")), 1, temperature=True)
    reporter._initializeConstants(expected)
    kinetic = state.getKineticEnergy()
    ours = (2 * kinetic / (reporter._dof * unit.MOLAR_GAS_CONSTANT_R)).value_in_unit(unit.kelvin)
    np.testing.assert_allclose(found.temperature, ours, rtol=1e-12)


def test_as_a_reporter_of_openmm(tmp_path: pathlib.Path) -> None:
    """In a script of one's own: the same guards, the same evidence, an error that says what to look at."""
    topology, x = waters()
    potential = openmm_nn.load_potential(str(write_model(tmp_path, "break")))
    system = openmm_nn.create_system(topology, potential)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.0005), platform)
    simulation.context.setPositions(x)
    simulation.context.setVelocitiesToTemperature(300.0, 2)
    seen = []
    guards: list[Guard | tuple[Guard, str]] = [FiniteGuard(), (BondGuard(topology, range(6)), "stop")]
    reporter = GuardReporter(2, guards, folder=tmp_path / "evidence", on_event=seen.append)
    simulation.reporters.append(reporter)
    with refusal(EvaluationError, "guard 'bonds'", got="the bond HOH1:O (atom 0) - HOH1:H1 (atom 1) is too long"):
        simulation.step(4000)
    assert [event.guard for event in seen] == ["bonds"]
    assert reporter.events == seen
    assert mdtraj.load_pdb(str(tmp_path / "evidence" / "offending.pdb")).n_atoms == 6
    assert (tmp_path / "evidence" / "last_good.xml").is_file()


def test_a_reporter_that_measures_the_committee(tmp_path: pathlib.Path) -> None:
    topology, x = waters()
    potential = openmm_nn.load_potential(str(write_model(tmp_path, "committee")))
    system = openmm_nn.create_system(topology, potential)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.0005), platform)
    simulation.context.setPositions(x)
    simulation.context.setVelocitiesToTemperature(300.0, 2)
    simulation.reporters.append(GuardReporter(2, [UncertaintyGuard(max_force=20.0)]))
    with refusal(EvaluationError, "guard 'uncertainty'", got="sigma_F of atom"):
        simulation.step(4000)


def test_a_preflight_that_fails_stops_the_run(tmp_path: pathlib.Path) -> None:
    """A potential whose forces are no gradients: the run does not begin, and can be begun in spite of it."""
    file = write_run(tmp_path, "heat", "{temperature: {action: off}}", length="5 fs", more="preflight: true\n")
    with refusal(RunError, "preflight", got="checks that failed", remedy="`preflight: false`"):
        run(file, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "preflight.json").read_text())
    assert any(check["verdict"] == "fail" for check in report["checks"])
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["status"] == "stopped"
    copy = tmp_path / "out" / "run.yaml"
    copy.write_text(copy.read_text().replace("preflight: true", "preflight: false"))
    assert continue_run(tmp_path / "out").status == "finished"
