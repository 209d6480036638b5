"""The pictures of the gallery, from what the examples wrote: small PNG of 256 colours.

    python docs/pictures.py

It takes examples/output/02/hybrid.png and 03/interpolation.png as the scripts drew them, and photographs the report of
examples/output/05 (see examples/05_run_file/README.md) in headless Chromium. What is not there keeps its picture.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "report"))

from browser import Page, browse  # noqa: E402

OUTPUT = ROOT / "examples" / "output"
GALLERY = ROOT / "docs" / "_static" / "gallery"
WIDTH = 900
WINDOW = 1000
# Name of a picture, and what of the page it shows: from the top of the first element to the bottom of the second.
PARTS = {
    "report_top": ("header", "#warnings"),
    "report_structure": ("#viewer", "#viewer"),
    "report_preflight": ("#preflight", "#preflight tbody tr:nth-child(14)"),
    "report_energies": ("#energies figure:nth-of-type(1)", "#energies figure:nth-of-type(2)"),
    "report_phi_psi": ("#shape figure:nth-of-type(1)", "#shape figure:nth-of-type(2)"),
}


def main() -> None:
    for source in (OUTPUT / "02" / "hybrid.png", OUTPUT / "03" / "interpolation.png"):
        if source.is_file():
            save(Image.open(source), source.stem)
    report = OUTPUT / "05" / "report.html"
    if report.is_file():
        with tempfile.TemporaryDirectory() as profile, browse(Path(profile)) as page:
            page.open(report, WINDOW)
            for name, parts in PARTS.items():
                photograph(page, name, *parts)


def photograph(page: Page, name: str, first: str, last: str) -> None:
    """Save a part of the page."""
    edges = [
        page.evaluate(
            f"(() => {{ const node = document.querySelector({selector!r}); if (!node) return null;"
            f" const box = node.getBoundingClientRect(); return box.{edge} + window.scrollY; }})()"
        )
        for selector, edge in ((first, "top"), (last, "bottom"))
    ]
    if None in edges:
        return
    top, bottom = edges[0] - 10 * (edges[0] > 10), edges[1] + (1 if last.startswith(first + " ") else 10)
    clip = {"x": 0, "y": top, "width": WINDOW, "height": bottom - top, "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    data = page.call("Page.captureScreenshot", options)["data"]
    save(Image.open(io.BytesIO(base64.b64decode(data))), name)


def save(picture: Image.Image, name: str) -> None:
    """Write a picture of the gallery."""
    height = round(picture.height * WIDTH / picture.width)
    small = picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    path = GALLERY / f"{name}.png"
    small.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(ROOT)}: {small.width} x {small.height}, {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
