"""The page in a browser: nothing in its console, every figure drawn, nothing wider than the window."""

import json
import pathlib
import re

import pytest

from tests.report import directories
from tests.report.browser import PROGRAMS, Page, browse, find_browser

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        find_browser() is None,
        reason=f"no browser: none of {', '.join(PROGRAMS)} is on the PATH (apt-get install chromium)",
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    with browse(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module", params=["finished", "cut", "stopped", "begun"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return directories.report_of(str(request.param), tmp_path_factory)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_works(page: Page, report: pathlib.Path, width: int, dark: bool) -> None:
    page.console.clear()
    page.requests.clear()
    page.open(report, width, dark=dark)
    assert page.console == []
    outside = [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []

    figures = json.loads(re.search(r'id="figures">(.*?)</script>', report.read_text(encoding="utf-8"), re.DOTALL)[1])
    assert page.evaluate("document.documentElement.dataset.figures") == str(len(figures))
    for figure in figures:
        drawn = page.evaluate(
            f"""(() => {{ const place = document.getElementById("figure-" + {json.dumps(figure["key"])});
            const marks = place.querySelectorAll(".scatterlayer .trace, .barlayer .trace, .heatmaplayer .hm image");
            const frame = place.querySelector(".main-svg").getBoundingClientRect();
            const card = place.closest("figure").getBoundingClientRect();
            return [place.dataset.drawn, marks.length, frame.width > 150, frame.right <= card.right + 1]; }})()"""
        )
        assert drawn[0] == "yes", figure["key"]
        assert drawn[1] > 0, f"{figure['key']} has no marks"
        assert drawn[2:] == [True, True], figure["key"]
        texts = page.evaluate(
            f'[...document.querySelectorAll("#figure-{figure["key"]} .xtitle, #figure-{figure["key"]} .ytitle")]'
            ".map((node) => node.textContent)"
        )
        assert texts and all(texts), f"{figure['key']}: an axis without a title"
        cut = page.evaluate(
            f"""(() => {{ const place = document.getElementById("figure-" + {json.dumps(figure["key"])});
            const frame = place.getBoundingClientRect();
            return [...place.querySelectorAll(".xtitle, .ytitle, .legendtext")].filter((node) => {{
              const box = node.getBoundingClientRect();
              return box.left < frame.left - 1 || box.right > frame.right + 1;
            }}).map((node) => node.textContent); }})()"""
        )
        assert cut == [], f"{figure['key']}: text beyond its edge"
    hidden = page.evaluate(
        """[...document.querySelectorAll(".scroll")].filter((node) => node.scrollWidth > node.clientWidth + 1)
        .map((node) => node.innerText.slice(0, 40))"""
    )
    assert hidden == [], "tables that have to be scrolled"

    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1] == width
    text_size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('main p')).fontSize)")
    assert text_size >= 13
    check_contrast(page)


def luminance(color: str) -> float:
    channels = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def check_contrast(page: Page) -> None:
    """Text stands out by 4.5 to 1, as WCAG asks for."""
    pairs = page.evaluate(
        """[...document.querySelectorAll("h1, h2, h3, p, dt, dd, b, td, th, nav a, button, .pill")]
        .filter((node) => node.offsetParent && node.textContent.trim()).map((node) => {
          let under = node;
          const clear = (color) => color.startsWith("rgba");
          while (under && clear(getComputedStyle(under).backgroundColor)) under = under.parentElement;
          return [node.tagName + " " + node.textContent.trim().slice(0, 30), getComputedStyle(node).color,
            getComputedStyle(under || document.body).backgroundColor];
        })"""
    )
    assert len(pairs) > 20
    for name, front, back in pairs:
        light, low = sorted((luminance(front), luminance(back)), reverse=True)
        assert (light + 0.05) / (low + 0.05) >= 4.5, f"{name}: {front} on {back}"


def test_the_structure_turns(page: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    page.open(directories.report_of("finished", tmp_path_factory), 1280)
    assert int(page.evaluate("document.getElementById('scene').dataset.painted")) > 40
    picture = "document.getElementById('scene').toDataURL()"
    before = page.evaluate(picture)
    place = page.evaluate(
        "(() => { const c = document.getElementById('scene'); c.scrollIntoView({block: 'center', behavior: 'instant'});"
        " const r = c.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()"
    )
    for kind, shift in (("mousePressed", 0), ("mouseMoved", 60), ("mouseReleased", 60)):
        page.call("Input.dispatchMouseEvent", {"type": kind, "x": place[0] + shift, "y": place[1] + shift / 2,
                                               "button": "left", "buttons": 1, "clickCount": 1})  # fmt: skip
    turned = page.evaluate(picture)
    assert turned != before
    page.evaluate("document.getElementById('frame').value = 3; "
                  "document.getElementById('frame').dispatchEvent(new Event('input'))")  # fmt: skip
    assert page.evaluate("document.getElementById('when').textContent").endswith(" ps")
    moved = page.evaluate(picture)
    assert moved != turned
    page.evaluate("document.getElementById('colors').click()")
    assert page.evaluate(picture) != moved
    assert "kJ/mol/nm" in page.evaluate("document.getElementById('key').textContent")
    page.evaluate("document.getElementById('theme').click()")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.console == []


def test_link_atoms_are_shown(page: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    page.open(directories.report_of("cut", tmp_path_factory), 400)
    assert "link hydrogen" in page.evaluate("document.getElementById('key').textContent")
