"""Models whose energies and forces are known exactly, and the generator that writes them to files."""

from .analytic import (
    TORCHFORCE_K,
    BadEnergy,
    BadOutput,
    ElasticNetwork,
    Harmonic,
    HarmonicBox,
    HarmonicParameter,
    HarmonicWithForces,
    NotANumber,
)
from .generate import ModelSet
from .pairwise import (
    MEMBERS,
    PairBox,
    PairChargeSpin,
    PairEdges,
    PairEdgesForces,
    PairParameter,
    PairPlain,
    PairSpec,
    spec_in_units,
)

__all__ = [
    "MEMBERS",
    "TORCHFORCE_K",
    "BadEnergy",
    "BadOutput",
    "ElasticNetwork",
    "Harmonic",
    "HarmonicBox",
    "HarmonicParameter",
    "HarmonicWithForces",
    "ModelSet",
    "NotANumber",
    "PairBox",
    "PairChargeSpin",
    "PairEdges",
    "PairEdgesForces",
    "PairParameter",
    "PairPlain",
    "PairSpec",
    "spec_in_units",
]
