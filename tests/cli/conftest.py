"""The helpers of the simulation tests are used here too."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "simulation"))
