"""What the page says, without a browser."""

import json
import pathlib
import re

import numpy as np
import plotly.graph_objects as graph
import pytest

from openmm_nn.checks import Check, PreflightReport
from openmm_nn.errors import ParameterError
from openmm_nn.report import make_report
from openmm_nn.report.contents import make_sections
from openmm_nn.report.figure import thin, with_error
from openmm_nn.report.notices import collect_notices
from openmm_nn.report.scene import make_scene
from openmm_nn.runs import RunDirectory
from tests.refusals import refusal
from tests.report import directories


@pytest.fixture(params=["finished", "cut", "stopped", "begun"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return directories.report_of(str(request.param), tmp_path_factory)


def levels(directory: pathlib.Path) -> list[tuple[str, str]]:
    run = RunDirectory(directory)
    return [(notice.level, notice.title) for notice in collect_notices(run, run.json("analysis.json") or {})]


def test_the_page_needs_nothing_else(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", own)
    assert "@import" not in own
    assert text.count("plotly.js v") <= 1
    assert page.stat().st_size < 8_000_000


def test_every_figure_is_one_that_plotly_knows(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])
    style = text[text.index("<style>") : text.index("</style>")]

    def fill(value: object) -> object:
        if value == "@scale":
            return "Blues"
        if isinstance(value, str) and value.startswith("@"):
            assert f"--{value[1:]}:" in style, f"{value} is no colour of the page"
            return "#123456"
        if isinstance(value, list):
            return [fill(item) for item in value]
        return {key: fill(item) for key, item in value.items()} if isinstance(value, dict) else value

    for figure in figures:
        graph.Figure(data=fill(figure["data"]), layout=fill(figure["layout"]))  # raises where something is unknown
        for axis in ("xaxis", "yaxis"):
            assert figure["layout"][axis]["title"]["text"], f"{figure['key']}: {axis} has no title"
    assert len({figure["key"] for figure in figures}) == len(figures)


def test_every_figure_is_explained(page: pathlib.Path) -> None:
    run = RunDirectory(page.parent)
    for section in make_sections(run, run.json("analysis.json") or {}):
        for figure in section.figures:
            assert figure.says.strip().endswith(".")
            assert figure.worry.endswith(".")


def test_a_finished_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = directories.report_of("finished", tmp_path_factory)
    text, record = page.read_text(), json.loads((page.parent / "record.json").read_text())
    analysis = json.loads((page.parent / "analysis.json").read_text())
    keys = [section.key for section in make_sections(RunDirectory(page.parent), analysis)]
    assert keys == ["structure", "ran", "preflight", "boundary", "energies", "temperature", "shape", "uncertainty",
                    "environment", "performance", "rest"]  # fmt: skip
    assert text.index('id="warnings"') < text.index('id="ran"')
    assert record["model_sha256"] in text
    assert "finished &lt;run&gt; &amp; all" in text
    assert "A bond is &lt;longer&gt; than tables have it." in text
    assert ("warn", "Preflight: bond_lengths") in levels(page.parent)
    assert "(a run file without <code>potential</code> and <code>region</code>)" in text
    assert ("warn", "The density is not that of a liquid") in levels(page.parent)
    assert ("warn", "Frames outside of what the committee knows") in levels(page.parent)


def test_a_stopped_run_says_so_first(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = directories.report_of("stopped", tmp_path_factory)
    reason = json.loads((page.parent / "record.json").read_text())["reason"]
    assert levels(page.parent)[0] == ("bad", "The run was stopped")
    notices = collect_notices(RunDirectory(page.parent), {})
    assert notices[0].text[1:] == reason[1:]
    assert '<span class="pill stopped">stopped</span>' in page.read_text()


def test_a_run_that_has_hardly_begun(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = directories.report_of("begun", tmp_path_factory)
    assert levels(page.parent) == [("warn", "The run had not finished")]
    assert make_scene(RunDirectory(page.parent)) is None
    assert 'id="viewer"' not in page.read_text()


def test_drift_at_constant_energy_is_bad(tmp_path: pathlib.Path) -> None:
    drift = {"slope": 2.0, "error": 0.1, "significance": 20.0}
    (tmp_path / "record.json").write_text('{"status": "finished", "ensemble": "NVE"}')
    analysis = {"energies": {"produce": {"drift": drift, "averages": {}}}}
    notice = collect_notices(RunDirectory(tmp_path), analysis)[0]
    assert (notice.level, notice.title) == ("bad", "Energy is not conserved")
    assert "2.00 ± 0.10 kJ/mol/ps" in notice.text
    analysis["energies"]["produce"]["drift"] = {**drift, "significance": 1.0}
    assert collect_notices(RunDirectory(tmp_path), analysis) == []


def test_changed_classical_parameters(tmp_path: pathlib.Path) -> None:
    (tmp_path / "record.json").write_text('{"status": "finished", "ensemble": "NVE"}')
    analysis = {"ledger": {"largest_residual": 0.0, "changed": ["3 particles of NonbondedForce (ALA2:N, …)"]}}
    notice = collect_notices(RunDirectory(tmp_path), analysis)[0]
    assert notice.level == "warn"
    assert "3 particles of NonbondedForce (ALA2:N, …)" in notice.text
    analysis["ledger"]["changed"] = []
    assert collect_notices(RunDirectory(tmp_path), analysis) == []


def test_the_temperature_beside_the_thermostat(tmp_path: pathlib.Path) -> None:
    (tmp_path / "record.json").write_text('{"status": "finished", "ensemble": "NVT", "temperature": 300}')

    def found(mean: float, error: float) -> list[str]:
        averages = {"temperature": {"mean": mean, "error": error}}
        analysis = {"energies": {"produce": {"averages": averages}}}
        return [notice.title for notice in collect_notices(RunDirectory(tmp_path), analysis)]

    assert found(310.0, 1.0) == ["The temperature is not the thermostat's"]
    assert found(310.0, 5.0) == []
    assert found(301.0, 0.1) == []


def test_the_scene_is_the_region(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = RunDirectory(directories.directory_of("finished", directories.shared_folder(tmp_path_factory)))
    scene = make_scene(run)
    assert scene is not None
    assert scene["region"] == 22
    assert scene["elements"][:22] == run.record["region"]["elements"]
    read = run.trajectory(40)
    assert read is not None
    for frame, xyz in zip(scene["frames"], read.frames.xyz, strict=True):
        shown = np.array(frame["x"]).reshape(-1, 3)[:22] / 1000
        assert np.linalg.norm(shown[4] - shown[5]) == pytest.approx(np.linalg.norm(xyz[4] - xyz[5]), abs=0.002)
        assert np.linalg.norm(shown[0] - shown[21]) == pytest.approx(np.linalg.norm(xyz[0] - xyz[21]), abs=0.002)
        assert len(frame["w"]) == 9 * frame["n"]
    # Superposed: heavy atoms move by less than a bond from frame to frame.
    first, last = (np.array(scene["frames"][k]["x"]).reshape(-1, 3)[:22] for k in (0, -1))
    assert np.linalg.norm(first - last, axis=1).max() < 150


def test_a_link_atom_is_where_the_potential_has_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = RunDirectory(directories.directory_of("cut", directories.shared_folder(tmp_path_factory)))
    scene = make_scene(run)
    assert scene is not None
    (link,) = run.record["links"]
    ((inside, outside),) = scene["links"]
    assert scene["names"][inside] == "PHE47-CB" or scene["elements"][inside] == "C"
    frame = scene["frames"][0]
    atoms, cap = np.array(frame["x"]).reshape(-1, 3), np.array(frame["c"])
    assert np.linalg.norm(cap - atoms[inside]) == pytest.approx(1000 * link["value"], abs=2)
    along = (atoms[outside] - atoms[inside]) @ (cap - atoms[inside])
    assert along == pytest.approx(
        np.linalg.norm(atoms[outside] - atoms[inside]) * np.linalg.norm(cap - atoms[inside]), rel=1e-3
    )


def test_peaks_stay_in_a_long_series() -> None:
    values = np.random.default_rng(1).normal(size=50_000)
    values[777], values[40_000] = 50.0, -60.0
    x, y = thin(np.arange(50_000.0), values, 1000)
    assert len(x) <= 1000
    assert (y.max(), y.min()) == (50.0, -60.0)
    assert (np.diff(x) > 0).all()
    assert (values[x.astype(int)] == y).all()


def test_the_limits_of_preflight_have_a_direction(tmp_path: pathlib.Path) -> None:
    """A wall that is higher than asked for is good, a drift is not."""
    checks = (
        Check("short_range_wall", 2950.0, "kJ/mol", "pass", "Pushed back.", {}, limit=600.0),
        Check("nve_drift", 0.01, "kJ/mol/ps/atom", "pass", "It stays.", {}, limit=0.1),
    )
    report = PreflightReport("a", None, 1, "H", checks)
    (tmp_path / "preflight.json").write_text(report.to_json())
    (tmp_path / "record.json").write_text("{}")
    (section,) = (part for part in make_sections(RunDirectory(tmp_path), {}) if part.key == "preflight")
    assert [row[3] for row in section.tables[0].rows] == ["≥ 600 kJ/mol", "≤ 0.1 kJ/mol/ps/atom"]


def test_numbers_with_errors() -> None:
    assert with_error(float("nan"), 1.0) == "nan ± 1"
    assert with_error(300.96, 0.97, 1) == "301.0 ± 1.0"
    assert with_error(-1.5e-5, 2.5e-6) == "−0.0000150 ± 0.0000025"


def test_a_page_is_made_anew_when_the_run_goes_on(tmp_path: pathlib.Path) -> None:
    (tmp_path / "record.json").write_text('{"status": "running"}')
    page = make_report(tmp_path, tmp_path / "other.html")
    assert page == tmp_path / "other.html"
    first = json.loads((tmp_path / "analysis.json").read_text())
    assert first["status"] == "running"
    (tmp_path / "record.json").write_text('{"status": "finished"}')
    make_report(tmp_path)
    assert json.loads((tmp_path / "analysis.json").read_text())["status"] == "finished"


def test_wrong_directories(tmp_path: pathlib.Path) -> None:
    with refusal(ParameterError, "directory", got=(str(tmp_path), "record.json")):
        make_report(tmp_path)
    (tmp_path / "record.json").write_text("[1, 2")
    with refusal(ParameterError, "directory", got=(str(tmp_path), "record.json")):
        make_report(tmp_path)
    (tmp_path / "record.json").write_text('{"status": "running"}')
    with refusal(ParameterError, "path", got=str(tmp_path)):
        make_report(tmp_path, tmp_path / "no" / "page.html")
