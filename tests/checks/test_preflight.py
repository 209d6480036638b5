"""The report, its names, its arguments, and sound potentials that raise no false alarm."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm as mm
import pytest
import torch
from openmm import app, unit

import openmm_nn
from openmm_nn import ModelCard, Potential, load_potential, preflight
from openmm_nn.checks import Check, PreflightReport, registry
from openmm_nn.checks.bond_tables import force_constant, wavenumber
from openmm_nn.checks.minimise import minimise
from openmm_nn.checks.preflight import available_checks
from openmm_nn.errors import MissingDependencyError, ParameterError, ParticleError
from tests.checks.structures import structure
from tests.models import ElasticNetwork, ModelSet
from tests.refusals import refusal
from tests.samples import peptide_atoms, peptide_pdb

NAMES = [
    "card_module",
    "elements",
    "charge_and_spin",
    "charge_response",
    "spin_response",
    "finite",
    "starting_geometry",
    "bond_lengths",
    "stretch_frequency",
    "forces_central_differences",
    "forces_autograd",
    "closed_loop_work",
    "net_force",
    "translation",
    "rotation",
    "reflection",
    "permutation",
    "periodic_translation",
    "supercell",
    "box_dependence",
    "size_consistency",
    "cutoff_smoothness",
    "short_range_wall",
    "energy_noise",
    "single_against_double",
    "determinism",
    "threads",
    "committee_sigma",
    "nve_drift",
    "largest_stable_step",
    "cost",
]
SHORT = ["elements", "finite", "rotation", "net_force", "cost"]


@pytest.fixture(scope="module")
def sound() -> Potential:
    return load_potential("openmm-nn/hcno-1")


@pytest.fixture(scope="module")
def whole(sound: Potential) -> PreflightReport:
    return preflight(structure("methanol")[0], sound, structure("methanol")[1], steps=300)


def no_alarm(report: PreflightReport) -> None:
    assert not report.failures, report.to_text(rich=False)


def test_the_order_does_not_depend_on_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(available_checks()) == NAMES
    monkeypatch.setattr(registry, "_CHECKS", dict(reversed(registry._CHECKS.items())))
    assert list(available_checks()) != NAMES[::-1]
    assert sorted(available_checks()) == sorted(NAMES)
    families = [registry._CHECKS[name].__module__ for name in available_checks()]
    assert families == [registry._CHECKS[name].__module__ for name in NAMES]


# ---- sound potentials ----------------------------------------------------------------------------------------------


def test_bundled_potential_passes(whole: PreflightReport) -> None:
    no_alarm(whole)
    assert [check.name for check in whole] == NAMES == list(available_checks())
    assert whole.formula == "CH4O" and whole.atoms == 6
    # The numbers are those of a molecule: an O-H or C-H stretch, bonds as long as bonds.
    assert 2700.0 < whole["stretch_frequency"].value < 4000.0  # type: ignore[operator]
    assert 0.9 < whole["bond_lengths"].value < 1.15  # type: ignore[operator]
    assert whole["forces_central_differences"].value < 1e-4  # type: ignore[operator]
    assert whole["committee_sigma"].details["reference_sigma_kJ_mol_nm"] > 0.0
    assert whole["charge_response"].verdict == "skipped"


def test_bundled_potential_in_a_box(sound: Potential) -> None:
    numbers, x = structure("water")
    apart = np.array([[0.0, 0.0, 0.0], [0.32, 0.03, 0.02], [0.05, 0.31, 0.28], [0.33, 0.3, 0.31]])
    box = np.array([[0.66, 0.0, 0.0], [0.1, 0.64, 0.0], [-0.05, 0.08, 0.62]])
    positions = np.concatenate([x + shift for shift in apart])
    names = ["translation", "permutation", "periodic_translation", "supercell", "closed_loop_work", "net_force"]
    report = preflight(numbers * 4, sound, positions, box=box, checks=names)
    no_alarm(report)
    assert report["supercell"].verdict == report["periodic_translation"].verdict == "pass"


@pytest.mark.parametrize("name", ["ani2x/0", "ani2x"])
def test_ani2x_raises_no_alarm(shared: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(shared / "torchani"))
    dynamics = ("largest_stable_step", "nve_drift")
    long = dynamics if name == "ani2x/0" else (*dynamics, "cutoff_smoothness", "short_range_wall")
    report = preflight(
        structure("water")[0], load_potential(name), structure("water")[1], checks=[n for n in NAMES if n not in long]
    )
    no_alarm(report)
    assert not report.warnings, report.to_text(rich=False)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["openmm-nn/hcno-1", "ani2x/0", "ani2x"])
def test_peptide(shared: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every check of alanine dipeptide; the time is written down."""
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(shared / "torchani"))
    numbers, x = peptide(shared)
    report = preflight(numbers, load_potential(name), x)
    no_alarm(report)
    assert report.seconds < 60.0, "under a minute, on a quiet machine"


@pytest.mark.parametrize("name", ["openmm-nn/hcno-1", "ani2x/0"])
def test_units_of_a_peptide(shared: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Far from equilibrium a potential may have deeper minima than the molecule; they are not taken for it."""
    monkeypatch.setenv("TORCHANI_DATA_DIR", str(shared / "torchani"))
    numbers, x = peptide(shared)
    report = preflight(numbers, load_potential(name), x, checks=["bond_lengths", "stretch_frequency"])
    assert [check.verdict for check in report] == ["pass", "pass"], report.to_text(rich=False)


def peptide(shared: Path) -> tuple[list[int], np.ndarray]:
    """Alanine dipeptide: atomic numbers and positions (22,3), nm."""
    pdb = peptide_pdb(shared)
    atoms = peptide_atoms(pdb.topology)
    every = list(pdb.topology.atoms())
    positions = np.array(pdb.positions.value_in_unit(unit.nanometer))[atoms]
    return [every[k].element.atomic_number for k in atoms], positions


def test_elastic_network(tmp_path: Path) -> None:
    """An analytic molecule: no elements, and everything else as it should be."""
    numbers, x = structure("methanol")
    module = ElasticNetwork(torch.tensor(x, dtype=torch.float64))
    card = ModelCard(
        name="elastic", inputs=("positions",), outputs=("energy",), frame="invariant", dtype="float64", long_range=False
    )
    report = preflight(numbers, openmm_nn.export_potential(module, tmp_path / "elastic.pt", card), x)
    no_alarm(report)
    assert report["permutation"].verdict == "skipped"
    assert report["rotation"].verdict == report["nve_drift"].verdict == "pass"


@pytest.mark.parametrize("kind", ["plain", "box", "edges", "edges-forces", "charge"])
def test_pair_potentials(models: ModelSet, kind: str) -> None:
    """Atoms that attract one another weakly, at the distances that they like: no bonds, no alarm."""
    potential = models.pair(kind)
    x = np.array([[0.0, 0.0, 0.0], [0.22, 0.01, 0.0], [0.11, 0.19, 0.02], [0.1, 0.07, 0.18]])
    report = preflight([8, 8, 7, 7], potential, x)
    no_alarm(report)
    assert report["bond_lengths"].verdict == "skipped"


def test_external_field(models: ModelSet) -> None:
    """A spring to the origin claims no symmetry, and none is asked of it."""
    report = preflight([8, 1, 1], models.torchforce("harmonic"), structure("water")[1])
    no_alarm(report)
    for name in ("translation", "rotation", "bond_lengths", "size_consistency", "cutoff_smoothness"):
        assert report[name].verdict == "skipped", name


# ---- the report ----------------------------------------------------------------------------------------------------


def test_json_goes_both_ways(whole: PreflightReport) -> None:
    text = whole.to_json()
    values = json.loads(text)
    assert values["verdict"] == whole.verdict and values["format"] == "openmm_nn preflight"
    assert {check["name"] for check in values["checks"]} == set(NAMES)
    assert PreflightReport.from_json(text).to_json() == text
    with refusal(ParameterError, "text", got="format"):
        PreflightReport.from_json("{}")
    with refusal(ParameterError, "text", got="preflight"):
        PreflightReport.from_json('{"format": "openmm_nn preflight", "checks": 3}')


def test_numbers_that_json_cannot_hold() -> None:
    check = Check("finite", float("nan"), "", "fail", "no number", {"a": np.float64("inf"), "b": np.arange(2)})
    report = PreflightReport("x", None, 1, "H", (check,))
    assert json.loads(report.to_json())["checks"][0]["details"] == {"a": None, "b": [0, 1]}


def test_text(whole: PreflightReport, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = str(whole)
    assert all(name in plain for name in NAMES) and "PASS" in plain.splitlines()[0]
    assert max(map(len, plain.splitlines()[2:34])) <= 120
    assert "stretch_frequency" in whole.to_text(rich=True)
    failed = dataclasses.replace(
        whole, checks=(Check("rotation", 3.0, "kJ/mol", "fail", "It turns. Use another one."), *whole.checks[1:])
    )
    assert "FAIL  rotation: It turns. Use another one." in str(failed)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert str(whole) == whole.to_text()
    with refusal(MissingDependencyError, "rich", remedy="pip install"):
        whole.to_text(rich=True)


def test_looking_up(whole: PreflightReport) -> None:
    assert whole["cost"].unit == "ms"
    with pytest.raises(KeyError, match="no-such-check"):
        whole["no-such-check"]
    with refusal(ParameterError, "verdict", got="good", allowed="pass"):
        Check("x", None, "", "good", "")


# ---- arguments -----------------------------------------------------------------------------------------------------


def test_same_seed_same_numbers(sound: Potential) -> None:
    numbers, x = structure("water")
    names = ["forces_central_differences", "closed_loop_work", "rotation"]
    first, second = (preflight(numbers, sound, x, checks=names, seed=5) for _ in range(2))
    assert [c.value for c in first] == [c.value for c in second]
    other = preflight(numbers, sound, x, checks=names, seed=6)
    assert other["forces_central_differences"].value != first["forces_central_differences"].value
    # A check measures the same, whichever others are made.
    alone = preflight(numbers, sound, x, checks=["rotation"], seed=5)
    assert [c.name for c in alone] == ["rotation"] and alone["rotation"].value == first["rotation"].value


def test_topologies(sound: Potential) -> None:
    import mdtraj

    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    atoms = [topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")]
    topology.addBond(atoms[0], atoms[1])
    topology.addBond(atoms[0], atoms[2])
    x = structure("water")[1]
    for given in (topology, mdtraj.Topology.from_openmm(topology), [8, 1, 1], np.array([8, 1, 1])):
        report = preflight(given, sound, x * unit.nanometer, checks=SHORT)
        assert report.formula == "H2O"
        no_alarm(report)


def test_reference_of_a_committee(sound: Potential) -> None:
    numbers, x = structure("water")
    rng = np.random.default_rng(1)
    frames = x + 0.003 * rng.normal(size=(5, 3, 3))
    for given in (frames, [(numbers, frame) for frame in frames]):
        found = preflight(numbers, sound, x, checks=["committee_sigma"], reference=given)["committee_sigma"]
        assert found.verdict in ("pass", "warn") and found.details["reference_sigma_kJ_mol_nm"] > 0.0
    report = preflight(numbers, sound, x, checks=["committee_sigma"], reference="nothing")
    assert "reference" in report["committee_sigma"].advice and report["committee_sigma"].verdict == "fail"


def test_what_is_refused(sound: Potential) -> None:
    numbers, x = structure("water")
    for arguments, options, argument, got in (
        ((numbers, "openmm-nn/hcno-1", x), {}, "potential", "str"),
        ((numbers, sound, x[:2]), {}, "positions", "(2, 3)"),
        (("water", sound, x), {}, "topology", "str"),
        (([0, 1, 1], sound, x), {}, "topology", "(0, 1, 1)"),
        ((numbers, sound, x * np.nan), {}, "positions", "not finite"),
        ((numbers, sound, x), {"checks": ["turning"]}, "checks", "'turning'"),
        ((numbers, sound, x), {"timestep": -1.0}, "timestep", "-1.0"),
        ((numbers, sound, x), {"timestep": 1.0 * unit.kelvin}, "timestep", "1.0 K"),
        ((numbers, sound, x), {"steps": 3}, "steps", "3"),
        ((numbers, sound, x), {"seed": -1}, "seed", "-1"),
        ((numbers, sound, x), {"parameters": {"k": 1.0}}, "parameters", "'k'"),
    ):
        with refusal((ParameterError, ParticleError), argument, got=got):
            preflight(*arguments, **options)  # type: ignore[arg-type]


def test_a_charge_that_the_potential_is_not_told(sound: Potential) -> None:
    report = preflight(
        structure("water")[0], sound, structure("water")[1], charge=1, multiplicity=2, checks=["charge_and_spin"]
    )
    assert report["charge_and_spin"].verdict == "fail" and "charge" in report["charge_and_spin"].advice


def test_failed_first_look_skips_the_rest(sound: Potential) -> None:
    x = structure("water")[1]
    report = preflight([16, 1, 1], sound, x)
    assert report["elements"].verdict == "fail" and "S" in report["elements"].advice
    assert all(c.verdict == "skipped" for c in report if c.name not in ("elements", "card_module", "charge_and_spin"))


@pytest.mark.process
def test_importing_loads_no_torch_and_the_module_can_be_called() -> None:
    code = """
import sys
import openmm_nn
from openmm_nn.checks import PreflightReport
assert "torch" not in sys.modules
assert openmm_nn.preflight is openmm_nn.checks.preflight and openmm_nn.preflight.__doc__
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


# ---- what the checks are made of -----------------------------------------------------------------------------------


def test_tables() -> None:
    """Carbon monoxide and methane: 2170 and 3000 cm⁻¹ (Huber, Herzberg 1979; Shimanouchi 1972)."""
    carbon, oxygen = 12.011, 15.999
    constant = force_constant(6, 8, 0.1128)
    assert constant is not None
    assert abs(wavenumber(constant, carbon * oxygen / (carbon + oxygen)) / 2170.0 - 1.0) < 0.1
    # 1902 N/m is the measured force constant of CO.
    per_nm2 = 1902.0 * (unit.newton / unit.meter * unit.AVOGADRO_CONSTANT_NA).value_in_unit(
        unit.kilojoule_per_mole / unit.nanometer**2
    )
    assert abs(wavenumber(per_nm2, carbon * oxygen / (carbon + oxygen)) - 2170.0) < 5.0
    assert force_constant(79, 79, 0.25) is None


def test_minimise() -> None:
    centre = np.array([[0.1, -0.2, 0.3], [0.0, 0.1, -0.1]])

    @dataclasses.dataclass
    class Result:
        energy: float
        forces: np.ndarray

    stiffness = np.array([[2e5, 3e5, 1e5], [5e5, 2e4, 1e5]])

    def evaluate(x: np.ndarray) -> Result:
        return Result(float(0.5 * np.sum(stiffness * (x - centre) ** 2)), -stiffness * (x - centre))

    found = minimise(evaluate, centre + 0.05, steps=80, longest=0.01)
    assert np.abs(found - centre).max() < 1e-5


def test_a_small_structure_takes_one_thread() -> None:
    """As the engine does: on shared cores several would wait for each other, minutes instead of seconds."""
    seen: set[int] = set()

    def energy(positions: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return (positions[1:] - positions[:-1]).pow(2).sum()

    threads, (numbers, x) = torch.get_num_threads(), structure("water")
    try:
        torch.set_num_threads(2)
        preflight(numbers, load_potential(energy), x, checks=["rotation"])
        assert seen == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_leaves_things_as_they_were(sound: Potential) -> None:
    threads, (numbers, x) = torch.get_num_threads(), structure("water")
    kept = x.copy()
    platforms = mm.Platform.getNumPlatforms()
    preflight(numbers, sound, x, checks=["threads", "rotation"])
    assert torch.get_num_threads() == threads and np.array_equal(x, kept)
    assert mm.Platform.getNumPlatforms() == platforms
