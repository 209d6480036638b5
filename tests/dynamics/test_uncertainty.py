"""Uncertainty in use: what is measured, and a bias on it whose force is known."""

import pathlib

import numpy as np
import openmm
import pytest
import torch

from openmm_nn import ModelCard, export_potential, load_potential
from openmm_nn.dynamics import bias_potential, find_committee, measure_spread
from openmm_nn.dynamics.committee_spread import BIAS_HEIGHT
from openmm_nn.errors import ParameterError, UnsupportedError
from openmm_nn.runs import run
from openmm_nn.units import energy_factor
from tests import oracle
from tests.models import MEMBERS, ModelSet
from tests.platforms import REFERENCE, PlatformCase, energy_of, forces_of
from tests.refusals import refusal
from tests.runs.run_support import log_rows, run_file
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
K = (3000.0, 5000.0, 4200.0)
HEIGHT, WIDTH = 12.0, 1.5


class Wells(torch.nn.Module):
    """A committee of harmonic wells: E_k = k_k Σ r²."""

    def __init__(self, atomic: bool) -> None:
        super().__init__()
        self.atomic = atomic
        self.register_buffer("k", torch.tensor(K, dtype=torch.float64))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        squares = (positions**2).sum(dim=1)
        terms = self.k.to(positions.dtype)[:, None] * squares[None, :]
        return terms if self.atomic else terms.sum(dim=1)


def wells(folder: pathlib.Path, kind: str, output: str) -> object:
    """The committee in electronvolts, as a file or as a module of this process."""
    card = ModelCard(
        name="wells",
        inputs=("positions",),
        outputs=(output,),
        committee_size=3,
        energy_unit="eV",
        dtype="float64",
        format="callable" if kind == "module" else "torchscript",
    )
    module = Wells(output == "atomic_energies")
    if kind == "module":
        return load_potential(module, card=card)
    return export_potential(module, folder / "wells.pt", card)


def exact(x: np.ndarray, height: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy [kJ/mol] and forces of the biased committee, and the members' energies without bias."""
    k = np.array(K) * energy_factor("eV")
    s = float((x**2).sum())
    variance = k.var(ddof=1) * s**2
    scale = len(x) * WIDTH**2
    bias = height * np.expm1(-variance / scale)
    slope = height * np.exp(-variance / scale) * (-k.var(ddof=1) / scale) * 2 * s
    return k.mean() * s + bias, -(k.mean() + slope) * 2 * x, k * s


@pytest.mark.parametrize("output", ["energies", "atomic_energies"])
@pytest.mark.parametrize("kind", ["file", "module"])
def test_the_bias_and_its_force(
    platform: PlatformCase, native: str, tmp_path: pathlib.Path, kind: str, output: str
) -> None:
    """Against the closed form; sigma is what it was; height zero is no bias."""
    # Near the origin, so that the bias has grown to about half of its depth.
    x = np.random.default_rng(5).normal(0.0, 1.3e-3, (4, 3))
    committee = bias_potential(wells(tmp_path, kind, output), height=HEIGHT, width=WIDTH)  # type: ignore[arg-type]
    system = bare_system(4)
    force = committee.create_force()
    system.addForce(force)
    context = platform.context(system, x)
    # OpenCL in single or mixed precision rounds the positions.
    seen = np.array(context.getState(getPositions=True).getPositions(asNumpy=True)._value)
    energy, forces, members = exact(seen, HEIGHT)
    plain = exact(seen, 0.0)
    assert 0.2 * HEIGHT < plain[0] - energy < 0.9 * HEIGHT
    tolerance = 1e-8 if platform.double else 2e-4
    np.testing.assert_allclose(energy_of(context), energy, rtol=tolerance)
    np.testing.assert_allclose(forces_of(context), forces, rtol=10 * tolerance, atol=tolerance * np.abs(forces).max())
    spread = np.array(force.getMemberEnergies(context))
    np.testing.assert_allclose(spread.std(ddof=1), members.std(ddof=1), rtol=tolerance)
    context.setParameter(BIAS_HEIGHT, 0.0)
    np.testing.assert_allclose(energy_of(context), plain[0], rtol=tolerance)
    np.testing.assert_allclose(forces_of(context), plain[1], rtol=10 * tolerance, atol=tolerance * np.abs(forces).max())


def test_the_force_is_the_gradient(native: str) -> None:
    """Central differences of the bundled committee with a bias, on an ethanol far from its minimum."""
    x = random_cluster(NUMBERS, seed=2, closest=0.11, radius=0.25)
    numbers = [6, 1, 6, 8, 1, 1]
    plain = load_potential("openmm-nn/hcno-1")
    result = plain.evaluate(x, numbers)
    assert result.energy_std is not None
    width = result.energy_std / np.sqrt(6)
    biased = bias_potential(plain, height=5000.0, width=width)
    difference = biased.evaluate(x, numbers).energy - result.energy
    np.testing.assert_allclose(difference, 5000.0 * np.expm1(-1.0), rtol=1e-3)
    step, forces = 1e-3, biased.evaluate(x, numbers).forces
    extra = forces - result.forces
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        values = []
        for shift in (2, 1, -1, -2):
            moved = x.copy()
            moved[atom, axis] += shift * step
            values.append(biased.evaluate(moved, numbers).energy - plain.evaluate(moved, numbers).energy)
        slope = (8 * (values[1] - values[2]) - (values[0] - values[3])) / (12 * step)
        np.testing.assert_allclose(extra[atom, axis], -slope, rtol=2e-2, atol=30.0)
    assert np.abs(extra).max() > 100.0


def test_a_bias_needs_a_committee(models: ModelSet) -> None:
    with refusal(ParameterError, "potential", got="with 1 member", allowed="a committee"):
        bias_potential(models.pair("edges"), height=1.0, width=1.0)
    committee = models.pair("edges", output="energies", members=4)
    for name in ("height", "width"):
        with refusal(ParameterError, name, got="0.0"):
            bias_potential(committee, **{"height": 1.0, "width": 1.0, name: 0.0})


def test_a_bias_needs_gradients(tmp_path: pathlib.Path) -> None:
    class WithForces(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.stack([positions.sum(), 2 * positions.sum()]), -torch.ones_like(positions)

    card = ModelCard(name="own", inputs=("positions",), outputs=("energies", "forces"), committee_size=2)
    with refusal(UnsupportedError, "potential", got="returns its forces itself"):
        bias_potential(export_potential(WithForces(), tmp_path / "own.pt", card), height=1.0, width=1.0)


def test_what_is_measured(models: ModelSet, native: str) -> None:
    """sigma_E, sigma_F and its atom, from the members by NumPy; the atom by its index in the System."""
    x = random_cluster(NUMBERS, seed=12)
    results = [oracle.pair_energy_forces(x, NUMBERS, member=member) for member in MEMBERS]
    energies, forces = np.array([r[0] for r in results]), np.array([r[1] for r in results])
    sigma = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
    places = [7, 2, 9, 4, 0, 5]
    everything = np.random.default_rng(0).uniform(2.0, 4.0, (10, 3))
    everything[places] = x
    system = bare_system(10)
    potential = models.pair("edges", output="energies", members=4)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS, region=places))
    force = find_committee(system)
    spread = measure_spread(force, REFERENCE.context(system, everything))
    np.testing.assert_allclose(spread.energy, energies.std(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(spread.force, sigma.max(), rtol=1e-8)
    assert spread.atom == places[int(sigma.argmax())]


class Stub:
    """What measure_spread asks of a force: five particles and two link atoms."""

    def __init__(self, sigma: list[float]) -> None:
        self.sigma = sigma

    def getMemberEnergies(self, context: object) -> tuple[float, ...]:
        return (1.0, 3.0)

    def getForceStd(self, context: object) -> tuple[float, ...]:
        return tuple(self.sigma)

    def getParticles(self) -> tuple[int, ...]:
        return (10, 11, 12, 13, 14)

    def getNumLinks(self) -> int:
        return 2

    def getLinkParameters(self, index: int) -> tuple[int, int, str, float]:
        return ((11, 30, "fixed", 0.1), (14, 40, "fixed", 0.1))[index]


@pytest.mark.parametrize("largest, atom", [(0, 10), (4, 14), (5, 11), (6, 14)])
def test_a_link_atom_counts_for_its_carrier(largest: int, atom: int) -> None:
    """A link atom is no atom of the System: where its sigma is the largest, the atom that it is bound to is named."""
    sigma = [1.0] * 7
    sigma[largest] = 8.0
    spread = measure_spread(Stub(sigma), None)  # type: ignore[arg-type]
    assert (spread.energy, spread.force, spread.atom) == (pytest.approx(np.sqrt(2.0)), 8.0, atom)


def test_nothing_to_measure(models: ModelSet, native: str) -> None:
    system = bare_system(6)
    assert find_committee(system) is None
    system.addForce(models.pair("edges").create_force(atomic_numbers=NUMBERS))
    assert find_committee(system) is None


def test_a_biased_run(tmp_path: pathlib.Path) -> None:
    """The bias of a run file is in the run: it visits geometries on which the committee disagrees more."""
    plain = run_file(tmp_path, name="plain.yaml", changes={"produce": "{length: 20 fs}"})
    bias = "{every: 2 fs, bias: {height: 200 kJ/mol, width: 0.4 kJ/mol}}"
    biased = run_file(tmp_path, name="biased.yaml", changes={"produce": "{length: 20 fs}", "uncertainty": bias})
    sigmas = []
    for file in (plain, biased):
        assert run(file, tmp_path / file.stem).status == "finished"
        rows = (tmp_path / file.stem / "uncertainty.csv").read_text().splitlines()[1:]
        sigmas.append([float(row.split(",")[3]) for row in rows if row.startswith("produce")])
    energies = [float(log_rows(tmp_path / name)[0]["potential_kJ/mol"]) for name in ("plain", "biased")]
    assert energies[1] < energies[0]
    assert np.mean(sigmas[1]) > np.mean(sigmas[0])
    text = (tmp_path / "biased" / "record.json").read_text()
    assert BIAS_HEIGHT in text
    system = openmm.XmlSerializer.deserialize((tmp_path / "biased" / "system.xml").read_text())
    assert find_committee(system) is not None
