"""The report: what ran, and whether to believe it, in one file that opens without a network."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import MissingDependencyError, ParameterError
from ..platforms import PlatformLike
from ..runs import RunDirectory, analyse_run
from .contents import facts, make_sections
from .notices import collect_notices
from .scene import make_scene
from .words import moment

__all__ = ["make_report"]

_TEMPLATES = Path(__file__).parent / "templates"
_INSTALL = "pip install 'openmm-nn[report]'"


def make_report(
    directory: str | Path,
    path: str | Path | None = None,
    *,
    analyse: bool | None = None,
    platform: PlatformLike | None = None,
    properties: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a page about a run: warnings first, then what ran, what it looks like, and every figure explained.

    The page holds everything that it shows, plotly.js included (5 MB), and opens offline. A run that was stopped, or is
    still running, gets a page of what there is.

    Parameters
    ----------
    directory
        That a run wrote.
    path
        Of the page; ``report.html`` in the directory by default.
    analyse
        Whether to run `openmm_nn.runs.analyse_run` first; by default if it has not been run since the last frame
        was written.
    platform, properties
        For the analysis, see there.
    progress
        Called with the name of each part of the analysis, and with ``page``, before it is made.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ParameterError
        If the directory is none of a run, or the page cannot be written.
    MissingDependencyError
        If plotly or jinja2 is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from openmm_nn.report import make_report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "record.json").write_text('{"status": "stopped", "reason": "a bond broke"}')
    ...     "A bond broke" in make_report(folder).read_text()
    True
    """
    jinja2, script = _jinja2(), _plotly()
    run = RunDirectory(directory)
    if analyse or (analyse is None and _outdated(run)):
        analyse_run(directory, platform=platform, properties=properties, progress=progress)
    if progress is not None:
        progress("page")
    analysis = run.json("analysis.json") or {}
    scene = make_scene(run)
    sections = [part for part in make_sections(run, analysis) if scene is not None or not part.viewer]
    figures = [figure for section in sections for figure in section.figures]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["code"] = _code
    text = environment.get_template("report.html").render(
        title=run.record.get("title") or run.path.resolve().name,
        status=run.status,
        version=__version__,
        subtitle=[
            str(word)
            for word in (
                (run.record.get("card") or {}).get("name"),
                run.record.get("platform"),
                moment(run.record.get("started")),
            )
            if word
        ],
        analysed=moment(analysis.get("written")),
        notices=collect_notices(run, analysis),
        facts=facts(run, analysis),
        sections=sections,
        figures=_data([figure.to_dict() for figure in figures]),
        scene=_data(scene),
        style=(_TEMPLATES / "style.css").read_text(encoding="utf-8"),
        scripts=[(_TEMPLATES / name).read_text(encoding="utf-8") for name in ("figures.js", "viewer.js")],
        plotly=script if figures else "",
    )
    target = run.path / "report.html" if path is None else Path(path)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ParameterError(
            "path", f"{str(target)!r}, where nothing can be written ({error.strerror})",
                    "a file in a folder that exists", "give another path"
        ) from error  # fmt: skip
    return target


def _outdated(run: RunDirectory) -> bool:
    """Whether there is no analysis, or the run has gone on since."""
    analysis = run.path / "analysis.json"
    if not analysis.is_file():
        return True
    sources = (run.path / name for name in ("log.csv", "trajectory.xtc", "record.json"))
    return any(file.is_file() and file.stat().st_mtime > analysis.stat().st_mtime for file in sources)


def _code(text: str) -> Any:
    """Escape text; what stands between backticks is code."""
    markupsafe = importlib.import_module("markupsafe")  # jinja2 brings it
    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def _data(value: Any) -> str:
    """Write JSON that can stand inside a script element."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _jinja2() -> Any:
    try:
        return importlib.import_module("jinja2")
    except ImportError as error:
        raise MissingDependencyError(
            "report", "no jinja2, which fills in the page", "jinja2 >= 3.1", _INSTALL
        ) from error


def _plotly() -> str:
    """Return plotly.js, as the Python package carries it."""
    try:
        offline = importlib.import_module("plotly.offline")
    except ImportError as error:
        raise MissingDependencyError(
            "report", "no plotly, which carries the script that draws", "plotly >= 6", _INSTALL
        ) from error
    return str(offline.get_plotlyjs())
