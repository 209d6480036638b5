"""Whether the energy of a hybrid follows from E(classical) and an E_MM(R) that is built without the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import openmm as mm
import pytest

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system
from openmm_nn.dynamics import multistep_system
from openmm_nn.errors import UnsupportedError
from tests.platforms import PLATFORMS, REFERENCE, PlatformCase, energy_of, forces_of, why_not
from tests.systems.hybrid.cases import Case
from tests.systems.hybrid.everything import REGION, own_energy
from tests.systems.hybrid.region_energy import zero_potential

Setting = tuple[Callable[[mm.Force], None], str, frozenset[str], str]
"""What is set, under which methods, which ways honour it, and what the others name when they refuse it."""

LAMBDA = "lambda_interpolate"
NB, CNB = mm.NonbondedForce, mm.CustomNonbondedForce


def hybrid_of(case: Case, *, subtract: bool | None = None, interpolate: bool = False) -> HybridSystem:
    # Second torsions and compound terms are the force field's here, which the call would ask about.
    kinds = (mm.RBTorsionForce, mm.CustomCompoundBondForce)
    known = [index for index, force in enumerate(case.system.getForces()) if isinstance(force, kinds)]
    return create_hybrid_system(
        case.topology,
        case.system,
        zero_potential(),
        REGION,
        charge=0,
        embedding=Mechanical(subtract_region=subtract),
        interpolate=interpolate,
        ignore_forces=known,
    )


class Check:
    """The energies of a classical System and of the region, and whether those of a hybrid follow."""

    def __init__(self, case: Case, platform: PlatformCase = REFERENCE, parameters: Mapping[str, float] | None = None):
        self.case, self.platform, self.parameters = case, platform, dict(parameters or {})
        self.own, self.own_forces = own_energy(case.system, REGION, case.positions, self.parameters)
        context = self.context(case.system)
        self.all, self.all_forces = energy_of(context), forces_of(context)
        largest = max(1.0, float(np.abs(self.all_forces).max()))
        # CPU rounds coordinates and pairs to single precision, as OpenCL does unless it is told to use double.
        self.energy = 1e-6 if platform.name == "Reference" else 1e-5 * largest
        self.force = self.energy * max(1.0, 0.01 * largest)

    def context(self, system: mm.System, **parameters: float) -> mm.Context:
        context = self.platform.context(system, self.case.positions)
        known = context.getParameters()
        for name, value in {**self.parameters, **parameters}.items():
            if name in known:
                context.setParameter(name, value)
        return context

    def follows(self, context: mm.Context, share: float = 1.0) -> None:
        """E = E(classical) - share E_MM(R), and its forces."""
        assert energy_of(context) == pytest.approx(self.all - share * self.own, abs=self.energy)
        np.testing.assert_allclose(forces_of(context), self.all_forces - share * self.own_forces, atol=self.force)

    def exceptions(self) -> None:
        self.follows(self.context(hybrid_of(self.case, subtract=False).system))

    def subtraction(self) -> None:
        self.follows(self.context(hybrid_of(self.case, subtract=True).system))

    def interpolation(self) -> None:
        context = self.context(hybrid_of(self.case, interpolate=True).system)
        for value in (0.0, 0.3, 1.0):
            context.setParameter(LAMBDA, value)
            self.follows(context, value)
            slope = context.getState(getParameterDerivatives=True).getEnergyParameterDerivatives()[LAMBDA]
            assert slope == pytest.approx(-self.own, abs=self.energy)

    def multistep(self) -> None:
        context = self.context(multistep_system(hybrid_of(self.case)))
        self.follows(context)
        groups = [energy_of(context, {group}) for group in range(3)]
        assert sum(groups) == pytest.approx(self.all - self.own, abs=self.energy)
        assert groups[2] == pytest.approx(-self.own, abs=self.energy)

    def ledger(self) -> None:
        for options in ({}, {"subtract": True}, {"interpolate": True}):
            self.books(hybrid_of(self.case, **options))

    def books(self, hybrid: HybridSystem) -> None:
        """The terms close, and those of the region are E_MM(R)."""
        ledger = hybrid.ledger(self.context(hybrid.system))
        assert abs(ledger.residual) < (1e-3 if self.platform.name == "Reference" else 1e-2)
        assert ledger.total == pytest.approx(self.all - self.own, abs=self.energy)
        assert ledger["RR classical"] == pytest.approx(self.own, abs=self.energy)


WAYS = ("exceptions", "subtraction", "interpolation", "multistep", "ledger")


EVERY = frozenset(WAYS)


def platform_named(name: str) -> PlatformCase:
    found = [p for p in PLATFORMS if p.name == name and not p.geometry and p.precision in ("mixed", "double")]
    if not found:
        pytest.skip(why_not(name))
    return found[0]


def cases_of(table: list[Setting]) -> list[object]:
    return [
        pytest.param(apply, method, way, honoured, said, id=f"{apply.__name__}-{method}-{way}")
        for apply, methods, honoured, said in table
        for method in methods.split()
        for way in WAYS
    ]


def honoured_or_refused(check: Check, way: str, honoured: frozenset[str], said: str) -> None:
    if way in honoured:
        getattr(check, way)()
    else:
        with pytest.raises(UnsupportedError) as error:
            getattr(check, way)()
        assert said in error.value.got
