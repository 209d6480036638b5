"""The tests; helpers are imported from here by their full names."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Folder of the project."""

REFERENCE_FOLDER = ROOT / "tests" / "reference"
"""Numbers that tests compare with, each with what made it."""

SHARED = ROOT.parent / "shared"
"""Structures and weights that are not the project's; tests that need them are skipped where it is absent."""
