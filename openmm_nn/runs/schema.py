"""The keys of a run file: dataclasses from which the check, the JSON schema and the reference are made.

An attribute's annotation says what the key means and may be. Quantities are numbers here, in ps, K, nm, bar, kJ/mol,
kJ/mol/nm, 1/ps or dalton by their dimension; what was not given is None, or the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Literal

from .rules import Choice, Flag, Items, Number, Quantity, Schema, Section, Table, Text, Whole

__all__ = ["HOMES", "KEYS", "SCHEMA", "STRUCTURE_KINDS", "Forcefield", "Keys", "Potential", "Region"]

STRUCTURE_KINDS = {
    ".pdb": "pdb",
    ".cif": "pdbx",
    ".pdbx": "pdbx",
    ".mmcif": "pdbx",
    ".prmtop": "amber",
    ".parm7": "amber",
    ".psf": "charmm",
    ".top": "gromacs",
}
"""Kind of structure by the suffix of its file."""

_INDEX = Whole("an index", least=0)


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The atoms, where they are, and for Amber, CHARMM and GROMACS files their force field."""

    file: Annotated[str, Text("PDB, PDBx/mmCIF, Amber prmtop, CHARMM psf or GROMACS top", ("complex.pdb",))]
    coordinates: Annotated[
        str | None,
        Text("inpcrd or rst7 for Amber; gro for GROMACS; crd or pdb for CHARMM", ("complex.inpcrd",)),
    ] = None
    parameters: Annotated[
        tuple[str, ...],
        Items("CHARMM parameter, topology and stream files", Text("a file", ("par_all36m_prot.prm",))),
    ] = ()
    include: Annotated[
        str | None, Text("the folder with GROMACS's own force field files", ("/usr/share/gromacs/top",))
    ] = None
    box: Annotated[
        tuple[float, float, float] | None,
        Items("edges of a rectangular box, where the files have none", Quantity("an edge", "length", "3 nm"), least=3,
              most=3),
    ] = None  # fmt: skip

    @property
    def kind(self) -> str | None:
        """What the file's suffix says that it is; None if it is none of them."""
        return STRUCTURE_KINDS.get(PurePath(self.file).suffix.lower())

    @property
    def plain(self) -> bool:
        """Whether the file has coordinates itself, and no force field."""
        return self.kind in ("pdb", "pdbx")


@dataclass(frozen=True, kw_only=True)
class Forcefield:
    """The classical force field and its options."""

    files: Annotated[
        tuple[str, ...],
        Items("force field files of OpenMM, or paths of XML files", Text("a file", ("amber14-all.xml",))),
    ] = ()
    nonbonded: Annotated[
        Literal["NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME"] | None,
        Choice("how nonbonded interactions are cut"),
    ] = None
    cutoff: Annotated[float | None, Quantity("distance at which direct interactions end", "length", "1 nm")] = None
    switch: Annotated[
        float | None, Quantity("distance at which Lennard-Jones begins to be switched off", "length", "0.9 nm")
    ] = None
    constraints: Annotated[
        Literal["none", "h-bonds", "all-bonds", "h-angles"],
        Choice("bonds that are kept rigid; inside the region none is, unless remove_constraints is false"),
    ] = "none"
    rigid_water: Annotated[bool, Flag("whether water is rigid")] = True
    hydrogen_mass: Annotated[
        float | None,
        Quantity("mass of hydrogens outside water, taken from their heavy atoms", "mass", "1.5 dalton",
                 most="4.5 dalton"),
    ] = None  # fmt: skip
    ewald_tolerance: Annotated[float | None, Number("of Ewald methods", above=0, most=0.1, shown=0.0005)] = None
    dispersion_correction: Annotated[bool | None, Flag("long-range correction of Lennard-Jones")] = None


@dataclass(frozen=True, kw_only=True)
class Potential:
    """The neural potential; leave the section out for a classical run."""

    name: Annotated[
        str,
        Text("a name that `openmm-nn models` lists, or the path of a model file", ("openmm-nn/hcno-1", "model.pt")),
    ]
    trust: Annotated[bool, Flag("whether code inside a foreign checkpoint may run while it is read")] = False
    device: Annotated[str | None, Text("torch device; by default that of the platform", ("cpu", "cuda:0"))] = None
    precision: Annotated[
        Literal["model", "single", "double"], Choice("in which the model is evaluated; model: as its card says")
    ] = "model"
    threads: Annotated[int, Whole("threads of torch; 0: as many as the engine thinks right", least=0)] = 0
    parameters: Annotated[Mapping[str, float], Table("values of the potential's own parameters", Number(""))] = field(
        default_factory=dict
    )


@dataclass(frozen=True, kw_only=True)
class Region:
    """The atoms that the potential describes; the force field describes the rest."""

    select: Annotated[str | None, Text("MDTraj selection", ("resname LIG", "all"))] = None
    atoms: Annotated[tuple[int, ...], Items("atom indices, from 0, instead of a selection", _INDEX)] = ()
    expand: Annotated[Literal["residue", "molecule"] | None, Choice("fill up to whole residues or molecules")] = None
    charge: Annotated[
        int | None, Whole("formal charge in e; by default the rounded sum of the classical charges")
    ] = None  # fmt: skip
    multiplicity: Annotated[int, Whole("spin multiplicity", least=1)] = 1
    embedding: Annotated[str, Text("how the environment acts on the region", ("mechanical",))] = "mechanical"
    bonded_rule: Annotated[
        Literal["capped", "all-atoms", "gromacs"], Choice("which bonded terms the potential replaces")
    ] = "capped"
    link: Annotated[Literal["fixed", "ratio"], Choice("how link atoms are placed")] = "fixed"
    charge_scheme: Annotated[Literal["none", "z1", "rc", "rcd", "cs"], Choice("charges at cut bonds")] = "none"
    allow_cuts: Annotated[
        tuple[tuple[int, int], ...],
        Items("bonds that are cut on purpose although they should not be",
              Items("a pair of atom indices", _INDEX, least=2, most=2), least=0),
    ] = ()  # fmt: skip
    remove_constraints: Annotated[
        bool, Flag("whether constraints inside the region are removed, so that its bonds vibrate")
    ] = True
    periodic: Annotated[
        bool | None,
        Flag("whether the potential is given the box; by default where it describes everything and its card allows it"),
    ] = None
    long_range: Annotated[
        bool | None,
        Flag("whether the potential itself contains the region's periodic images, where its card does not say"),
    ] = None

    @property
    def selection(self) -> str | tuple[int, ...]:
        """The selection, or the indices, which are none if neither was given."""
        return self.select or self.atoms


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Ensemble, integrator and where it runs."""

    ensemble: Annotated[Literal["NVE", "NVT", "NPT"], Choice("NVE, NVT or NPT")] = "NVT"
    integrator: Annotated[
        Literal["langevin", "nose-hoover", "verlet"] | None,
        Choice("langevin and nose-hoover keep the temperature, verlet the energy"),
    ] = None
    temperature: Annotated[
        float | None, Quantity("of the thermostat, and of the first velocities", "temperature", "300 K")
    ] = None
    friction: Annotated[float, Quantity("friction, or collision frequency of nose-hoover", "rate", "1 /ps")] = 1.0
    timestep: Annotated[
        float,
        Quantity("0.5 fs where bonds of hydrogen move freely, as they do in the region", "time", "0.5 fs",
                 most="10 fs"),
    ]  # fmt: skip
    pressure: Annotated[float | None, Quantity("of the barostat", "pressure", "1 bar")] = None
    barostat_every: Annotated[int, Whole("steps between attempts to change the volume", least=1)] = 25
    seed: Annotated[int, Whole("of velocities, thermostat and barostat; 0: another one each time", least=0)] = 1
    platform: Annotated[
        Literal["auto", "Reference", "CPU", "OpenCL", "CUDA", "HIP"],
        Choice("of OpenMM; auto: CUDA where it and this build's kernels for it are there, otherwise CPU"),
    ] = "auto"
    properties: Annotated[
        Mapping[str, str], Table("properties of OpenMM's platform, such as Threads: \"2\"", Text(""))
    ] = field(default_factory=dict)  # fmt: skip

    @property
    def method(self) -> str:
        """The integrator that was chosen, or that follows from the ensemble."""
        return self.integrator or ("verlet" if self.ensemble == "NVE" else "langevin")


@dataclass(frozen=True, kw_only=True)
class Minimise:
    """Before the first step."""

    iterations: Annotated[
        int, Whole("at most so many, in each of OpenMM's rounds if there are constraints; 0: none", least=0)
    ] = 500
    tolerance: Annotated[
        float, Quantity("root mean square force at which it ends", "force", "10 kJ/mol/nm")
    ] = 10.0  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Equilibrate:
    """Dynamics before anything is kept."""

    length: Annotated[float, Quantity("how long", "time", "5 ps", zero=True)]


@dataclass(frozen=True, kw_only=True)
class Produce:
    """Dynamics that is kept."""

    length: Annotated[float, Quantity("how long", "time", "10 ps")]


@dataclass(frozen=True, kw_only=True)
class Reporters:
    """What is written, and how often."""

    log: Annotated[float | None, Quantity("between lines of log.csv", "time", "0.05 ps")] = None
    trajectory: Annotated[float | None, Quantity("between frames of trajectory.xtc", "time", "0.1 ps")] = None
    checkpoint: Annotated[float | None, Quantity("between points from which the run can go on", "time", "1 ps")] = None
    atoms: Annotated[
        str | None, Text("MDTraj selection of the atoms in the trajectory; by default all", ("not water",))
    ] = None


@dataclass(frozen=True, kw_only=True)
class FiniteGuard:
    """Numbers that are not finite."""

    action: Annotated[Literal["stop", "record", "off"], Choice("what happens when it trips")] = "stop"


@dataclass(frozen=True, kw_only=True)
class EnergyJumpGuard(FiniteGuard):
    """A jump of the total energy from one check to the next."""

    max: Annotated[
        float | None, Quantity("largest jump; by default ten times its usual size", "energy", "1000 kJ/mol")
    ] = None


@dataclass(frozen=True, kw_only=True)
class ForceGuard(FiniteGuard):
    """A force on an atom of the region outside its range; not watched unless max is given."""

    max: Annotated[float | None, Quantity("largest force", "force", "100000 kJ/mol/nm")] = None


@dataclass(frozen=True, kw_only=True)
class BondsGuard(FiniteGuard):
    """A bond of the region outside its range."""

    min: Annotated[float, Number("shortest, as a multiple of the sum of covalent radii", above=0)] = 0.6
    max: Annotated[float, Number("longest, as a multiple of the sum of covalent radii", above=1)] = 1.6


@dataclass(frozen=True, kw_only=True)
class TemperatureGuard(FiniteGuard):
    """Temperature run-away, of everything or of the region."""

    max: Annotated[
        float | None,
        Quantity("largest; by default ten standard deviations more than asked for", "temperature", "600 K"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class UncertaintyGuard(FiniteGuard):
    """Deviation of a committee over a threshold."""

    max_energy: Annotated[float | None, Quantity("largest sigma_E", "energy", "50 kJ/mol")] = None
    max_force: Annotated[float | None, Quantity("largest sigma_F of an atom", "force", "2000 kJ/mol/nm")] = None

    @property
    def limited(self) -> bool:
        """Whether there is a threshold."""
        return self.max_energy is not None or self.max_force is not None


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What is watched while it runs."""

    check: Annotated[float | None, Quantity("between checks", "time", "0.005 ps")] = None
    finite: FiniteGuard = FiniteGuard()
    energy_jump: EnergyJumpGuard = EnergyJumpGuard()
    force: ForceGuard = ForceGuard()
    bonds: BondsGuard = BondsGuard()
    temperature: TemperatureGuard = TemperatureGuard()
    uncertainty: UncertaintyGuard | None = None


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Uncertainty-driven dynamics: an energy that falls where the committee disagrees."""

    height: Annotated[float, Quantity("depth of the bias", "energy", "10 kJ/mol")]
    width: Annotated[
        float,
        Quantity("sigma_E per square root of the number of atoms at which it has grown to 63 % of its depth", "energy",
                 "1 kJ/mol"),
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Deviation of the members of a committee."""

    every: Annotated[
        float | None,
        Quantity("between lines of uncertainty.csv; by default with every line of the log", "time", "0.05 ps"),
    ] = None
    flag_energy: Annotated[
        float | None, Quantity("frames with a larger sigma_E are kept in flagged.xtc", "energy", "20 kJ/mol")
    ] = None
    flag_force: Annotated[
        float | None, Quantity("frames with a larger sigma_F are kept in flagged.xtc", "force", "1000 kJ/mol/nm")
    ] = None
    bias: Bias | None = None


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A simulation, from a structure to a trajectory."""

    version: Annotated[int, Whole("of this format", least=1, most=1)] = 1
    title: Annotated[str | None, Text("what the run is for", ("the ligand in water",))] = None
    structure: Structure
    forcefield: Forcefield | None = None
    potential: Potential | None = None
    region: Region | None = None
    dynamics: Dynamics
    minimise: Minimise = Minimise()
    equilibrate: Equilibrate = Equilibrate(length=0.0)
    produce: Produce
    reporters: Reporters = Reporters()
    guards: Guards = Guards()
    uncertainty: Uncertainty | None = None
    preflight: Annotated[bool, Flag("whether the potential is examined first")] = False


KEYS = Section.of(Keys)
"""The rule of a whole run file."""

HOMES = {
    key: f"{name}.{key}"
    for name, rule in reversed(list(KEYS.rules.items()))
    if isinstance(rule, Section)
    for key in rule.rules
}
"""The section in which a key is looked for first, by its name."""

SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Run file of openmm_nn",
    **KEYS.schema(),
}
"""The schema, draft 2020-12, written from the dataclasses."""
