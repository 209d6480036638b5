"""The JSON schema of a run file: every key, what it means and what it may be."""

from __future__ import annotations

from typing import Any

from .quantities import pattern

__all__ = ["SCHEMA", "STRUCTURE_KINDS"]

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

Schema = dict[str, Any]


def _text(description: str, *examples: str) -> Schema:
    return {"type": "string", "minLength": 1, "description": description, "examples": list(examples)}


def _choice(description: str, *values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values), "description": description}
    return schema if default is None else {**schema, "default": default}


def _flag(description: str, default: bool | None = None) -> Schema:
    schema: Schema = {"type": "boolean", "description": description}
    return schema if default is None else {**schema, "default": default}


def _whole(description: str, minimum: int | None = None, default: int | None = None) -> Schema:
    schema: Schema = {"type": "integer", "description": description}
    if minimum is not None:
        schema["minimum"] = minimum
    return schema if default is None else {**schema, "default": default}


def _quantity(dimension: str, description: str, example: str, *, zero: bool = False, most: str | None = None) -> Schema:
    """Return the schema of a quantity; ``x-...`` are what JSON schema has no word for."""
    schema: Schema = {
        "type": "string",
        "pattern": pattern(dimension),
        "description": description,
        "examples": [example],
        "x-dimension": dimension,
        "x-zero": zero,
    }
    return schema if most is None else {**schema, "x-most": most}


def _list(description: str, items: Schema, *, least: int = 1, most: int | None = None) -> Schema:
    schema: Schema = {"type": "array", "items": items, "minItems": least, "description": description}
    return schema if most is None else {**schema, "maxItems": most}


def _section(description: str, required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _guard(description: str, action: str, **properties: Schema) -> Schema:
    section = _section(description)
    chosen = _choice("what happens when it trips", "stop", "record", "off", default=action)
    section["properties"] = {"action": chosen, **properties}
    return section


_STRUCTURE = _section(
    "the atoms, where they are, and for Amber, CHARMM and GROMACS files their force field",
    ("file",),
    file=_text("PDB, PDBx/mmCIF, Amber prmtop, CHARMM psf or GROMACS top", "complex.pdb"),
    coordinates=_text("inpcrd or rst7 for Amber; gro for GROMACS; crd or pdb for CHARMM", "complex.inpcrd"),
    parameters=_list("CHARMM parameter, topology and stream files", _text("a file", "par_all36m_prot.prm")),
    include=_text("the folder with GROMACS's own force field files", "/usr/share/gromacs/top"),
    box=_list("edges of a rectangular box, where the files have none",
              _quantity("length", "an edge", "3 nm"), least=3, most=3),
)  # fmt: skip
_FORCEFIELD = _section(
    "the classical force field and its options",
    files=_list("force field files of OpenMM, or paths of XML files", _text("a file", "amber14-all.xml")),
    nonbonded=_choice("how nonbonded interactions are cut", "NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald",
                      "PME", "LJPME"),
    cutoff=_quantity("length", "distance at which direct interactions end", "1 nm"),
    switch=_quantity("length", "distance at which Lennard-Jones begins to be switched off", "0.9 nm"),
    constraints=_choice("bonds that are kept rigid; inside the region none is", "none", "h-bonds", "all-bonds",
                        "h-angles", default="none"),
    rigid_water=_flag("whether water is rigid", True),
    hydrogen_mass=_quantity("mass", "mass of hydrogens outside water, taken from their heavy atoms", "1.5 dalton",
                            most="4.5 dalton"),
    ewald_tolerance={"type": "number", "exclusiveMinimum": 0, "maximum": 0.1, "description": "of Ewald methods",
                     "examples": [0.0005]},
    dispersion_correction=_flag("long-range correction of Lennard-Jones"),
)  # fmt: skip
_POTENTIAL = _section(
    "the neural potential; leave the section out for a classical run",
    ("name",),
    name=_text("a name that `openmm-nn models` lists, or the path of a model file", "openmm-nn/hcno-1", "model.pt"),
    trust=_flag("whether code inside a foreign checkpoint may run while it is read", False),
    device=_text("torch device; by default that of the platform", "cpu", "cuda:0"),
    precision=_choice("in which the model is evaluated; model: as its card says", "model", "single", "double",
                      default="model"),
    threads=_whole("threads of torch; 0: as many as the engine thinks right", 0, 0),
    parameters={"type": "object", "additionalProperties": {"type": "number"},
                "description": "values of the potential's own parameters"},
)  # fmt: skip
_REGION = _section(
    "the atoms that the potential describes; the force field describes the rest",
    select=_text("MDTraj selection", "resname LIG", "all"),
    atoms=_list("atom indices, from 0, instead of a selection", _whole("an index", 0)),
    expand=_choice("fill up to whole residues or molecules", "residue", "molecule"),
    charge=_whole("formal charge in e; by default the rounded sum of the classical charges"),
    multiplicity=_whole("spin multiplicity", 1, 1),
    embedding=_text("how the environment acts on the region", "mechanical"),
    bonded_rule=_choice("which bonded terms the potential replaces", "capped", "all-atoms", "gromacs",
                        default="capped"),
    link=_choice("how link atoms are placed", "fixed", "ratio", default="fixed"),
    charge_scheme=_choice("charges at cut bonds", "none", "z1", "rc", "rcd", "cs", default="none"),
    allow_cuts=_list("bonds that are cut on purpose although they should not be",
                     _list("a pair of atom indices", _whole("an index", 0), least=2, most=2), least=0),
    periodic=_flag("whether the potential is given the box", False),
    long_range=_flag("whether the potential itself contains the region's periodic images, where its card does not say"),
)  # fmt: skip
_DYNAMICS = _section(
    "ensemble, integrator and where it runs",
    ("timestep",),
    ensemble=_choice("NVE, NVT or NPT", "NVE", "NVT", "NPT", default="NVT"),
    integrator=_choice("langevin and nose-hoover keep the temperature, verlet the energy", "langevin", "nose-hoover",
                       "verlet"),
    temperature=_quantity("temperature", "of the thermostat, and of the first velocities", "300 K"),
    friction=_quantity("rate", "friction, or collision frequency of nose-hoover", "1 /ps"),
    timestep=_quantity("time", "0.5 fs where bonds of hydrogen move freely, as they do in the region", "0.5 fs",
                       most="10 fs"),
    pressure=_quantity("pressure", "of the barostat", "1 bar"),
    barostat_every=_whole("steps between attempts to change the volume", 1, 25),
    seed=_whole("of velocities, thermostat and barostat; 0: another one each time", 0, 1),
    platform=_choice("of OpenMM; auto: CUDA where it and this build's kernels for it are there, otherwise CPU", "auto",
                     "Reference", "CPU", "OpenCL", "CUDA", "HIP", default="auto"),
    properties={"type": "object", "additionalProperties": {"type": "string"},
                "description": "properties of OpenMM's platform, such as Threads: \"2\""},
)  # fmt: skip
_REPORTERS = _section(
    "what is written, and how often",
    log=_quantity("time", "between lines of log.csv", "0.05 ps"),
    trajectory=_quantity("time", "between frames of trajectory.xtc", "0.1 ps"),
    checkpoint=_quantity("time", "between points from which the run can go on", "1 ps"),
    atoms=_text("MDTraj selection of the atoms in the trajectory; by default all", "not water"),
)
_GUARDS = _section(
    "what is watched while it runs",
    check=_quantity("time", "between checks", "0.005 ps"),
    finite=_guard("numbers that are not finite", "stop"),
    energy_jump=_guard("a jump of the total energy from one check to the next", "stop",
                       max=_quantity("energy", "largest jump; by default ten times its usual size", "1000 kJ/mol")),
    force=_guard("a force on an atom of the region outside its range; not watched unless max is given", "stop",
                 max=_quantity("force", "largest force", "100000 kJ/mol/nm")),
    bonds=_guard("a bond of the region outside its range", "stop",
                 min={"type": "number", "exclusiveMinimum": 0, "default": 0.6,
                      "description": "shortest, as a multiple of the sum of covalent radii"},
                 max={"type": "number", "exclusiveMinimum": 1, "default": 1.6,
                      "description": "longest, as a multiple of the sum of covalent radii"}),
    temperature=_guard("temperature run-away, of everything or of the region", "stop",
                       max=_quantity("temperature", "largest; by default ten standard deviations more than asked for",
                                     "600 K")),
    uncertainty=_guard("deviation of a committee over a threshold", "stop",
                       max_energy=_quantity("energy", "largest sigma_E", "50 kJ/mol"),
                       max_force=_quantity("force", "largest sigma_F of an atom", "2000 kJ/mol/nm")),
)  # fmt: skip
_UNCERTAINTY = _section(
    "deviation of the members of a committee",
    every=_quantity("time", "between lines of uncertainty.csv; by default with every line of the log", "0.05 ps"),
    flag_energy=_quantity("energy", "frames with a larger sigma_E are kept in flagged.xtc", "20 kJ/mol"),
    flag_force=_quantity("force", "frames with a larger sigma_F are kept in flagged.xtc", "1000 kJ/mol/nm"),
    bias=_section("uncertainty-driven dynamics: an energy that falls where the committee disagrees",
                  ("height", "width"),
                  height=_quantity("energy", "depth of the bias", "10 kJ/mol"),
                  width=_quantity("energy", "sigma_E per square root of the number of atoms at which it has grown to "
                                            "63 % of its depth", "1 kJ/mol")),
)  # fmt: skip

SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Run file of openmm_nn",
    **_section(
        "a simulation, from a structure to a trajectory",
        ("structure", "dynamics", "produce"),
        version={"type": "integer", "enum": [1], "default": 1, "description": "of this format"},
        title=_text("what the run is for", "the ligand in water"),
        structure=_STRUCTURE,
        forcefield=_FORCEFIELD,
        potential=_POTENTIAL,
        region=_REGION,
        dynamics=_DYNAMICS,
        minimise=_section(
            "before the first step",
            iterations=_whole("at most so many, in each of OpenMM's rounds if there are constraints; 0: none", 0, 500),
            tolerance=_quantity("force", "root mean square force at which it ends", "10 kJ/mol/nm"),
        ),
        equilibrate=_section(
            "dynamics before anything is kept", ("length",), length=_quantity("time", "how long", "5 ps", zero=True)
        ),
        produce=_section("dynamics that is kept", ("length",), length=_quantity("time", "how long", "10 ps")),
        reporters=_REPORTERS,
        guards=_GUARDS,
        uncertainty=_UNCERTAINTY,
        preflight=_flag("whether the potential is examined first", False),
    ),
}
"""The schema, draft 2020-12. The validator of run files reads it too."""
