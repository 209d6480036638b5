"""Charge schemes: what the region sees of M, against sums written in numpy, and what the report says."""

import itertools

import numpy as np
import openmm as mm
import pytest
from openmm import unit

from openmm_nn import HybridSystem, Mechanical, create_hybrid_system, select_region
from openmm_nn.errors import BoundaryError, ParameterError, UnsupportedError
from tests.refusals import refusal
from tests.systems.hybrid import molecules
from tests.systems.hybrid.cases import BACKBONE, SIDE_CHAIN, Case, make_hybrid, peptide_in_water, villin
from tests.systems.hybrid.molecules import build
from tests.systems.hybrid.region_energy import COULOMB, energy_and_forces, reference_context, zero_potential

SCHEMES = ("z1", "rc", "rcd", "cs")


def make(case: Case, scheme: str, region: object = BACKBONE, **options: object) -> HybridSystem:
    return make_hybrid(
        case.topology, case.system, zero_potential(), region, charge_scheme=scheme, **options
    )  # fmt: skip


def expected_change(case: Case, hybrid: HybridSystem, scheme: str, pair: object) -> float:
    """Sum over the region's atoms, M by M, of the charge taken away and the charges put in its place."""
    force = next(f for f in case.system.getForces() if isinstance(f, mm.NonbondedForce))
    charge = [
        force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(force.getNumParticles())
    ]
    scaled = {}
    for index in range(force.getNumExceptions()):
        i, j, product, _, _ = force.getExceptionParameters(index)
        scaled[frozenset((i, j))] = product.value_in_unit(unit.elementary_charge**2)
    neighbours: dict[int, set[int]] = {}
    for bond in case.topology.bonds():
        for a, b in itertools.permutations((bond[0].index, bond[1].index)):
            neighbours.setdefault(a, set()).add(b)

    inside = set(hybrid.region.atoms)
    x, total = case.positions, 0.0
    for link in hybrid.links:
        m = link.outside
        seconds = sorted(neighbours[m] - inside)
        sites = [(x[m], -charge[m])]
        for second in seconds:
            q0, along = charge[m] / len(seconds), x[second] - x[m]
            sites += {
                "z1": [],
                "rc": [(x[m] + 0.5 * along, q0)],
                "rcd": [(x[m] + 0.5 * along, 2 * q0), (x[second], -q0)],
                "cs": [(x[second], q0), (x[m] + 0.94 * along, q0 / 0.12), (x[m] + 1.06 * along, -q0 / 0.12)],
            }[scheme]
        for atom in inside:
            product = scaled.get(frozenset((atom, m)))
            for place, amount in sites:
                r = np.linalg.norm(place - x[atom])
                if product is None:
                    total += charge[atom] * amount * pair(r)
                else:
                    total += product / charge[m] * amount * COULOMB / r
    return total


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("region", [SIDE_CHAIN, BACKBONE], ids=["side chain", "two cuts"])
@pytest.mark.parametrize("method", ["NoCutoff", "CutoffNonPeriodic", "PME"])
@pytest.mark.filterwarnings("ignore:charge")
def test_the_region_sees_the_scheme(method: str, region: str, scheme: str) -> None:
    case = villin(method=method, waters=20, rigidWater=False)
    plain, hybrid = make(case, "none", region), make(case, scheme, region)

    def pair(r: float) -> float:
        if method != "CutoffNonPeriodic":
            return COULOMB / r
        eps, cutoff = 78.3, 0.9
        k_rf, c_rf = (eps - 1) / (2 * eps + 1) / cutoff**3, 3 * eps / (2 * eps + 1) / cutoff
        return COULOMB * (1 / r + k_rf * r**2 - c_rf) if r < cutoff else 0.0

    change = (
        energy_and_forces(reference_context(hybrid.system, case.positions))[0]
        - energy_and_forces(reference_context(plain.system, case.positions))[0]
    )
    expected = expected_change(case, hybrid, scheme, pair)
    assert abs(expected) > 1e-4
    assert change == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore:charge")
def test_charges_before_and_after(scheme: str) -> None:
    case = villin(rigidWater=False)
    report = make(case, scheme).boundary_report()
    change = sum(row.after - row.before for row in report.charges)
    given_up = sum(row.before for row in report.charges if row.role == "M")
    assert change == pytest.approx(-given_up if scheme == "z1" else 0.0, abs=1e-9)
    assert all(row.after == 0 for row in report.charges if row.role == "M")
    assert all(row.after == row.before for row in report.charges if row.role == "Q")
    assert f"({scheme}, net change" in str(report)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore:charge")
def test_environment_alone_does_not_notice(scheme: str) -> None:
    """Interactions within the environment stay classical: with the region's charges zero nothing changes."""
    case = villin(rigidWater=False)
    system = mm.XmlSerializer.clone(case.system)
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    atoms = set(make(case, "none").region.atoms)
    for atom in atoms:
        force.setParticleParameters(atom, 0.0, *force.getParticleParameters(atom)[1:])
    for index in range(force.getNumExceptions()):
        i, j, _, *rest = force.getExceptionParameters(index)
        if {i, j} & atoms:
            force.setExceptionParameters(index, i, j, 0.0, *rest)
    bare = Case(case.topology, system, case.positions)
    energies = [energy_and_forces(reference_context(make(bare, s).system, case.positions))[0] for s in ("none", scheme)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_bad_schemes() -> None:
    case = villin(rigidWater=False)
    with refusal(ParameterError, "charge_scheme", got="'z9'", allowed="'none', 'z1', 'rc', 'rcd', 'cs'"):
        make(case, "z9")
    with refusal(ParameterError, "charge_scheme", got=("'rc'", "interpolate=True")):
        make(case, "rc", interpolate=True)


def test_a_scheme_needs_somewhere_to_put_the_charge() -> None:
    topology, system, index = build(molecules.PROPANE)
    force = mm.NonbondedForce()
    for number in range(system.getNumParticles()):
        force.addParticle(0.1 * (-1) ** number, 0.3, 0.1)
    system.addForce(force)
    atoms = [i for name, i in index.items() if name != "H1"]
    with refusal(BoundaryError, "charge_scheme", got=("'rc'", "LIG1:H1")):
        create_hybrid_system(
            topology,
            system,
            zero_potential(),
            select_region(topology, system, atoms, allow_cuts=[(index["C1"], index["H1"])]),
            embedding=Mechanical(charge_scheme="rc"),
            charge=0,
        )


@pytest.mark.filterwarnings("ignore:charge")
def test_charges_that_change_during_a_run() -> None:
    case = villin(rigidWater=False)
    system = mm.XmlSerializer.clone(case.system)
    force = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    force.addGlobalParameter("charging", 1.0)
    force.addParticleParameterOffset("charging", make(case, "none").links[0].outside, 0.1, 0.0, 0.0)
    with refusal(UnsupportedError, "charge_scheme", got="'charging'"):
        make(Case(case.topology, system, case.positions), "rc")


def test_formal_charges_are_guessed_and_compared() -> None:
    import dataclasses

    from openmm_nn import load_potential
    from tests.systems.hybrid.region_energy import card

    case = villin(rigidWater=False)
    own = dataclasses.replace(card(), inputs=("positions", "atomic_numbers", "charge"))
    potential = load_potential(lambda x, n, q: (x.new_zeros(()), x * 0), card=own)
    blind = load_potential(
        lambda x, n: (x.new_zeros(()), x * 0), card=dataclasses.replace(own, inputs=("positions", "atomic_numbers"))
    )
    asp = "resid 4 and not (name N H CA HA C O)"
    with pytest.warns(UserWarning, match=r"charge: not given; -1 e was guessed .* -\d\.\d+ e. Give charge=-1"):
        hybrid = create_hybrid_system(case.topology, case.system, potential, asp)
    assert hybrid.boundary_report().charge == -1
    with pytest.warns(UserWarning, match=r"charge: -3 e was given, but the bonds of C2H3O2 imply -1 e"):
        create_hybrid_system(case.topology, case.system, potential, asp, charge=-3)
    with pytest.warns(UserWarning, match="is not told the charge"):
        hybrid = create_hybrid_system(case.topology, case.system, blind, asp)
    assert hybrid.boundary_report().charge == -1
    for one in (potential, blind):
        with pytest.raises(ParameterError) as caught:
            create_hybrid_system(case.topology, case.system, one, asp, charge=0)
        assert caught.value.argument == "charge"
        assert "31 electrons" in caught.value.got
        assert "charge=-1" in caught.value.remedy
    with refusal(ParameterError, "charge", got="0.5", allowed="integers"):
        create_hybrid_system(case.topology, case.system, potential, asp, charge=0.5)


def test_whole_neutral_molecules_need_no_guess(recwarn: pytest.WarningsRecorder) -> None:
    case = peptide_in_water(waters=30)
    create_hybrid_system(case.topology, case.system, zero_potential(), range(22))
    assert not recwarn.list
