"""The matrix of platforms, precisions and engines, and what may be asked of each."""

import dataclasses
import functools
import json
import pathlib
import subprocess
import sys

import numpy as np
import openmm as mm
from numpy.typing import ArrayLike
from openmm import unit

import openmm_nn
from openmm_nn.native import neural_forces

ENGINES = ("native", "python")
GPUS = ("OpenCL", "CUDA")
PRECISIONS = ("single", "mixed", "double")


@dataclasses.dataclass(frozen=True)
class PlatformCase:
    """One platform with one precision.

    Attributes
    ----------
    name : str
        OpenMM's name of the platform.
    precision : str
        ``double``, ``mixed`` or ``single``; Reference and CPU pass positions and forces in double.
    geometry : str
        Where the region's geometry is computed, if the model allows it; empty for the platform's own choice.
    """

    name: str
    precision: str
    geometry: str = ""

    def __str__(self) -> str:
        return "-".join([self.name, *([self.precision] if self.name in GPUS else []), *filter(None, [self.geometry])])

    @property
    def double(self) -> bool:
        """Whether positions and forces pass through in double."""
        return self.precision == "double"

    def context(
        self,
        system: mm.System,
        positions: ArrayLike | None = None,
        integrator: mm.Integrator | None = None,
        *,
        box: ArrayLike | None = None,
    ) -> mm.Context:
        """A Context on this platform and no other, at positions (N, 3) in nm."""
        properties = {"Precision": self.precision} if self.name in GPUS else {}
        if self.name == "CPU":
            properties["Threads"] = "1"
        if integrator is None:
            integrator = mm.VerletIntegrator(0.0005)
        if self.geometry:
            for force in neural_forces(system).values():
                if json.loads(force.getCard())["frame"] == "invariant":
                    force.setProperty("geometry", self.geometry)
        context = mm.Context(system, integrator, mm.Platform.getPlatformByName(self.name), properties)
        if box is not None:
            context.setPeriodicBoxVectors(*(mm.Vec3(*row) for row in np.asarray(box, dtype=float).tolist()))
        if positions is not None:
            context.setPositions(np.asarray(positions, dtype=float))
        return context

    def check_energy(self, energy: float, expected: float) -> None:
        """Energies in kJ/mol: to 1e-10 relative in double, 1e-5 otherwise."""
        np.testing.assert_allclose(energy, expected, rtol=1e-10 if self.double else 1e-5, atol=1e-12)

    def check_forces(self, forces: ArrayLike, expected: ArrayLike) -> None:
        """Forces in kJ/mol/nm: to 1e-10 relative or 1e-9 in double, 1e-5 of the largest otherwise."""
        if self.double:
            np.testing.assert_allclose(forces, expected, rtol=1e-10, atol=1e-9)
        else:
            largest = max(float(np.abs(np.asarray(expected)).max()), 1.0)
            np.testing.assert_allclose(forces, expected, rtol=1e-5, atol=1e-5 * largest)


def gpu_kernels(name: str) -> pathlib.Path:
    """Where the plugin's kernels for a platform are if they were built."""
    return pathlib.Path(openmm_nn.native.load().Engines.getDirectory()) / "plugins" / f"libOpenMMNN{name}.so"


def why_not(name: str) -> str:
    """Why OpenCL or CUDA is not part of the matrix here; empty if it is."""
    names = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
    if name not in names:
        return f"OpenMM has no {name} platform here"
    if not gpu_kernels(name).exists():
        return f"the plugin was built without it ({gpu_kernels(name).name} is absent)"
    system = mm.System()
    system.addParticle(1.0)
    try:
        mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(name))
    except mm.OpenMMException as error:
        return f"no {name} device ({error})"
    return ""


MINIMIZE = """
import openmm as mm
system = mm.System()
force = mm.CustomExternalForce("x^2+y^2+z^2")
for k in range(8):
    force.addParticle(system.addParticle(12.0))
system.addForce(force)
context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("OpenCL"))
context.setPositions([mm.Vec3(k, 1, 2) for k in range(8)])
mm.LocalEnergyMinimizer.minimize(context, 1.0)
"""


@functools.cache
def why_no_opencl_minimizer() -> str:
    """Why OpenMM's own minimizer cannot be used with OpenCL here; empty if it can.

    OpenMM 8.6.1 minimizes in OpenCL kernels that end in a segmentation fault on PoCL, with no plugin loaded.
    """
    result = subprocess.run([sys.executable, "-c", MINIMIZE], capture_output=True, timeout=120, check=False)
    if result.returncode == 0:
        return ""
    return f"OpenMM's minimizer, without this plugin, ends with status {result.returncode} on this OpenCL device"


def collect_platforms() -> list[PlatformCase]:
    """What this machine can run."""
    cases = [PlatformCase("Reference", "double"), PlatformCase("CPU", "double")]
    for name, other in (("OpenCL", "device"), ("CUDA", "host")):
        if not why_not(name):
            cases += [PlatformCase(name, precision, where) for where in ("", other) for precision in PRECISIONS]
    return cases


PLATFORMS = collect_platforms()
REFERENCE = PLATFORMS[0]


def energy_of(context: mm.Context, groups: set[int] | int = -1) -> float:
    """Potential energy in kJ/mol."""
    state = context.getState(getEnergy=True, groups=groups)
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoules_per_mole))


def forces_of(context: mm.Context, groups: set[int] | int = -1) -> np.ndarray:
    """Forces (N, 3) in kJ/mol/nm."""
    state = context.getState(getForces=True, groups=groups)
    return np.asarray(state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer))


def positions_of(context: mm.Context, *, wrapped: bool = False) -> np.ndarray:
    """Positions (N, 3) in nm."""
    state = context.getState(getPositions=True, enforcePeriodicBox=wrapped)
    return np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
