"""Everything that the directory of a run allows to be computed, written beside it."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from .._version import __version__
from ..analysis.angle_free_energy import compute_angle_free_energy
from ..analysis.averages import Average, compute_average, compute_block_averages
from ..analysis.drift import compute_drift
from ..analysis.interaction import compute_interaction_energy
from ..analysis.ledger_series import compute_ledger
from ..analysis.link_geometry import compute_link_geometry
from ..analysis.reweighting import compute_energies, compute_reweighting
from ..analysis.step_cost import compute_step_cost
from ..analysis.structure import StructureSummary, compute_structure
from ..analysis.twin import compute_twin_comparison
from ..analysis.uncertainty import compute_uncertainty
from ..errors import OpenMMNNError
from ..platforms import PlatformLike, find_platform
from .reading import RunDirectory, Table, Trajectory, write_table

__all__ = ["analyse_run"]

logger = logging.getLogger(__name__)

_LEAST = 8  # frames, or rows of the log: fewer give no error of a mean
_COLUMNS = {
    "potential": "potential_kJ/mol",
    "kinetic": "kinetic_kJ/mol",
    "total": "total_kJ/mol",
    "temperature": "temperature_K",
    "volume": "volume_nm3",
    "density": "density_g/mL",
    "speed": "speed_ns/day",
}


def analyse_run(
    directory: str | Path,
    *,
    twin: str | Path | None = None,
    frames: int = 500,
    energy_frames: int = 50,
    platform: PlatformLike | None = None,
    properties: Mapping[str, str] | None = None,
    seconds: float = 3.0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Analyse a run, and write ``analysis.json`` and ``analysis/*.csv`` into its directory.

    What cannot be computed, because the run has not come so far or an optional package is missing, is listed with the
    reason under ``not_computed``.

    Parameters
    ----------
    directory
        That a run wrote; it may still be running.
    twin
        Directory of a classical run of the same atoms, to compare with and to reweight.
    frames
        At most so many are read for what MDTraj computes, evenly spaced.
    energy_frames
        At most so many for what needs energies: interaction, σ by atom, ledger.
    platform
        Name of the OpenMM platform for these; by default that of the run, or CPU where that is not to be had.
    properties
        Of the platform.
    seconds
        How long to measure what a step costs; 0 to leave it out.
    progress
        Called with the name of each part before it is computed.

    Returns
    -------
    dict
        What ``analysis.json`` holds.

    Raises
    ------
    ParameterError
        If the directory is none of a run.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from openmm_nn.runs import analyse_run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "record.json").write_text('{"status": "running"}')
    ...     analyse_run(folder)["not_computed"][0]["what"]
    'energies'
    """
    run = RunDirectory(directory)
    analysis = _Analysis(run, *_where(run, platform, properties), progress)
    analysis.part("energies", analysis.energies)
    analysis.read(frames, energy_frames)
    for name in ("structure", "free_energy", "boundary", "interaction", "uncertainty", "ledger"):
        analysis.part(name, getattr(analysis, name))
    if seconds > 0:
        analysis.part("performance", lambda: analysis.performance(seconds))
    if twin is not None:
        other = RunDirectory(twin)
        analysis.part("twin", lambda: analysis.twin(other, frames))
        analysis.part("reweighting", lambda: analysis.reweighting(other, energy_frames))
    return analysis.write()


def _where(
    run: RunDirectory, platform: PlatformLike | None, properties: Mapping[str, str] | None
) -> tuple[str, dict[str, str]]:
    """Settle where energies are computed."""
    known = {openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())}
    own = str(run.record.get("platform"))
    if platform is None and own in known:
        return own, dict(run.record.get("platform_properties") or {} if properties is None else properties)
    return find_platform(platform or "CPU").getName(), dict(properties or {})


class _Missing(Exception):
    """Why a part cannot be computed."""


class _Analysis:
    """The parts, one after the other; each returns what goes into analysis.json."""

    def __init__(
        self,
        run: RunDirectory,
        platform: PlatformLike,
        properties: dict[str, str],
        progress: Callable[[str], None] | None,
    ) -> None:
        self.run, self.platform, self.properties, self.progress = run, platform, properties, progress
        self.result: dict[str, Any] = {
            "openmm_nn": __version__,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "status": run.status,
        }
        self.not_computed: list[dict[str, str]] = []
        self.frames: Trajectory | None = None
        self.few: Trajectory | None = None
        self.summary: StructureSummary | None = None

    def part(self, name: str, compute: Callable[[], dict[str, Any]]) -> None:
        """Compute a part, or note why not."""
        if self.progress is not None:
            self.progress(name)
        try:
            self.result[name] = compute()
        except _Missing as reason:
            self.not_computed.append({"what": name, "why": str(reason)})
        except (OpenMMNNError, openmm.OpenMMException, ValueError, OSError, ImportError, RuntimeError) as error:
            logger.warning("%s of %s: %s", name, self.run.path, error)
            self.not_computed.append({"what": name, "why": f"{type(error).__name__}: {error}"})

    def write(self) -> dict[str, Any]:
        """Write analysis.json, in one piece."""
        self.result["not_computed"] = self.not_computed
        self.result = _plain(self.result)
        temporary = self.run.path / "analysis.json.part"
        temporary.write_text(json.dumps(self.result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(self.run.path / "analysis.json")
        return self.result

    def table(self, name: str, columns: Mapping[str, Any]) -> str:
        """Write a table and return its name."""
        write_table(self.run.path / "analysis" / f"{name}.csv", columns)
        return f"analysis/{name}.csv"

    def read(self, frames: int, energy_frames: int) -> None:
        """Read the trajectory."""
        try:
            self.frames = self.run.trajectory(frames)
            self.few = self.run.trajectory(energy_frames)
        except (OSError, ValueError, RuntimeError) as error:
            self.not_computed.append({"what": "trajectory", "why": f"{type(error).__name__}: {error}"})
        if self.frames is not None:
            read = self.frames
            self.result["trajectory"] = {
                "frames": read.total,
                "read": read.frames.n_frames,
                "stride": read.stride,
                "atoms": read.frames.n_atoms,
                "all_atoms": read.complete,
                "truncated": read.truncated,
            }

    # --- parts

    def energies(self) -> dict[str, Any]:
        tables = self.run.stages()
        stages = {name: table for name, table in tables.items()
                  if np.isfinite(table.get("time_ps", np.empty(0))).sum() >= _LEAST}  # fmt: skip
        if not stages:
            raise _Missing(f"log.csv has fewer than {_LEAST} rows in any stage")
        return {name: self._stage(name, table) for name, table in stages.items()}

    def _stage(self, name: str, table: Table) -> dict[str, Any]:
        found: dict[str, Any] = {"rows": len(table["time_ps"]), "averages": {}}
        for quantity, column in _COLUMNS.items():
            values = table.get(column)
            if values is None or values.dtype.kind != "f":
                continue
            known = values[np.isfinite(values)]
            if len(known) >= _LEAST:
                found["averages"][quantity] = _average(compute_average(known, equilibrate=True))
        total = table.get("total_kJ/mol")
        if total is not None and np.isfinite(total).sum() >= _LEAST:
            kept = np.isfinite(total)
            drift = compute_drift(table["time_ps"][kept], total[kept])
            found["drift"] = {**_fields(drift), "significance": drift.significance}
            blocks = compute_block_averages(table["potential_kJ/mol"][kept])
            found["blocks"] = self.table(f"blocks_{name or 'run'}", {
                "size_frames": blocks.sizes, "error_kJ/mol": blocks.errors, "uncertainty_kJ/mol": blocks.uncertainties,
            })  # fmt: skip
        return found

    def _need_frames(self, few: bool = False, all_atoms: bool = False) -> Trajectory:
        read = self.few if few else self.frames
        if read is None:
            raise _Missing("there is no frame of the production yet")
        if all_atoms and not read.complete:
            raise _Missing("the trajectory holds some of the atoms only, and the energy needs all of them")
        return read

    def _need_potential(self) -> None:
        if self.run.record.get("particles") and not self.run.record.get("card"):
            raise _Missing("the run is classical: it has no potential")

    def _system(self) -> openmm.System:
        system = self.run.system()
        if system is None:
            raise _Missing("there is no system.xml")
        return system

    def _region(self, read: Trajectory) -> tuple[int, ...] | None:
        if self.run.region and not read.region:
            raise _Missing("the trajectory does not hold the region's atoms")
        return read.region or None

    def structure(self) -> dict[str, Any]:
        read = self._need_frames()
        region = self._region(read)
        if region is None:
            # Without a region, what is not water is looked at.
            region = tuple(int(atom) for atom in read.frames.topology.select("not water")) or None
        summary = self.summary = compute_structure(read.frames, region)
        atoms = range(read.frames.n_atoms) if region is None else region
        if not read.atoms:
            raise _Missing("the atoms of trajectory.pdb are not those of the structure")
        columns: dict[str, Any] = {"time_ps": summary.time, "rmsd_nm": summary.rmsd, "rg_nm": summary.rg}
        columns |= {f"hydrogen_bonds_{kind}": values for kind, values in summary.hydrogen_bonds.items()}
        if summary.sasa is not None:
            columns["sasa_nm2"] = summary.sasa
        if summary.dssp is not None:
            for code, name in (("H", "helix"), ("E", "strand"), ("C", "coil")):
                columns[f"dssp_{name}"] = (summary.dssp == code).mean(axis=1)
        labels = [str(read.frames.topology.atom(atom)) for atom in atoms]
        found: dict[str, Any] = {
            "series": self.table("structure", columns),
            "rmsf": self.table("rmsf", {"atom": [read.atoms[atom] for atom in atoms], "name": labels,
                                        "rmsf_nm": summary.rmsf}),
            "averages": {name: _average(compute_average(np.asarray(values, dtype=np.float64)))
                         for name, values in columns.items() if name != "time_ps" and len(values) >= _LEAST},
        }  # fmt: skip
        if summary.dihedrals:
            columns = {name.replace(" ", "_") + "_rad": angle for name, angle in summary.dihedrals.items()}
            found["dihedrals"] = self.table("dihedrals", {"time_ps": summary.time, **columns})
        if summary.rdf is not None:
            found["rdf"] = self.table("rdf", {"r_nm": summary.rdf.radii, "g": summary.rdf.values})
        return found

    def free_energy(self) -> dict[str, Any]:
        summary, temperature = self.summary, self.run.temperature
        if summary is None:
            raise _Missing("there is no structure analysis to take dihedrals from")
        if temperature is None:
            raise _Missing("the record names no temperature")
        if len(summary.time) < 20:
            raise _Missing(f"{len(summary.time)} frames are too few; 20 are needed")
        phi = {name[4:] for name in summary.dihedrals if name.startswith("phi ")}
        residues = [name[4:] for name in summary.dihedrals if name.startswith("psi ") and name[4:] in phi]
        if not residues:
            raise _Missing("the region has no residue with both φ and ψ")
        surfaces = []
        for residue in residues[:12]:
            angles = [summary.dihedrals[f"phi {residue}"], summary.dihedrals[f"psi {residue}"]]
            surface = compute_angle_free_energy(angles, temperature)
            first, second = np.meshgrid(surface.centres, surface.centres, indexing="ij")
            columns = {"phi_rad": first, "psi_rad": second, "free_energy_kJ/mol": surface.free_energy,
                       "error_kJ/mol": surface.error, "probability": surface.probability}  # fmt: skip
            name = self.table(f"free_energy_{residue}", {key: value.ravel() for key, value in columns.items()})
            lines = {}
            for label, angle in zip(("phi", "psi"), angles, strict=True):
                line = compute_angle_free_energy(angle, temperature)
                lines[label] = self.table(f"free_energy_{label}_{residue}", {
                    f"{label}_rad": line.centres, "free_energy_kJ/mol": line.free_energy, "error_kJ/mol": line.error,
                    "probability": line.probability,
                })  # fmt: skip
            surfaces.append({"residue": residue, "surface": name, **lines, "independent_frames": surface.independent})
        return {"residues": surfaces, "temperature": temperature}

    def boundary(self) -> dict[str, Any]:
        links = self.run.links
        if not links:
            raise _Missing("no bond is cut")
        read = self._need_frames()
        if not read.complete:
            raise _Missing("the trajectory holds some of the atoms only")
        geometry = compute_link_geometry(read.frames, links)
        label = [str(atom) for atom in read.frames.topology.atoms]
        columns: dict[str, Any] = {"time_ps": read.frames.time.astype(np.float64)}
        rows: list[dict[str, Any]] = []
        for place, (inside, outside) in enumerate(geometry.bonds):
            name = _bond_name(label, (inside, outside))
            columns[f"{name}_nm"] = geometry.lengths[:, place]
            rows.append({"kind": "bond", "name": name, "unit": "nm", "column": f"{name}_nm"})
        for place, atoms in enumerate(geometry.angles):
            name = _bond_name(label, atoms)
            columns[f"{name}_rad"] = geometry.values[:, place]
            rows.append({"kind": "angle", "name": name, "unit": "rad", "column": f"{name}_rad"})
        for row in rows:
            values = columns[row["column"]]
            row |= {"mean": float(np.mean(values)), "std": float(np.std(values))}
        return {"series": self.table("boundary", columns), "rows": rows}

    def interaction(self) -> dict[str, Any]:
        region = self.run.region
        if not region:
            raise _Missing("the run has no region")
        read = self._need_frames(few=True, all_atoms=True)
        system = self._system()
        if len(region) == system.getNumParticles():
            raise _Missing("the region is the whole System, so there is no environment")
        energy = compute_interaction_energy(
            read.frames, system, region, platform=self.platform, properties=self.properties
        )
        columns = {"time_ps": energy.time, "coulomb_kJ/mol": energy.coulomb, "van_der_waals_kJ/mol":
                   energy.van_der_waals, "total_kJ/mol": energy.total}  # fmt: skip
        found: dict[str, Any] = {"series": self.table("interaction", columns)}
        if len(energy.time) >= _LEAST:
            found["averages"] = {name: _average(compute_average(values)) for name, values in columns.items()
                                 if name != "time_ps"}  # fmt: skip
        return found

    def uncertainty(self) -> dict[str, Any]:
        self._need_potential()
        if int((self.run.record.get("card") or {}).get("committee_size") or 1) < 2:
            raise _Missing("the potential is no committee, so it does not say how sure it is")
        read = self._need_frames(few=True, all_atoms=True)
        system = self._system()
        sigma = compute_uncertainty(read.frames, system, platform=self.platform, properties=self.properties)
        labels = [str(read.frames.topology.atom(int(atom))) for atom in sigma.atoms]
        atoms = {"atom": sigma.atoms, "name": labels, "sigma_F_kJ/mol/nm": sigma.by_atom,
                 "sigma_F_max_kJ/mol/nm": sigma.forces.max(axis=0)}  # fmt: skip
        series = {"time_ps": sigma.time, "sigma_E_kJ/mol": sigma.energy,
                  "sigma_F_max_kJ/mol/nm": sigma.forces.max(axis=1)}  # fmt: skip
        return {
            "atoms": self.table("uncertainty_atoms", atoms),
            "series": self.table("uncertainty", series),
            "sigma_E": float(np.sqrt(np.mean(sigma.energy**2))),
            "sigma_F": float(np.sqrt(np.mean(sigma.forces**2))),
            "members": int(sigma.members.shape[1]),
        }

    def ledger(self) -> dict[str, Any]:
        read = self._need_frames(few=True, all_atoms=True)
        hybrid = self._hybrid()
        series = compute_ledger(read.frames, hybrid, platform=self.platform, properties=self.properties)
        columns = {"time_ps": series.time, **{f"{name}_kJ/mol": values for name, values in series.terms.items()}}
        columns |= {"total_kJ/mol": series.total, "residual_kJ/mol": series.residual}
        return {
            "series": self.table("ledger", columns),
            "means": {name: float(np.mean(values)) for name, values in series.terms.items()},
            "largest_residual": float(np.abs(series.residual).max()),
            "changed": list(hybrid.changes()),
        }

    def _hybrid(self) -> Any:
        """Make the hybrid again from the run file: the ledger needs the classical System too."""
        from .preparation import prepare
        from .runfile import RunFile

        file, record = self.run.path / "run.yaml", self.run.record
        if not file.is_file():
            raise _Missing("there is no run.yaml to make the classical System from")
        prepared = prepare(RunFile.load(file, folder=record.get("folder")))
        if prepared.hybrid is None:
            raise _Missing("the run is no hybrid")
        # The System that ran, with the model that ran: the one that has this name by now may be another.
        ran = self._system()
        if ran.getNumParticles() != prepared.hybrid.system.getNumParticles():
            raise _Missing("run.yaml no longer makes the System that ran")
        return prepared.hybrid.with_system(ran)

    def performance(self, seconds: float) -> dict[str, Any]:
        self._need_potential()
        read = self._need_frames(few=True, all_atoms=True)
        cost = compute_step_cost(
            read.frames[-1], self._system(), platform=self.platform, properties=self.properties, seconds=seconds
        )
        return {**{f"{name}_ms": value for name, value in _fields(cost).items() if name != "platform"},
                "ideal_ms": cost.ideal, "platform": cost.platform}  # fmt: skip

    def twin(self, other: RunDirectory, frames: int) -> dict[str, Any]:
        read, second = self._need_frames(), other.trajectory(frames)
        if second is None:
            raise _Missing(f"{other.path} has no frame")
        comparison = compute_twin_comparison(read.frames, second.frames, self._region(read))
        rows = {
            name: {
                "first": _average(row.first),
                "second": _average(row.second),
                "difference": row.value,
                "error": row.error,
                "significance": row.significance,
            }
            for name, row in comparison.differences.items()
        }
        found: dict[str, Any] = {"directory": str(other.path), "differences": rows, "dihedrals": comparison.dihedrals}
        if comparison.rdf is not None:
            first, reference = comparison.rdf
            if len(first.radii) == len(reference.radii):
                found["rdf"] = self.table("twin_rdf", {"r_nm": first.radii, "g": first.values,
                                                       "g_twin": reference.values})  # fmt: skip
        return found

    def reweighting(self, other: RunDirectory, frames: int) -> dict[str, Any]:
        temperature, second = self.run.temperature, other.trajectory(frames)
        target, sampled = self.run.system(), other.system()
        if second is None or not second.complete or target is None or sampled is None or temperature is None:
            raise _Missing("it needs all atoms of the twin's frames, both system.xml and a temperature")
        energies = [compute_energies(second.frames, system, platform=self.platform, properties=self.properties)
                    for system in (sampled, target)]  # fmt: skip
        result = compute_reweighting(energies[0], energies[1], temperature)
        columns = {"time_ps": second.frames.time.astype(np.float64), "twin_kJ/mol": energies[0],
                   "hybrid_kJ/mol": energies[1], "weight": result.weights}  # fmt: skip
        return {
            "series": self.table("reweighting", columns),
            "effective_size": result.effective_size,
            "efficiency": result.efficiency,
            "inefficiency": result.inefficiency,
            "free_energy": result.free_energy,
            "free_energy_error": result.free_energy_error,
        }


def _bond_name(labels: Sequence[str], atoms: Sequence[int]) -> str:
    """Name bonded atoms: ``CB–CA (PHE6)`` within a residue, with all residues where there are several."""
    residues, names = zip(*(labels[atom].rsplit("-", 1) for atom in atoms), strict=True)
    if len(set(residues)) == 1:
        return f"{'–'.join(names)} ({residues[0]})"
    return "–".join(labels[atom] for atom in atoms)


def _fields(item: Any) -> dict[str, Any]:
    return dict(vars(item))


def _average(average: Average) -> dict[str, Any]:
    return {**_fields(average), "independent": average.independent}


def _plain(value: Any) -> Any:
    """Turn arrays and numpy's numbers into what JSON has; what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
