"""One self-contained HTML page from the directory of a run."""

from .page import make_report

__all__ = ["make_report"]
