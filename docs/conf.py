"""Sphinx configuration: `make docs` builds with warnings as errors and runs the doctests."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from sphinx.application import Sphinx  # noqa: E402

from openmm_nn import __version__  # noqa: E402

project = "openmm_nn"
author = "the openmm_nn authors"
version = release = __version__
copyright = "the openmm_nn authors"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "mathml",
    "generated",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext", "_generated"]
default_role = "py:obj"
highlight_language = "none"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
python_use_unqualified_type_names = True
napoleon_google_docstring = False
napoleon_use_rtype = False

# Everything that a page needs is set up here, so that the pages show what a user writes.
doctest_global_setup = (HERE / "_ext" / "doctest_setup.py").read_text()
doctest_global_cleanup = "_leave()"
# Examples of docstrings are run by tests/docs/test_docstrings.py, those of rooms without a page too.
doctest_test_doctest_blocks = ""

html_theme = "furo"
html_title = f"openmm_nn {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_show_sourcelink = False
html_copy_source = False


def escape(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Types such as np.str_ end like a reference of reStructuredText."""
    lines[:] = [re.sub(r"\b(np\.\w+)_(?=\W)", r"\1\\_", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Run after napoleon, which writes the types."""
    app.connect("autodoc-process-docstring", escape, priority=900)
