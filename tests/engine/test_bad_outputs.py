"""What a model returns against its card, and numbers that are not finite: errors before forces are scattered."""

import pathlib

import numpy as np
import openmm as mm
import pytest

from openmm_nn import ModelCard, load_potential
from tests.models import BadEnergy, BadOutput, ModelSet, NotANumber
from tests.models.generate import save, script
from tests.platforms import PlatformCase, energy_of, forces_of
from tests.refusals import refused
from tests.samples import bare_system, random_cluster

NUMBERS = [8, 1, 6, 7, 1, 6]
POSITIONS = random_cluster(NUMBERS, seed=61)

BAD = {
    "vector": ["energy", r"6"],
    "integer": ["energy", "(?i)int|long"],
    "half": ["energy", "(?i)float16|half"],
    "detached": ["energy|forces", "(?i)grad"],
    "meta": ["energy", "(?i)meta"],
    "forces_shape": ["forces", "3, ?6"],
    "forces_half": ["forces", "(?i)float16|half"],
}


@pytest.mark.parametrize("kind", list(BAD))
@pytest.mark.parametrize("scripted", [True, False])
def test_wrong_outputs(platform: PlatformCase, engine: str, kind: str, scripted: bool) -> None:
    forces = kind.startswith("forces")
    module = BadOutput(kind) if forces else BadEnergy(kind)
    card = ModelCard(
        name="bad",
        inputs=("positions",),
        outputs=("energy", "forces") if forces else ("energy",),
        format="torchscript" if scripted else "callable",
        dtype="float32",
    )

    def use() -> None:
        potential = load_potential(script(module) if scripted else module.eval().forward, card=card)
        system = bare_system(6)
        system.addForce(potential.create_force(atomic_numbers=NUMBERS))
        forces_of(platform.context(system, POSITIONS))

    refused(use, *BAD[kind])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_positions_not_finite(models: ModelSet, platform: PlatformCase, engine: str, value: float) -> None:
    system = bare_system(8)
    system.addForce(models.pair("plain").create_force(atomic_numbers=NUMBERS, region=range(1, 7)))
    positions = np.vstack([[[5.0, 5.0, 5.0]], POSITIONS, [[6.0, 6.0, 6.0]]])
    positions[3, 1] = value
    context = platform.context(system, positions)
    with pytest.raises(mm.OpenMMException, match=r"(?is)position.*\b3\b|\b3\b.*position|^Particle coordinate is NaN"):
        energy_of(context)
    if platform.name == "CPU":
        return  # it refuses what is not finite in any particle
    positions[3, 1] = 0.0
    if platform.name == "CPU" and np.isnan(value):
        return  # OpenMM's CPU platform itself refuses any NaN
    positions[0, 0] = value  # no atom of the region
    context.setPositions(positions)
    assert np.isfinite(energy_of(context))


def test_energy_not_finite(platform: PlatformCase, engine: str, tmp_path: pathlib.Path) -> None:
    """A NaN of the model stops the run before forces are scattered."""
    path = save(NotANumber(), tmp_path / "nan.pt")
    system = bare_system(6)
    system.addForce(load_potential(path).create_force())
    context = platform.context(system, POSITIONS)
    assert np.isfinite(energy_of(context))
    moved = POSITIONS.copy()
    moved[0, 0] = 1.5
    context.setPositions(moved)
    with pytest.raises(mm.OpenMMException, match=r"(?i)nan|finite"):
        energy_of(context)
    with pytest.raises(mm.OpenMMException, match=r"(?i)nan|finite"):
        context.getIntegrator().step(1)
    context.setPositions(POSITIONS)
    assert np.isfinite(energy_of(context))
