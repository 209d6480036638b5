"""Run files: what is right is read, and every mistake is answered with line, key, value and remedy."""

import ast
import dataclasses
import json
import pathlib
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from openmm import app

from openmm_nn.errors import RunError, RunFileError
from openmm_nn.runs import SCHEMA, RunFile, prepare, run
from openmm_nn.runs.document import Place, read_document
from openmm_nn.runs.quantities import DIMENSIONS, parse_quantity
from openmm_nn.runs.rules import Section, Table
from openmm_nn.runs.schema import KEYS, Keys
from openmm_nn.runs.script import as_python
from openmm_nn.runs.summary import summarise
from openmm_nn.runs.template import write_template
from tests.refusals import refusal
from tests.runs.run_support import PEPTIDE, ROOT, run_file, write_peptide

GOOD = f"""\
title: a good one
structure:
  file: {PEPTIDE}
forcefield:
  files: [amber14-all.xml, amber14/tip3p.xml]
  nonbonded: PME
  cutoff: 1 nm
potential:
  name: openmm-nn/hcno-1
region:
  select: resname ACE ALA NME
  charge: 0
dynamics:
  ensemble: NVT
  temperature: 300 K
  timestep: 0.5 fs
  platform: Reference
produce:
  length: 1 ps
guards:
  bonds:
    min: 0.6
reporters:
  trajectory: 0.1 ps
uncertainty:
  every: 0.1 ps
"""

# Name; what replaces what in the file above; line, key, value as the message shows it, and words of the remedy.
MISTAKES = {
    "unknown section": ("potential:", "potentiall:", 8, "potentiall", "does not exist", "did you mean `potential`"),
    "unknown key": (
        "cutoff: 1 nm",
        "cut-off: 1 nm",
        7,
        "forcefield.cut-off",
        "does not exist",
        "did you mean `cutoff`",
    ),
    "misplaced key": (
        "charge: 0",
        "temperature: 300 K",
        12,
        "region.temperature",
        "does not exist",
        "dynamics.temperature",
    ),
    "nothing like it": ("charge: 0", "colour: red", 12, "region.colour", "does not exist", "choose one of these"),
    "no unit": ("timestep: 0.5 fs", "timestep: 0.5", 16, "dynamics.timestep", "0.5", "write the unit too"),
    "wrong unit": ("temperature: 300 K", "temperature: 27 C", 15, "dynamics.temperature", "27 C", "temperature: 300 K"),
    "unit of another dimension": ("cutoff: 1 nm", "cutoff: 1 ps", 7, "forcefield.cutoff", "1 ps", "cutoff: 1 nm"),
    "time step in ps": ("timestep: 0.5 fs", "timestep: 0.5 ps", 16, "dynamics.timestep", "0.5 ps", "look at the unit"),
    "negative length": ("length: 1 ps", "length: -1 ps", 19, "produce.length", "-1 ps", "length: 10 ps"),
    "zero temperature": (
        "temperature: 300 K",
        "temperature: 0 K",
        15,
        "dynamics.temperature",
        "0 K",
        "temperature: 300 K",
    ),
    "wrong ensemble": ("ensemble: NVT", "ensemble: NTV", 14, "dynamics.ensemble", "NTV", "did you mean `NVT`"),
    "wrong method": ("nonbonded: PME", "nonbonded: pme", 6, "forcefield.nonbonded", "pme", "did you mean `PME`"),
    "text for a number": ("charge: 0", "charge: neutral", 12, "region.charge", "neutral", "formal charge"),
    "fraction for a whole number": ("charge: 0", "charge: 0.5", 12, "region.charge", "0.5", "formal charge"),
    "text for a list": (
        "files: [amber14-all.xml, amber14/tip3p.xml]",
        "files: amber14-all.xml",
        5,
        "forcefield.files",
        "amber14-all.xml",
        "files: [amber14-all.xml]",
    ),
    "text for a section": (
        "produce:\n  length: 1 ps",
        "produce: 1 ps",
        18,
        "produce",
        "1 ps",
        "indented, below `produce:`",
    ),
    "number out of range": ("min: 0.6", "min: -1", 22, "guards.bonds.min", "-1", "sum of covalent radii"),
    "a key twice": (
        "charge: 0",
        "charge: 0\n  charge: 1",
        13,
        "region.charge",
        "a second time",
        "remove one of the two",
    ),
    "no length": ("produce:\n  length: 1 ps", "produce: {}", 18, "produce", "no 'length'", "add `length:"),
    "no time step": ("  timestep: 0.5 fs\n", "", 13, "dynamics", "no 'timestep'", "timestep: 0.5 fs"),
    "no structure": (f"structure:\n  file: {PEPTIDE}\n", "", 1, "the file", "no 'structure'", "add `structure:"),
    "broken indentation": ("  cutoff: 1 nm", "   cutoff: 1 nm", 7, "", "no YAML", "indentation"),
    "a tab": ("  cutoff: 1 nm", "\tcutoff: 1 nm", 7, "", "no YAML", "no tabs"),
    "an unclosed bracket": ("tip3p.xml]", "tip3p.xml", 5, "", "noticed on line 6", "quotes"),
    "an anchor": (
        "name: openmm-nn/hcno-1",
        "name: &a openmm-nn/hcno-1",
        9,
        "",
        "anchor or alias 'a'",
        "quote what begins",
    ),
    "a tag": ("charge: 0", "charge: !!python/name:os.system x", 12, "region.charge", "the tag", "exclamation mark"),
    "a thermostat that is none": (
        "ensemble: NVT",
        "integrator: verlet",
        14,
        "dynamics.integrator",
        "verlet",
        "choose langevin",
    ),
    "no pressure": (
        "ensemble: NVT",
        "ensemble: NPT",
        14,
        "dynamics.ensemble",
        "NPT without a pressure",
        "pressure: 1 bar",
    ),
    "a pressure too much": ("ensemble: NVT", "pressure: 1 bar", 14, "dynamics.pressure", "1 bar", "ensemble: NPT"),
    "a cutoff too much": ("nonbonded: PME", "nonbonded: NoCutoff", 7, "forcefield.cutoff", "1 nm", "remove this line"),
    "not a multiple": ("length: 1 ps", "length: 1.0003 ps", 19, "produce.length", "1.0003 ps", "length: 1.0005 ps"),
    "a time step of nothing": (
        "timestep: 0.5 fs",
        "timestep: 1e-320 fs",
        19,
        "produce.length",
        "1 ps",
        "look at the units",
    ),
    "frames too seldom": (
        "trajectory: 0.1 ps",
        "trajectory: 5 ps",
        24,
        "reporters.trajectory",
        "5 ps",
        "write more often",
    ),
    "limits the wrong way round": ("min: 0.6", "min: 2.0", 22, "guards.bonds.min", "2.0", "0.6 and 1.6"),
    "two ways to say the region": (
        "charge: 0",
        "atoms: [0, 1]",
        12,
        "region.atoms",
        "beside a selection",
        "remove one",
    ),
    "no region": ("  select: resname ACE ALA NME\n", "", 10, "region", "no atoms of the region", "select: resname LIG"),
    "a region of nothing": (
        "potential:\n  name: openmm-nn/hcno-1\n",
        "",
        8,
        "region",
        "without a potential",
        "add `potential:`",
    ),
    "a structure of another kind": (str(PEPTIDE), "a.xyz", 3, "structure.file", "a.xyz", "convert it"),
    "coordinates that are not needed": (
        f"file: {PEPTIDE}",
        "file: a.pdb\n  coordinates: a.gro",
        4,
        "structure.coordinates",
        "a.gro",
        "remove this line",
    ),
    "a property that is a number": (
        "platform: Reference",
        "platform: CPU\n  properties: {Threads: 2}",
        18,
        "dynamics.properties.Threads",
        "2",
        'Threads: "2"',
    ),
    "a GPU": ("platform: Reference", "platform: GPU", 17, "dynamics.platform", "'GPU'", "CUDA, HIP or OpenCL"),
    "a type of torch": (
        "name: openmm-nn/hcno-1",
        "name: openmm-nn/hcno-1\n  precision: float64",
        10,
        "potential.precision",
        "'float64'",
        "write `double`",
    ),
    "a seed beyond 31 bits": (
        "platform: Reference",
        "seed: 99999999999",
        17,
        "dynamics.seed",
        "99999999999",
        "write it like `seed: 1`",
    ),
    "a name for a section": (
        "potential:\n  name: openmm-nn/hcno-1",
        "potential: openmm-nn/hcno-1",
        8,
        "potential",
        "'openmm-nn/hcno-1'",
        "write `name: openmm-nn/hcno-1` on a line of its own, indented, below `potential:`",
    ),
    "a section of nothing": ("  length: 1 ps\n", "", 18, "produce", "nothing", "write `length: 10 ps` on a line"),
    "steps for a length": ("length: 1 ps", "steps: 2000", 19, "produce.steps", "does not exist", "write `length`"),
    "edges without units": (
        f"file: {PEPTIDE}",
        f"file: {PEPTIDE}\n  box: [3, 3, 3]",
        4,
        "structure.box[0]",
        "3",
        "such as `3 nm`",
    ),
    "one edge": (
        f"file: {PEPTIDE}",
        f"file: {PEPTIDE}\n  box: 3 nm",
        4,
        "structure.box",
        "'3 nm'",
        "`box: [3 nm, 3 nm, 3 nm]`",
    ),
    "a range of atoms": (
        "select: resname ACE ALA NME",
        "atoms: 0-21",
        11,
        "region.atoms",
        "'0-21'",
        "`select: index 0 to 21`",
    ),
    "one pair of atoms": (
        "charge: 0",
        "allow_cuts: [4, 6]",
        12,
        "region.allow_cuts[0]",
        "4",
        "write it like `[0, 1]`",
    ),
    "a list for a selection": (
        "trajectory: 0.1 ps",
        "atoms: [0, 1]",
        24,
        "reporters.atoms",
        "[0, 1]",
        "`atoms: not water`",
    ),
    "a heavy hydrogen": (
        "cutoff: 1 nm",
        "cutoff: 1 nm\n  hydrogen_mass: 40 amu",
        8,
        "forcefield.hydrogen_mass",
        "40 amu",
        "common is `hydrogen_mass: 1.5 dalton`",
    ),
    "a fraction of what is said": (
        "cutoff: 1 nm",
        "cutoff: 1 nm\n  ewald_tolerance: 1",
        8,
        "forcefield.ewald_tolerance",
        "1",
        "`ewald_tolerance: 0.0005`",
    ),
    "no space after a colon": ("  charge: 0", "  charge:0", 12, "", "noticed on line 13", "a space after the colon"),
    "an open quote": ("title: a good one", 'title: "a good one', 1, "", "noticed on line 27", "quotes"),
    "a colon in a text": ("title: a good one", "title: a: good one", 1, "", "no YAML", "put text that has a colon"),
    "coordinates that are": (str(PEPTIDE), "a.prmtop", 3, "structure.file", "without coordinates", "add `coordinates:"),
}

# Found when the System is made.
LATE = {
    "a number of threads that is none": (
        "platform: Reference",
        "platform: CPU\n  properties: {Threads: two}",
        18,
        "dynamics.properties.Threads",
        "'two'",
        "correct the value",
    ),
    "neither true nor false": (
        "platform: Reference",
        'platform: CPU\n  properties: {DeterministicForces: "yes"}',
        18,
        "dynamics.properties.DeterministicForces",
        "'yes'",
        "correct the value",
    ),
    "a property of another platform": (
        "platform: Reference",
        "platform: CPU\n  properties: {Precision: mixed}",
        18,
        "dynamics.properties.Precision",
        "'mixed'",
        "remove this line",
    ),
    "no such structure": (
        str(PEPTIDE),
        str(PEPTIDE).replace("dipeptide", "dipeptid"),
        3,
        "structure.file",
        "no such file",
        "did you mean alanine-dipeptide-explicit.pdb",
    ),
    "no such force field": (
        "amber14-all.xml",
        "amber41-all.xml",
        5,
        "forcefield.files[0]",
        "amber41-all.xml",
        "amber14-all.xml",
    ),
    "no such potential": (
        "openmm-nn/hcno-1",
        "openmm-nn/hcno-2",
        9,
        "potential.name",
        "openmm-nn/hcno-2",
        "did you mean openmm-nn/hcno-1",
    ),
    "a force field that lacks a residue": (
        "amber14-all.xml, ",
        "",
        5,
        "forcefield.files",
        "No template found",
        "openmmforcefields",
    ),
    "a selection that is none": (
        "resname ACE ALA NME",
        "resnam ACE",
        11,
        "region.select",
        "resnam ACE",
        "selection language",
    ),
    "an empty selection": (
        "resname ACE ALA NME",
        "resname LIG",
        11,
        "region.select",
        "resname LIG",
        "the residues here are ACE, ALA, NME, HOH",
    ),
    "a selection of another program": (
        "resname ACE ALA NME",
        "':LIG'",
        11,
        "region.select",
        "found ':'",
        "the residues here are ACE, ALA, NME, HOH",
    ),
    "no atoms of the trajectory": (
        "trajectory: 0.1 ps",
        "atoms: resname LIG",
        24,
        "reporters.atoms",
        "resname LIG",
        "the residues here are ACE, ALA, NME, HOH",
    ),
    "a force field that is a structure": (
        "amber14/tip3p.xml",
        str(PEPTIDE),
        5,
        "forcefield.files[1]",
        "no XML",
        "give the .xml file",
    ),
    "a force field twice": (
        "amber14/tip3p.xml",
        "amber14/tip3p.xml, amber14/tip3p.xml",
        5,
        "forcefield.files",
        "already exists",
        "list every file once",
    ),
    "a force field by its beginning": (
        "amber14-all.xml, ",
        "amber14, ",
        5,
        "forcefield.files[0]",
        "'amber14'",
        "did you mean amber14-all.xml",
    ),
    "a name in capitals": (
        "openmm-nn/hcno-1",
        "HCNO-1",
        9,
        "potential.name",
        "'HCNO-1'",
        "did you mean openmm-nn/hcno-1?",
    ),
    "a device that is none": (
        "name: openmm-nn/hcno-1",
        "name: openmm-nn/hcno-1\n  device: gpu",
        10,
        "potential.device",
        "'gpu'",
        "remove this line",
    ),
    "a cut through an amide": (
        "resname ACE ALA NME",
        "resname ALA NME",
        11,
        "region.select",
        "resname ALA NME",
        "`allow_cuts: [[",
    ),
    "an option that does not exist": (
        "charge: 0",
        "embedding: electric",
        12,
        "region.embedding",
        "electric",
        "choose one",
    ),
    "a cutoff over half of the box": (
        "cutoff: 1 nm",
        "cutoff: 2 nm",
        7,
        "forcefield.cutoff",
        "2 nm",
        "take a larger box",
    ),
}


def change(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def check(error: RunFileError, line: int, key: str, value: str, remedy: str) -> None:
    """One line with file, line, key, value, and a remedy."""
    assert error.argument == f"run.yaml, line {line}" + (f": {key}" if key else "")
    assert value in error.got
    assert remedy in error.remedy
    assert "\n" not in str(error)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    old, new, line, key, value, remedy = MISTAKES[name]
    with pytest.raises(RunFileError) as caught:
        RunFile.parse(change(old, new), name="run.yaml")
    check(caught.value, line, key, value, remedy)


@pytest.mark.parametrize("name", LATE)
def test_late_mistake(name: str) -> None:
    old, new, line, key, value, remedy = LATE[name]
    runfile = RunFile.parse(change(old, new), name="run.yaml")
    with pytest.raises(RunFileError) as caught:
        summarise(runfile)
    check(caught.value, line, key, value, remedy)


def test_a_file_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(PEPTIDE.parent))
    runfile = RunFile.parse(change(str(PEPTIDE), f"~/{PEPTIDE.name}"))
    assert runfile.path(runfile.structure.file) == PEPTIDE.resolve()
    assert f"app.PDBFile(str(Path('~/{PEPTIDE.name}').expanduser()))" in as_python(runfile)


def test_a_long_step_is_warned_of_before_the_run() -> None:
    runfile = RunFile.parse(change("timestep: 0.5 fs", "timestep: 2 fs").replace("0.1 ps", "0.2 ps"))
    assert [text for text in prepare(runfile).warnings if "dynamics.timestep is 2 fs" in text]
    assert not [text for text in prepare(RunFile.parse(GOOD)).warnings if "timestep" in text]


def test_a_remedy_is_written_as_keys_and_works() -> None:
    """What an error and a warning of the library say in Python's words, a run file is told in its own."""
    with pytest.raises(RunFileError) as caught:
        prepare(RunFile.parse(change("resname ACE ALA NME", "resname ALA NME"), name="run.yaml"))
    written = re.findall(r"`(allow_cuts: [^`]*)` below `region:`", caught.value.remedy)
    assert len(written) == 1
    allowed = change("resname ACE ALA NME", f"resname ALA NME\n  {written[0]}")
    hybrid = prepare(RunFile.parse(allowed, name="run.yaml")).hybrid
    assert hybrid is not None
    assert len(hybrid.links) == 1

    rigid = change("cutoff: 1 nm", "cutoff: 1 nm\n  constraints: h-bonds")
    (said,) = [text for text in prepare(RunFile.parse(rigid)).warnings if "constraints in the region" in text]
    assert "`hydrogen_mass: 3 dalton` below `forcefield:`" in said
    assert "`remove_constraints: false` below `region:`" in said
    assert "=" not in said
    kept = rigid.replace("charge: 0", "charge: 0\n  remove_constraints: false")
    assert not [text for text in prepare(RunFile.parse(kept)).warnings if "constraints in the region" in text]
    heavy = rigid.replace("cutoff: 1 nm", "cutoff: 1 nm\n  hydrogen_mass: 3 dalton")
    (said,) = [text for text in prepare(RunFile.parse(heavy)).warnings if "constraints in the region" in text]
    assert "hydrogen_mass" not in said


def test_a_run_that_was_refused_can_be_run_again(tmp_path: pathlib.Path) -> None:
    """What a wrong run file leaves is no run: with the mistake mended, the same command goes through."""
    file = run_file(tmp_path, changes={"uncertainty": "", "minimise": "{iterations: 0}", "produce": "{length: 4 fs}"})
    right = file.read_text()
    file.write_text(right.replace("peptide.pdb", "peptid.pdb"))
    with refusal(RunFileError, "run.yaml, line 1: structure.file", remedy="peptide.pdb"):
        run(file, tmp_path / "out")
    file.write_text(right)
    assert run(file, tmp_path / "out").status == "finished"
    with refusal(RunError, "directory", got=str(tmp_path / "out")):
        run(file, tmp_path / "out")


def test_there_are_thirty_mistakes() -> None:
    assert len(MISTAKES) >= 30


def test_the_good_one_is_read() -> None:
    runfile = RunFile.parse(GOOD)
    assert runfile.stages == {"equilibrate": 0, "produce": 2000}
    assert runfile.steps(runfile.reporters.trajectory) == 200
    assert runfile.dynamics.temperature == 300.0
    assert runfile.forcefield is not None
    assert runfile.forcefield.cutoff == 1.0
    assert runfile.forcefield.files == ("amber14-all.xml", "amber14/tip3p.xml")
    assert runfile.region is not None
    assert (runfile.region.charge, runfile.region.multiplicity, runfile.region.atoms) == (0, 1, ())
    assert (runfile.minimise.iterations, runfile.minimise.tolerance) == (500, 10.0)
    bonds = runfile.guards.bonds
    assert (bonds.action, bonds.min, bonds.max) == ("stop", 0.6, 1.6)
    assert runfile.guards.uncertainty is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1\n- 2\n",
        "just text",
        "a: " + "[" * 5000,
        "\x00",
        "? [a]\n: b",
        "x" * 2_000_000,
        "&a [*a, *a]",
        "a: {a: ",
    ],
    ids=["empty", "list", "text", "deep", "null byte", "key", "large", "alias", "unfinished"],
)
def test_what_is_no_run_file(text: str) -> None:
    with refusal(RunFileError, re.compile(r"run\.yaml(, line \d+)?(: .*)?")):
        RunFile.parse(text, name="run.yaml")


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with refusal(RunFileError, "run file", got="nothing.yaml'", remedy="--init"):
        RunFile.load(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with refusal(RunFileError, "run file", got=("bytes.yaml", "UTF-8")):
        RunFile.load(tmp_path / "bytes.yaml")


@pytest.mark.parametrize(
    "text, dimension, value",
    [
        ("0.5 fs", "time", 0.0005),
        ("2ns", "time", 2000.0),
        ("1e3 ps", "time", 1000.0),
        ("10 A", "length", 1.0),
        ("1 kcal/mol", "energy", 4.184),
        ("1 kcal/mol/A", "force", 41.84),
        ("1 /ps", "rate", 1.0),
        ("1/ps", "rate", 1.0),
        ("1 atm", "pressure", 1.01325),
        ("1e999 ps", "time", None),
        ("ps", "time", None),
        ("1 2 ps", "time", None),
        (1.0, "time", None),
    ],
    ids=str,
)
def test_quantities(text: object, dimension: str, value: float | None) -> None:
    found = parse_quantity(text, dimension)
    assert found == (None if value is None else pytest.approx(value, rel=1e-12))


def test_the_schema_says_what_the_reader_does() -> None:
    """Every pattern accepts its own example; every section lists what it needs; it is JSON."""

    def walk(schema: dict[str, object], path: str) -> int:
        count = 0
        properties = schema.get("properties")
        if isinstance(properties, dict):
            assert set(schema["required"]) <= set(properties), path  # type: ignore[call-overload]
            count += sum(walk(part, f"{path}.{key}") for key, part in properties.items())
        if "x-dimension" in schema:
            example = schema["examples"][0]  # type: ignore[index]
            assert re.match(str(schema["pattern"]), example), path
            assert parse_quantity(example, str(schema["x-dimension"])) is not None, path
            assert schema["x-dimension"] in DIMENSIONS
        return count + 1

    assert walk(SCHEMA, "") > 60
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def holds(value: object, hint: Any) -> bool:
    """Whether a value is what an annotation says."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return holds(value, parts[0])
    if origin is Literal:
        return value in parts
    if origin in (Union, types.UnionType):
        return any(holds(value, part) for part in parts)
    if origin is tuple:
        inner = parts[:1] * len(value) if parts[-1] is Ellipsis else parts  # type: ignore[arg-type]
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(holds, value, inner))
    if origin is Mapping:
        return isinstance(value, dict) and all(holds(key, parts[0]) and holds(value[key], parts[1]) for key in value)
    return type(value) is hint


def test_what_a_key_gives_is_what_its_annotation_says() -> None:
    """For every key that has a value of its own: the example of its rule, and its default."""

    def walk(kind: type, key: str) -> int:
        count = 0
        section = Section.of(kind)
        hints = get_type_hints(kind, include_extras=True)
        for name, rule in section.rules.items():
            if isinstance(rule, Section):
                count += walk(rule.kind, f"{key}{name}.")
                continue
            written = f"a: {rule.example()}" if not isinstance(rule, Table) else "a: {b: " + rule.item.example() + "}"
            document = read_document(written, "example")
            value = rule.read(document.data["a"], Place(document, "a"))
            assert holds(value, hints[name]), (key + name, value)
            default = next(item.default for item in dataclasses.fields(kind) if item.name == name)
            assert default is dataclasses.MISSING or holds(default, hints[name]), key + name
            if rule.default is not None:
                shown = read_document(f"a: {json.dumps(rule.schema()['default'])}", "default").data["a"]
                assert rule.read(shown, Place(document, "a")) == rule.default, key + name
            count += 1
        return count

    assert walk(Keys, "") > 60


def test_every_key_in_an_error_exists() -> None:
    """Errors name keys in text, which no type checker sees."""
    known = set()

    def walk(section: Section, prefix: str) -> None:
        for name, rule in section.rules.items():
            known.add(f"{prefix}{name}")
            if isinstance(rule, Section):
                walk(rule, f"{prefix}{name}.")

    walk(KEYS, "")
    found = set()
    for file in (ROOT / "openmm_nn" / "runs").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                key = re.fullmatch(r"[a-z_]+(\.[a-z_]+)*\.(?!jsonl?$|csv$|xtc$)[a-z_]+", text)
                if key and text.split(".")[0] in KEYS.rules:
                    found.add(text)
    assert len(found) > 30
    assert found - known == set()


def test_a_template_of_a_solvated_molecule(tmp_path: pathlib.Path) -> None:
    file = write_template(PEPTIDE.with_name("alanine-dipeptide.pdb"), tmp_path / "run.yaml")
    runfile = RunFile.load(file)
    assert runfile.region is not None
    assert runfile.region.select == "resname ACE ALA NME"
    assert runfile.potential is not None
    assert runfile.potential.name == "openmm-nn/hcno-1"
    assert runfile.forcefield is not None
    assert runfile.forcefield.nonbonded == "PME"
    assert len(prepare(runfile).region) == 22


def test_a_template_of_a_molecule(tmp_path: pathlib.Path) -> None:
    runfile = RunFile.load(write_template(write_peptide(tmp_path), tmp_path / "run.yaml"))
    assert runfile.region is not None
    assert runfile.region.select == "all"
    assert runfile.forcefield is None
    assert prepare(runfile).system.getNumForces() >= 1


def test_a_template_of_another_chemistry(tmp_path: pathlib.Path) -> None:
    """Chlorine: the bundled potential does not know it, so another one is proposed."""
    text = write_peptide(tmp_path).read_text()
    lines = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
    lines[0] = lines[0][:76] + "Cl" + lines[0][78:]
    (tmp_path / "other.pdb").write_text("\n".join([*lines, "END", ""]))
    written = write_template(tmp_path / "other.pdb", tmp_path / "other.yaml").read_text()
    assert "name: ani2x" in written


def test_a_template_of_a_protein(tmp_path: pathlib.Path) -> None:
    """The side chain of one residue, which can be run as it is: a whole residue would cut two amide bonds."""
    pdb = app.PDBFile(str(pathlib.Path(app.__file__).parent / "data" / "test.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.deleteWater()
    with (tmp_path / "protein.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
    written = write_template(tmp_path / "protein.pdb", tmp_path / "run.yaml")
    assert "Choose what you are interested in" in written.read_text()
    prepared = prepare(RunFile.load(written))
    assert prepared.hybrid is not None
    assert len(prepared.hybrid.links) == 1
    assert 4 <= len(prepared.region) <= 18


def test_a_template_of_a_structure_without_hydrogens(tmp_path: pathlib.Path) -> None:
    """As the Protein Data Bank has them: said at once, and in the file."""
    lines = [line for line in write_peptide(tmp_path).read_text().splitlines() if line[76:78].strip() != "H"]
    (tmp_path / "bare.pdb").write_text("\n".join([*lines, ""]))
    with pytest.warns(UserWarning, match="no hydrogens in the region"):
        written = write_template(tmp_path / "bare.pdb", tmp_path / "bare.yaml").read_text()
    assert "# There are no hydrogens in the region" in written


def test_a_template_says_that_a_box_is_not_full(tmp_path: pathlib.Path) -> None:
    """0.66 g/mL: the run is possible, and no result for a liquid."""
    said = "too little for water"
    full = PEPTIDE.with_name("alanine-dipeptide.pdb")
    with pytest.warns(UserWarning, match=said):
        written = write_template(PEPTIDE, tmp_path / "explicit.yaml").read_text()
    assert said in written
    assert said not in write_template(full, tmp_path / "full.yaml").read_text()


def test_the_example_can_be_run(tmp_path: pathlib.Path) -> None:
    """The run file of the examples, cut short: minimised, equilibrated, produced."""
    file = ROOT / "examples" / "05_run_file" / "run.yaml"
    short = file.read_text()
    for long, brief in (
        ("preflight: true", "preflight: false"),
        ("iterations: 100", "iterations: 2"),
        ("length: 1 ps", "length: 0.01 ps"),
        ("length: 2 ps", "length: 0.02 ps"),
    ):
        assert long in short
        short = short.replace(long, brief)
    result = run(RunFile.parse(short, name=file.name, folder=file.parent), tmp_path / "out")
    assert result.status == "finished"
    assert json.loads((tmp_path / "out" / "record.json").read_text())["particles"] == 2269
    assert (tmp_path / "out" / "run.yaml").read_text() == short
