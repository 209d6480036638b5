"""Directories of small runs: finished, with a cut bond, stopped by a guard, and hardly begun."""

import functools
import json
import pathlib

import numpy as np
import pytest
from openmm import app, unit

from openmm_nn.checks import Check, PreflightReport
from openmm_nn.report import make_report
from openmm_nn.runs import analyse_run, run
from tests import ROOT

PEPTIDE = ROOT / "examples" / "data" / "alanine-dipeptide-explicit.pdb"
VILLIN = pathlib.Path(app.__file__).parent / "data" / "test.pdb"
THREADS = {"Threads": "1"}

COMMON = """
forcefield: {{files: [amber14-all.xml, amber14/tip3p.xml], nonbonded: {method}{cutoff}}}
potential: {{name: openmm-nn/hcno-1, threads: 1}}
region: {{select: "{select}", charge: 0}}
dynamics:
  ensemble: {ensemble}
  timestep: 0.5 fs
  temperature: 300 K
  platform: CPU
  properties: {{Threads: "1"}}
minimise: {{iterations: {iterations}}}
equilibrate: {{length: {equilibrate} fs}}
produce: {{length: {produce} fs}}
reporters: {{log: 2 fs, trajectory: {frames} fs, checkpoint: 100 fs}}
"""


def shrink(source: pathlib.Path, target: pathlib.Path, waters: int) -> None:
    """Keep a structure's nearest waters, and write it."""
    pdb = app.PDBFile(str(source))
    positions = np.array(pdb.positions.value_in_unit(unit.nanometer))
    solute = positions[[atom.index for atom in pdb.topology.atoms() if atom.residue.name not in ("HOH", "Cl")]]
    residues = [residue for residue in pdb.topology.residues() if residue.name == "HOH"]

    def distance(residue: app.topology.Residue) -> float:
        return float(np.linalg.norm(solute - positions[next(residue.atoms()).index], axis=1).min())

    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete(sorted(residues, key=distance)[waters:])
    with target.open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file, keepIds=True)


@functools.cache
def directory_of(kind: str, folder: pathlib.Path) -> pathlib.Path:
    """Directory of a run, which is made the first time."""
    place = folder / kind
    if kind == "begun":
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps({"status": "running", "folder": str(folder)}))
        return place
    structure = folder / f"{kind}.pdb"
    shrink(VILLIN if kind == "cut" else PEPTIDE, structure, 15 if kind == "cut" else 40)
    settings: dict[str, object] = {"method": "PME", "cutoff": ", cutoff: 0.9 nm", "select": "resname ACE ALA NME",
                                   "ensemble": "NVT", "iterations": 30, "equilibrate": 50, "produce": 200,
                                   "frames": 4}  # fmt: skip
    extra = f"title: {kind} <run> & all\nstructure: {{file: {structure.name}}}\n"
    if kind == "cut":
        settings |= {"method": "NoCutoff", "cutoff": "", "ensemble": "NVE", "produce": 60, "frames": 2,
                     "equilibrate": 20, "select": "resid 5 and not (name N H CA HA C O)"}  # fmt: skip
    text = extra + COMMON.format(**settings)
    if kind == "finished":
        text += "uncertainty: {every: 4 fs, flag_force: 60 kJ/mol/nm}\n"
    if kind == "stopped":
        text += "guards: {check: 1 fs, bonds: {max: 1.03}}\n"
    (folder / f"{kind}.yaml").write_text(text)
    run(folder / f"{kind}.yaml", place)
    if kind == "finished":
        checks = (
            Check("rotation", 1e-6, "kJ/mol", "pass", "Turning everything changes nothing.", limit=1e-3),
            Check("bond_lengths", 1.3, "× table", "warn", "A bond is <longer> than tables have it.", limit=1.2),
            Check("spin_response", None, "", "skipped", "The potential is not told the multiplicity."),
        )
        report = PreflightReport("openmm-nn/hcno-1", None, 22, "C6H12N2O2", checks)
        (place / "preflight.json").write_text(report.to_json())
    return place


def classical_twin(folder: pathlib.Path) -> pathlib.Path:
    """A classical run of the atoms of ``finished``."""
    place = folder / "twin"
    if not place.exists():
        directory_of("finished", folder)
        lines = (folder / "finished.yaml").read_text().splitlines()
        kept = [line for line in lines if not line.startswith(("potential", "region", "uncertainty"))]
        (folder / "twin.yaml").write_text("\n".join(kept) + "\n")
        run(folder / "twin.yaml", place)
    return place


_FOLDERS: list[pathlib.Path] = []


def shared_folder(factory: pytest.TempPathFactory) -> pathlib.Path:
    """One folder for all tests of a session, so that each run is made once."""
    if not _FOLDERS:
        _FOLDERS.append(factory.mktemp("runs"))
    return _FOLDERS[0]


def report_of(kind: str, factory: pytest.TempPathFactory) -> pathlib.Path:
    """Page about a run of some kind."""
    place = directory_of(kind, shared_folder(factory))
    page = place / "report.html"
    if not page.exists():
        analyse_run(place, properties=THREADS, seconds=0.3, energy_frames=10)
        make_report(place, analyse=False)
    return page
