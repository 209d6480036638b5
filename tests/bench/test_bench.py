"""The measurements run, and count what they say; their times are not looked at."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import mdtraj
import numpy as np
import pytest
import torch
from openmm import unit

from openmm_nn import create_hybrid_system, load_potential
from openmm_nn.bench import find_subject, measure_committee, measure_step
from openmm_nn.bench.__main__ import main
from openmm_nn.bench.contexts import make_context
from openmm_nn.bench.peers import PEERS, add_sites
from openmm_nn.bench.plot import check_plot
from openmm_nn.bench.step import region_coordinates
from openmm_nn.bench.subjects import nearest_atoms, needs_box
from openmm_nn.errors import MissingDependencyError, ParameterError, ParticleError
from openmm_nn.potentials.bundled import BUNDLED
from tests.refusals import refusal

ROOT = pathlib.Path(__file__).resolve().parent.parent
HCNO = "openmm-nn/hcno-1"
PNG = b"\x89PNG"
SMALL = {
    "step": ("--potential", HCNO, "--rounds", "1", "--steps", "1", "--no-peers", "--plot", "it.png"),
    "step --system cb7": ("--potential", HCNO, "--rounds", "2", "--steps", "1", "--no-peers"),
    "hybrid interpolation": ("--potential", HCNO, "--rounds", "1", "--no-peers"),
    "scaling": ("--rounds", "1", "--waters", "700", "--sizes", "22", "40", "--plot", "it.png"),
    "scaling --system cb7": ("--rounds", "1", "--sizes", "40", "--plot", "it.png"),
    "multistep --system peptide": ("--size", "28", "--outer", "2", "--duration", "0.04"),
}


def bench(*arguments: str, program: tuple[str, ...] = ("openmm_nn.bench",), cwd: pathlib.Path = ROOT) -> tuple:
    result = subprocess.run(
        [sys.executable, "-m", *program, *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        timeout=280,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.process
@pytest.mark.parametrize("command", list(SMALL))
def test_measurements_run(tmp_path: pathlib.Path, native: str, command: str) -> None:
    status, printed, errors = bench(*command.split(), *SMALL[command], "--json", "it.json", cwd=tmp_path)
    assert status == 0, errors
    numbers = json.loads((tmp_path / "it.json").read_text())
    if "--plot" in SMALL[command]:
        assert (tmp_path / "it.png").read_bytes()[:4] == PNG
    if command.startswith("step"):
        assert set(numbers["times"]) == {"classical", "model", "classical + model", "hybrid"}
        assert "hybrid / (classical + model in one loop)" in printed
        atoms, everything, rounds = (30, "4491", 2) if "cb7" in command else (22, "2269", 1)
        assert numbers["work"]["atoms"] == atoms
        assert numbers["setting"]["atoms"] == everything
        assert {len(values) for values in numbers["times"].values()} == {rounds}
    elif command.startswith("hybrid"):
        assert set(numbers["interpolation"]["times"]) == {"classical", "hybrid", "interpolated"}
    elif command.startswith("multistep"):
        assert [row["outer"] for row in numbers["rows"]] == [1.0, 2.0]
        assert "recommended outer step" in printed
    elif "cb7" in command:
        assert set(numbers) == {"region"}  # the box is that of its file
        # whole molecules: three waters more
        assert [row["work"]["atoms"] for row in numbers["region"]] == [39]
    else:
        (environment,) = numbers["environment"]
        assert environment["region"] == environment["work"]["atoms"] == 22
        assert [row["region"] for row in numbers["region"]] == [22, 40]


def test_the_helix() -> None:
    """Right-handed, of L-alanines, with every hydrogen bond of an alpha helix."""
    subject = find_subject("helix")
    topology = mdtraj.Topology.from_openmm(subject.topology)
    region = topology.select(subject.region)
    frame = mdtraj.Trajectory(np.array(subject.positions.value_in_unit(unit.nanometer))[None], topology)
    frame = frame.atom_slice(region)
    assert len(region) == 152
    assert list(mdtraj.compute_dssp(frame)[0][2:-2]) == 12 * ["H"]
    at = {(atom.residue.index, atom.name): frame.xyz[0, atom.index] for atom in frame.topology.atoms}
    for residue in range(1, 15):
        n, c, beta = (at[residue, name] - at[residue, "CA"] for name in ("N", "C", "CB"))
        assert np.cross(n, c) @ beta > 0.0
    with refusal(ParameterError, "waters", got="5 for the system 'helix'"):
        find_subject("helix", waters=5)


@pytest.mark.parametrize(
    "name, formula, links, everything", [("cb7", "C10H18O2", 0, 4491), ("dhfr", "C15H26N4O4", 2, 23558)]
)
def test_systems_of_openmmtools(name: str, formula: str, links: int, everything: int) -> None:
    """Each region is one that the bundled potential is made for: neutral, of H, C, N and O, closed by link atoms."""
    subject = find_subject(name)
    classical = subject.make(True)
    hybrid = create_hybrid_system(subject.topology, classical, load_potential(HCNO), subject.region, charge=0)
    assert classical.getNumParticles() == len(subject.positions) == everything
    assert hybrid.region.formula == formula
    assert len(hybrid.links) == links
    assert hybrid.region.classical_charge == pytest.approx(0.0, abs=0.01)
    for link in hybrid.links:
        cut = [list(subject.topology.atoms())[index] for index in (link.inside, link.outside)]
        assert [atom.element.symbol for atom in cut] == ["C", "C"]
    # The box is that of the coordinates, not that of the parameters.
    box = classical.getDefaultPeriodicBoxVectors()[0].x
    assert box == pytest.approx({"cb7": 3.98061, "dhfr": 6.16447}[name], abs=1e-4)
    size = len(hybrid.region) + 10
    grown = nearest_atoms(subject.topology, subject.positions, subject.region, size)
    residues = [atom.residue.name for atom in subject.topology.atoms()]
    assert sorted(grown[: len(hybrid.region)]) == sorted(hybrid.region.atoms)
    assert [residues[index] for index in grown[len(hybrid.region) :]] == ["HOH"] * 9


def test_peers_have_the_link_atoms() -> None:
    """The bare model, and a virtual site for a force of somebody else, have them where the hybrid's force has them."""
    subject = find_subject("peptide", "resname ALA and name CB HB1 HB2 HB3")
    classical = subject.make(True)
    hybrid = create_hybrid_system(subject.topology, classical, load_potential(HCNO), subject.region, charge=0)
    (site,) = add_sites(classical, hybrid.links)
    context = make_context(classical, subject.positions, "Reference")
    x = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    ours = region_coordinates(hybrid, np.array(subject.positions.value_in_unit(unit.nanometer)))
    assert ours.shape == (5, 3)
    np.testing.assert_allclose(ours, x[[*hybrid.region.atoms, site]], atol=1e-6)
    assert np.linalg.norm(ours[-1] - x[hybrid.links[0].inside]) == pytest.approx(0.107, abs=1e-6)


def test_openmm_torch_gives_the_same_forces(native: str) -> None:
    pytest.importorskip("openmmtorch", reason="openmm-torch is not installed, or not for this torch")
    side_chain = "resname ALA and name CB HB1 HB2 HB3"
    result = measure_step("peptide", side_chain, potential=HCNO, rounds=1, steps=1, platform="Reference")
    assert set(PEERS[1:]) <= set(result.times)
    assert max(result.differences.values()) < 0.05


def test_committee(tmp_path: pathlib.Path, native: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Springs(torch.nn.Module):
        def __init__(self, k: float) -> None:
            super().__init__()
            self.k = k

        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return self.k * ((positions - positions.mean(dim=0)) ** 2).sum()

    members = [load_potential(torch.jit.script(Springs(k))) for k in (1.0, 2.0, 6.0, 7.0)]
    names = [tmp_path / f"{index}.pt" for index in range(4)]
    for name, member in zip(names, members, strict=True):
        name.write_bytes(member.data or b"")
    # one that is not their mean is told
    (tmp_path / "all.pt").write_bytes(members[1].data or b"")
    result = measure_committee(members=names, committee=tmp_path / "all.pt", sizes=(2, 3, 99), rounds=2, evaluations=1)
    assert {name: set(sizes) for name, sizes in result.times.items()} == {
        "apart": {1, 2, 3, 4},
        "list": {2, 3, 4},
        "batched": {4},
    }
    assert all(len(values) == 2 for sizes in result.times.values() for values in sizes.values())
    assert result.evaluations["apart"] == {1: 1, 2: 2, 3: 3, 4: 4}
    assert result.evaluations["list"] == {2: 1, 3: 1, 4: 1}
    assert result.evaluations["batched"] == {4: 1}
    subject = find_subject("peptide")
    x = np.array(subject.positions.value_in_unit(unit.nanometer))[:22]
    x -= x.mean(axis=0)
    assert result.differences["list"] == pytest.approx((0.0, 0.0), abs=1e-9)
    assert result.differences["batched"] == pytest.approx((2.0 * (x**2).sum(), 4.0 * np.abs(x).max()), rel=1e-6)
    options = ["--committee", str(tmp_path / "all.pt"), "--sizes", "2", "--rounds", "1"]
    options += ["--plot", str(tmp_path / "it.svg")]
    main(["committee", "--members", *map(str, names), *options])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line[:7].strip().isdigit()] == [
        ["1", "apart"], ["2", "apart"], ["2", "list"], ["4", "apart"], ["4", "batched"], ["4", "list"],
    ]  # fmt: skip
    assert "</svg>" in (tmp_path / "it.svg").read_text()


def test_model(tmp_path: pathlib.Path, native: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file in the place of the compiled one."""
    written, drawn = tmp_path / "it.json", tmp_path / "it.pdf"
    options = ["--sizes", "22", "40", "--rounds", "2", "--json", str(written), "--plot", str(drawn)]
    main(["model", "--package", str(BUNDLED[HCNO]), *options])
    numbers = json.loads(written.read_text())
    assert set(numbers["times"]) == {"22", "40"}
    assert all(len(values) == 2 for times in numbers["times"].values() for values in times.values())
    assert list(numbers["differences"].values()) == [[0.0, 0.0]] * 2
    assert numbers["edges"]["40"] > numbers["edges"]["22"] > 22
    assert drawn.read_bytes()[:4] == b"%PDF"
    assert f"potential: {HCNO}" in capsys.readouterr().out


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refusal(MissingDependencyError, "system", got="'dhfr'", remedy="pip install --no-deps openmmtools"):
        find_subject("dhfr")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with refusal(MissingDependencyError, "plot", got="matplotlib", remedy="pip install 'openmm-nn[analysis]'"):
        check_plot(tmp_path / "it.png")


@pytest.mark.parametrize("name", ["it.gif", "it", "nowhere/it.png"])
def test_pictures_that_cannot_be_written(tmp_path: pathlib.Path, name: str) -> None:
    with refusal(ParameterError, "plot", got=str(tmp_path / name), allowed=(".png", ".svg", ".pdf")):
        check_plot(tmp_path / name)


def test_subjects_that_are_not_there(tmp_path: pathlib.Path) -> None:
    with refusal(ParameterError, "structure", got="no file", allowed="peptide, helix, dhfr, cb7"):
        find_subject(tmp_path / "it.pdb")
    with refusal(ParameterError, "waters", got="700 for the system 'cb7'"):
        find_subject("cb7", waters=700)
    subject = find_subject("peptide", "resname NIX")
    with refusal(ParticleError, "region", got="'resname NIX'"):
        nearest_atoms(subject.topology, subject.positions, subject.region, 10)


@pytest.mark.process
@pytest.mark.parametrize(
    "program, name",
    [(("openmm_nn.bench",), "python -m openmm_nn.bench"), (("openmm_nn.cli", "bench"), "openmm-nn bench")],
)
def test_the_program_says_its_own_name(program: tuple[str, ...], name: str) -> None:
    status, _, errors = bench("wrong", program=program)
    assert status == 2
    assert errors.startswith(f"usage: {name} ")
    assert f"{name}: error: " in errors
    status, _, errors = bench("step", "--structure", "nix.pdb", program=program)
    assert status == 1
    assert errors.startswith("error: structure: got no file nix.pdb; allowed: ")
    status, _, errors = bench("step", "--rounds", "0", program=program)
    assert status == 2
    assert "argument --rounds: got 0; allowed: 1 and above" in errors
    status, _, errors = bench("hybrid", "nix", "--json", "nowhere/it.json", program=program)
    assert status == 1
    assert errors.startswith("error: json: got nowhere/it.json; allowed: a file in a folder that exists")


@pytest.mark.parametrize("size, boxed", [(22, False), (82, False), (400, True)])
def test_regions_that_reach_over_half_the_box_are_given_it(size: int, boxed: bool) -> None:
    """The peptide's box is 3.19 nm; 400 atoms around it reach over 2 nm."""
    subject = find_subject("peptide")
    atoms = nearest_atoms(subject.topology, subject.positions, subject.region, size)
    assert needs_box(subject, atoms) is boxed
