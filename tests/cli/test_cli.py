"""The command line: every command works, teaches, and says in one message what is wrong."""

import csv
import dataclasses
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import openmm
import pytest
from typer.testing import CliRunner, Result

import openmm_nn
from openmm_nn import available_potentials
from openmm_nn.checks.preflight import available_checks
from openmm_nn.cli.app import app
from openmm_nn.cli.progress_bars import describe
from openmm_nn.dynamics import Spread
from openmm_nn.runs import SCHEMA, RunFile
from openmm_nn.runs.progress import Progress
from tests.runs.faulty import write_run
from tests.runs.run_support import call, command, environment, log_rows, run_file, write_peptide

COMMANDS = (
    "run",
    "continue",
    "analyse",
    "report",
    "models",
    "inspect",
    "preflight",
    "export",
    "doctor",
    "build",
    "bench",
)


def invoke(*arguments: object) -> Result:
    """Call the command line in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


def test_the_console_script_is_there() -> None:
    scripts = importlib.metadata.entry_points(group="console_scripts", name="openmm-nn")
    assert [script.value for script in scripts] == ["openmm_nn.cli:main"]


def test_help_teaches() -> None:
    """The overview lists every command with one line; a command says what it does and what comes next."""
    text = invoke("--help").output
    assert all(re.search(rf"│ {name} ", text) for name in COMMANDS)
    assert "run --init STRUCTURE" in text
    for name in COMMANDS[:-1]:
        result = invoke(name, "--help")
        assert result.exit_code == 0
        assert len(result.output) > 300, name
    assert "openmm-nn report complex" in invoke("run", "--help").output
    assert invoke("--version").output.split() == ["openmm-nn", openmm_nn.__version__]


def test_models() -> None:
    result = invoke("models", "--json")
    names = {entry["name"]: entry for entry in json.loads(result.output)}
    assert names["openmm-nn/hcno-1"]["card"]["committee_size"] == 4
    assert set(names) == {entry.name for entry in openmm_nn.available_potentials()}
    assert "openmm-nn/hcno-1" in invoke("models").output


def test_brackets_are_not_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is an extra of this package, which rich would read as a style."""
    entry = available_potentials()[0]
    shown = dataclasses.replace(entry, name="a/[b]", description="c [d] :smile:", missing="pip install 'openmm-nn[e]'")
    monkeypatch.setattr(openmm_nn, "available_potentials", lambda: (shown,))
    words = " ".join(invoke("models").output.split())
    for text in ("a/[b]", "c [d] :smile:", "no: pip install 'openmm-nn[e]'"):
        assert text in words


def test_inspect() -> None:
    result = json.loads(invoke("inspect", "openmm-nn/hcno-1", "--json").output)
    potential = openmm_nn.load_potential("openmm-nn/hcno-1")
    assert result["sha256"] == potential.sha256
    assert result["card"] == json.loads(potential.card.to_json())
    text = invoke("inspect", "openmm-nn/hcno-1").output
    assert "GFN2-xTB" in text
    assert "Tensor positions" in text


def test_export(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "copy.pt"
    assert invoke("export", "openmm-nn/hcno-1", target).exit_code == 0
    x, numbers = np.array([[0.0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]]), [8, 1, 1]
    copy, original = (openmm_nn.load_potential(name) for name in (str(target), "openmm-nn/hcno-1"))
    assert copy.evaluate(x, numbers).energy == pytest.approx(original.evaluate(x, numbers).energy, abs=1e-3)
    again = invoke("export", "openmm-nn/hcno-1", target)
    assert again.exit_code == 1
    assert "which exists" in again.stderr


def test_preflight(tmp_path: pathlib.Path) -> None:
    peptide = write_peptide(tmp_path)
    report = tmp_path / "report.json"
    result = invoke("preflight", "openmm-nn/hcno-1", peptide, "--check", "rotation", "--json", report)
    assert result.exit_code == 0, result.output
    assert "rotation" in result.output
    assert json.loads(report.read_text())["checks"][0]["verdict"] == "pass"
    wrong = invoke("preflight", "openmm-nn/hcno-1", tmp_path / "peptide.xyz")
    assert wrong.exit_code == 1
    assert "allowed: a PDB or PDBx/mmCIF file" in wrong.stderr


def test_the_checks_are_listed_without_a_potential() -> None:
    result = invoke("preflight", "--list")
    assert result.exit_code == 0, result.output
    assert all(re.search(rf"^ {name} ", result.output, re.MULTILINE) for name in available_checks())
    missing = invoke("preflight")
    assert missing.exit_code == 2
    assert "POTENTIAL" in missing.stderr


def test_preflight_fails_with_status_one(tmp_path: pathlib.Path) -> None:
    """A potential for hydrogen to oxygen, on a structure with sulfur."""
    text = write_peptide(tmp_path).read_text().replace("           C  ", "           S  ", 1)
    (tmp_path / "other.pdb").write_text(text)
    result = invoke("preflight", "openmm-nn/hcno-1", tmp_path / "other.pdb", "--check", "elements")
    assert result.exit_code == 1
    assert "fail" in result.output


def test_doctor() -> None:
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    assert openmm_nn.__version__ in result.output
    assert "platform Reference" in result.output
    assert "native extension" in result.output


def test_the_schema() -> None:
    assert json.loads(invoke("run", "--schema").output) == json.loads(json.dumps(SCHEMA))


@pytest.mark.process
def test_three_commands(tmp_path: pathlib.Path) -> None:
    """From a structure to a finished run, as processes: a run file is written, shortened, run, and gone on with."""
    write_peptide(tmp_path)
    first = call("run", "--init", "peptide.pdb", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "openmm-nn run peptide.yaml" in first.stdout
    file = tmp_path / "peptide.yaml"
    text = file.read_text().replace("length: 5 ps", "length: 0.1 ps").replace("length: 2 ps", "length: 0.02 ps")
    file.write_text(text.replace("iterations: 500", "iterations: 5"))
    second = call("run", "peptide.yaml", folder=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "finished: peptide" in second.stdout
    assert "openmm-nn report peptide" in second.stdout
    assert re.search(
        r"producing step 200 of 200: [\d.e+]+ ns/day, 0:00:00 left, \d+ K, -?\d+ kJ/mol, σ_E", second.stderr
    )
    third = call("continue", "peptide", "--length", "0.12 ps", folder=tmp_path)
    assert third.returncode == 0, third.stderr
    assert [int(row["step"]) for row in log_rows(tmp_path / "peptide") if row["stage"] == "produce"] == list(
        range(0, 241, 40)
    )


def test_quiet(tmp_path: pathlib.Path) -> None:
    file = run_file(tmp_path, changes={"produce": "{length: 4 fs}", "equilibrate": "", "minimise": "{iterations: 0}"})
    result = invoke("--quiet", "run", file, "--output", tmp_path / "out")
    assert result.exit_code == 0
    assert result.output == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("run", "nothing.yaml"), "No such file"),
        (("run",), "nothing given"),
        (("continue", "nothing"), "holds no run"),
        (("analyse", "nothing"), "holds no run"),
        (("report", "nothing"), "holds no run"),
        (("inspect", "nothing.pt"), "neither a file nor a name"),
        (("export", "openmm-nn/hcno-9", "a.pt"), "neither a file nor a name"),
        (("inspect", "ani3x"), "did you mean ani2x"),
        (("export", "openmm-nn/hcno-1", "model.onnx"), "a name that ends in .pt"),
        (("run", "--init", "nothing.pdb"), "no such file"),
        (("run", "--init", "nothing.xyz"), "a file that ends in .pdb"),
        (("run", "peptide.pdb"), "openmm-nn run --init peptide.pdb"),
        (("run", "done"), "openmm-nn continue done"),
        (("run", "run.yaml", "-o", "peptide.pdb"), "which is a file"),
        (("run", "--init", "peptide.pdb", "nowhere/run.yaml"), "whose folder does not exist"),
        (("run", "--init", "bad.pdb"), "Misaligned residue name"),
        (("run", "--init", "empty.pdb"), "it holds no atoms"),
        (("inspect", "HCNO-1"), "did you mean openmm-nn/hcno-1?"),
        (("inspect", "peptide.pdb"), "a file that is no model"),
        (("preflight", "peptide.pdb", "openmm-nn/hcno-1"), "openmm-nn preflight openmm-nn/hcno-1 peptide.pdb"),
        (("preflight", "openmm-nn/hcno-1", "bad.pdb"), "Misaligned residue name"),
        (("preflight", "openmm-nn/hcno-1", "empty.pdb"), "it holds no atoms"),
        (
            ("preflight", "openmm-nn/hcno-1", "peptide.pdb", "--select", "resname LIG"),
            "residues here are ACE, ALA, NME",
        ),
        (("preflight", "openmm-nn/hcno-1", "peptide.pdb", "--check", "rotations"), "did you mean rotation?"),
        (("preflight", "openmm-nn/hcno-1", "peptide.pdb", "--json", "nowhere/a.json"), "whose folder does not exist"),
        (("export", "openmm-nn/hcno-1", "a.pt", "--card", "nothing.json"), "'nothing.json': No such file"),
        (("export", "openmm-nn/hcno-1", "nowhere/a.pt"), "make the directory nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run_file(tmp_path)
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "run.yaml").write_text("")
    (tmp_path / "bad.pdb").write_text("ATOM   hello world\n" * 3)
    (tmp_path / "empty.pdb").write_text("")
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("rnu", "run.yaml"), "Did you mean 'run'"),
        (("analyze", "out"), "Did you mean 'analyse'"),
        (("run", "run.yaml", "--chek"), "--check"),
        (("continue",), "Missing argument 'DIR'"),
        (("analyse", "out", "--frames", "0"), "greater than or equal to 1"),
        (("preflight", "openmm-nn/hcno-1", "a.pdb", "--multiplicity", "0"), "greater than or equal to 1"),
        (("preflight", "openmm-nn/hcno-1", "a.pdb", "--timestep", "0.5fs"), "--timestep"),
        (("build", "--jobs", "0"), "greater than or equal to 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_of_usage(arguments: tuple[str, ...], words: str) -> None:
    """What the parser of the command line refuses: status 2, and where help is."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Try 'openmm-nn" in result.stderr
    assert words in " ".join(result.stderr.split())


def test_what_a_new_run_file_warns_of(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for line in write_peptide(tmp_path).read_text().splitlines() if line[76:78].strip() != "H"]
    (tmp_path / "bare.pdb").write_text("\n".join([*lines, ""]))
    result = invoke("run", "--init", "bare.pdb")
    assert result.exit_code == 0, result.output
    assert "warning: There are no hydrogens in the region" in result.stderr


@pytest.mark.process
def test_debug_shows_the_traceback(tmp_path: pathlib.Path) -> None:
    result = call("--debug", "run", "nothing.yaml", folder=tmp_path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "RunFileError" in result.stderr


def test_a_mistake_in_a_run_file(tmp_path: pathlib.Path) -> None:
    file = run_file(tmp_path, changes={"dynamics": "{timestep: 0.5, ensemble: NVE}"})
    result = invoke("run", file)
    assert result.exit_code == 1
    assert "run.yaml, line 3: dynamics.timestep: got 0.5" in result.stderr


@pytest.mark.process
def test_a_run_that_is_stopped(tmp_path: pathlib.Path) -> None:
    """The guard's message, where everything is, and status 1."""
    file = write_run(
        tmp_path, "break", "{check: 0.5 fs, energy_jump: {action: off}, temperature: {action: off}}", length="2 ps"
    )
    result = call("run", file, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "stopped: the bond HOH1:O (atom 0) - HOH1:H1 (atom 1) is too long" in result.stderr
    assert str(tmp_path / "out") in result.stderr
    assert "Traceback" not in result.stderr


def test_check_says_what_would_run(tmp_path: pathlib.Path) -> None:
    result = invoke("run", run_file(tmp_path), "--check")
    assert result.exit_code == 0
    assert "22 of 22 atoms" in result.output
    assert "80 steps, 0.04 ps" in result.output
    assert not (tmp_path / "run").exists()


HYBRID = {
    "structure": "{file: waters.pdb, box: [20 A, 2 nm, 2 nm]}",
    "forcefield": "{files: [amber14/tip3p.xml], nonbonded: PME, cutoff: 0.8 nm, rigid_water: false}",
    "region": "{atoms: [3, 4, 5], charge: 0}",
}


@pytest.mark.process
@pytest.mark.parametrize("kind", ["whole", "hybrid"])
def test_as_a_script(tmp_path: pathlib.Path, kind: str) -> None:
    """The script that is printed runs, and gives the energies and frames of the run."""
    from tests.runs.faulty import WATERS

    (tmp_path / "waters.pdb").write_text(WATERS)
    changes = HYBRID if kind == "hybrid" else {}
    file = run_file(tmp_path, changes={"uncertainty": "", **changes})
    script = invoke("run", file, "--as-script").output
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "by-script")],
        capture_output=True, encoding="utf-8", env=environment(), timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    openmm_nn.runs.run(RunFile.load(file), tmp_path / "out")
    with (tmp_path / "by-script" / "log.csv").open() as lines:
        rows = {int(row['#"Step"']): row for row in csv.DictReader(lines)}
    ours = [row for row in log_rows(tmp_path / "out") if row["stage"] == "produce" and row["step"] != "0"]
    assert len(ours) == len(rows) == 40
    for row in ours:
        theirs = rows[int(row["step"])]
        for column, name in (("potential_kJ/mol", "Potential Energy (kJ/mole)"), ("temperature_K", "Temperature (K)")):
            assert float(row[column]) == pytest.approx(float(theirs[name]), abs=2e-4), (row["step"], column)
    frames = [(tmp_path / name / "trajectory.xtc").read_bytes() for name in ("out", "by-script")]
    assert len(frames[0]) == len(frames[1])
    states = [tmp_path / "out" / "checkpoint" / "state.xml", tmp_path / "by-script" / "state.xml"]
    positions = [
        openmm.XmlSerializer.deserialize(path.read_text()).getPositions(asNumpy=True)._value for path in states
    ]
    np.testing.assert_array_equal(*positions)


def test_progress_in_words() -> None:
    text = describe(Progress("produce", 10, 100, 1.234, 93784.0, -5000.4, 301.6, Spread(1.25, 88.4, 3)))
    assert text == "1.23 ns/day, 1 d 2:03:04 left, 302 K, -5000 kJ/mol, σ_E 1.2 kJ/mol, σ_F 88 kJ/mol/nm"
    assert describe(Progress("prepare")) == ""


@pytest.mark.process
def test_bench_is_passed_on() -> None:
    result = subprocess.run(
        command("bench", "step", "--help"),
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=100,
        check=False,
    )
    assert result.returncode == 0
    assert "--rounds" in result.stdout
    assert "openmm-nn bench" in result.stdout or "openmm_nn.bench" in result.stdout
