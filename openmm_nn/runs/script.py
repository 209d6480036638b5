"""A run file as a Python script, so that nobody is locked in."""

from __future__ import annotations

from .driver import Intervals
from .preparation import (
    Prepared,
    choose_platform,
    embedding_options,
    hybrid_options,
    prepare,
    region_options,
    system_options,
)
from .runfile import RunFile
from .structures import forcefield_options

__all__ = ["as_python"]

_HEAD = '''"""{title}

Written by `openmm-nn run {name} --as-script`: the same simulation with OpenMM's own reporters. A run that is killed
does not go on by itself here; OpenMM's CheckpointReporter keeps a state.
"""

import sys
from pathlib import Path

import openmm
from openmm import app, unit

import openmm_nn
from openmm_nn import dynamics

HERE = Path({folder!r})  # relative paths of the run file begin here
OUTPUT = Path(sys.argv[1] if len(sys.argv) > 1 else "output")
OUTPUT.mkdir(parents=True, exist_ok=True)
'''


def as_python(runfile: RunFile) -> str:
    """Write a run file as a Python script that does the same.

    Parameters
    ----------
    runfile
        Checked.

    Returns
    -------
    str
        A script that takes the output directory as its argument.

    Raises
    ------
    RunFileError
        If the System of the run file cannot be made.
    """
    prepared = prepare(runfile)
    parts = [
        _HEAD.format(
            title=runfile.title or "A simulation.",
            name=runfile.document.name,
            folder=str(runfile.folder.resolve()),
        ),
        _structure(runfile),
        _system(runfile, prepared),
        _dynamics(runfile),
        _stages(runfile, prepared),
    ]
    return "\n".join(parts)


def _path(given: str) -> str:
    return f"str(Path({given!r}).expanduser())" if given.startswith("~") else f"str(HERE / {given!r})"


def _call(name: str, *arguments: str, **options: str) -> str:
    """Write a call, one argument on a line where it is long."""
    items = [*arguments, *(f"{key}={value}" for key, value in options.items())]
    line = f"{name}({', '.join(items)})"
    if len(line) <= 110:
        return line
    inner = "".join(f"    {item},\n" for item in items)
    return f"{name}(\n{inner})"


def _structure(runfile: RunFile) -> str:
    keys = runfile.structure
    file = _path(keys.file)
    box = []
    if keys.box is not None:
        a, b, c = keys.box
        vectors = f"openmm.Vec3({a}, 0, 0), openmm.Vec3(0, {b}, 0), openmm.Vec3(0, 0, {c})"
        box = [f"box = [{vectors}] * unit.nanometer"]
    if keys.coordinates is None:
        reader = "app.PDBFile" if keys.kind == "pdb" else "app.PDBxFile"
        lines = [f"structure = {reader}({file})", "topology, positions = structure.topology, structure.positions"]
        if box:
            lines += [*box, "topology.setPeriodicBoxVectors(box)"]
        return _text(lines)
    coordinates = _path(keys.coordinates)
    if keys.kind == "amber":
        lines = [
            f"coordinates = app.AmberInpcrdFile({coordinates})",
            *(box or ["box = coordinates.boxVectors"]),
            f"structure = app.AmberPrmtopFile({file}, periodicBoxVectors=box)",
        ]
    elif keys.kind == "gromacs":
        include = "" if keys.include is None else f", includeDir={_path(keys.include)}"
        lines = [
            f"coordinates = app.GromacsGroFile({coordinates})",
            *(box or ["box = coordinates.getPeriodicBoxVectors()"]),
            f"structure = app.GromacsTopFile({file}, periodicBoxVectors=box{include})",
        ]
    else:
        suffix = runfile.path(keys.coordinates).suffix.lower()
        reader = {".pdb": "app.PDBFile", ".cif": "app.PDBxFile"}.get(suffix, "app.CharmmCrdFile")
        known = "None" if reader == "app.CharmmCrdFile" else "coordinates.topology.getPeriodicBoxVectors()"
        lines = [
            f"coordinates = {reader}({coordinates})",
            *(box or [f"box = {known}"]),
            f"structure = app.CharmmPsfFile({file}, periodicBoxVectors=box)",
            _call("parameters = app.CharmmParameterSet", *map(_path, keys.parameters)),
        ]
    return _text([*lines, "topology, positions = structure.topology, coordinates.positions"])


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _system(runfile: RunFile, prepared: Prepared) -> str:
    lines = []
    structure, forcefield = runfile.structure, runfile.forcefield
    options = {name: option.text for name, option in forcefield_options(runfile, prepared.topology).items()}
    if structure.plain and forcefield is not None:
        files = [_path(name) if runfile.path(name).is_file() else repr(name) for name in forcefield.files]
        lines.append(_call("forcefield = app.ForceField", *files))
        lines.append(_call("classical = forcefield.createSystem", "topology", **options))
    elif not structure.plain:
        first = ("parameters",) if structure.kind == "charmm" else ()
        lines.append(_call("classical = structure.createSystem", *first, **options))
    if forcefield is not None and forcefield.dispersion_correction is not None:
        lines += [
            "for force in classical.getForces():",
            "    if isinstance(force, openmm.NonbondedForce):",
            f"        force.setUseDispersionCorrection({forcefield.dispersion_correction})",
        ]
    lines += _potential(runfile)
    if prepared.hybrid is not None:
        selection = () if runfile.region is None else runfile.region.selection
        chosen = repr(list(selection) if isinstance(selection, tuple) else selection)
        chosen_by = {name: repr(value) for name, value in region_options(runfile).items()}
        lines.append(f"region = {_call('openmm_nn.select_region', 'topology', 'classical', chosen, **chosen_by)}")
        extra = {name: repr(value) for name, value in hybrid_options(runfile).items()}
        embedding = _embedding(runfile)
        if embedding != repr("mechanical"):
            extra = {"embedding": embedding, **extra}
        call = _call("openmm_nn.create_hybrid_system", "topology", "classical", "potential", "region", **extra)
        lines += [f"hybrid = {call}", "print(hybrid.boundary_report())", "system = hybrid.system"]
    elif prepared.potential is not None:
        extra = {name: repr(value) for name, value in system_options(runfile).items()}
        lines.append(f"system = {_call('openmm_nn.create_system', 'topology', 'potential', **extra)}")
    else:
        lines.append("system = classical")
    return _text(lines)


def _embedding(runfile: RunFile) -> str:
    name = "mechanical" if runfile.region is None else runfile.region.embedding
    options = {key: repr(value) for key, value in embedding_options(runfile).items()}
    if not options:
        return repr(name)
    if name == "mechanical":
        return _call("openmm_nn.Mechanical", **options)
    return _call("openmm_nn.systems.hybrid.embeddings.find_embedding", repr(name), **options)


def _potential(runfile: RunFile) -> list[str]:
    keys = runfile.potential
    if keys is None:
        return []
    name = _path(keys.name) if runfile.path(keys.name).is_file() else repr(keys.name)
    options = {} if keys.device is None else {"device": repr(keys.device)}
    if keys.trust:
        options["trust"] = "True"
    lines = [f"potential = {_call('openmm_nn.load_potential', name, **options)}"]
    bias = None if runfile.uncertainty is None else runfile.uncertainty.bias
    if bias is not None:
        lines.append(f"potential = dynamics.bias_potential(potential, height={bias.height!r}, width={bias.width!r})")
    return lines


def _dynamics(runfile: RunFile) -> str:
    lines = []
    keys = runfile.dynamics
    if keys.ensemble == "NPT":
        lines += [
            f"barostat = openmm.MonteCarloBarostat({keys.pressure!r} * unit.bar, {keys.temperature!r} * unit.kelvin, "
            f"{keys.barostat_every})",
            f"barostat.setRandomNumberSeed({keys.seed})",
            "system.addForce(barostat)",
        ]
    step = f"{keys.timestep!r} * unit.picosecond"
    friction = f"{keys.friction!r} / unit.picosecond"
    if keys.method == "verlet":
        lines.append(f"integrator = openmm.VerletIntegrator({step})")
    else:
        name = "NoseHooverIntegrator" if keys.method == "nose-hoover" else "LangevinMiddleIntegrator"
        lines.append(f"integrator = openmm.{name}({keys.temperature!r} * unit.kelvin, {friction}, {step})")
    if keys.method == "langevin":
        lines.append(f"integrator.setRandomNumberSeed({keys.seed})")
    platform, properties = choose_platform(runfile)
    lines += [
        f"platform = openmm.Platform.getPlatformByName({platform.getName()!r})",
        f"simulation = app.Simulation(topology, system, integrator, platform, {properties!r})",
        "simulation.context.setPositions(positions)",
    ]
    for name, value in (runfile.potential.parameters if runfile.potential is not None else {}).items():
        lines.append(f"simulation.context.setParameter({name!r}, {value!r})")
    return _text(lines)


def _stages(runfile: RunFile, prepared: Prepared) -> str:
    lines: list[str] = []
    keys, minimise = runfile.dynamics, runfile.minimise
    if minimise.iterations:
        options = f"tolerance={minimise.tolerance!r}, maxIterations={minimise.iterations}"
        lines.append(f"simulation.minimizeEnergy({options})")
    if keys.temperature is not None:
        extra = f", {keys.seed}" if keys.seed else ""
        lines.append(f"simulation.context.setVelocitiesToTemperature({keys.temperature!r} * unit.kelvin{extra})")
    intervals = Intervals.of(runfile, False)
    lines += [
        "simulation.reporters.append(",
        "    dynamics.GuardReporter(",
        f"        {intervals.check},",
        "        [",
        *(f"            {guard}," for guard in _guards(runfile, prepared)),
        "        ],",
        "        folder=OUTPUT,",
        "    )",
        ")",
    ]
    steps = runfile.stages
    if steps["equilibrate"]:
        lines += [
            f"simulation.step({steps['equilibrate']})  # equilibrate",
            "simulation.context.setTime(0.0)",
            "simulation.currentStep = 0",
        ]
    atoms: list[str] = []
    if runfile.reporters.atoms is not None:
        lines.append("from openmm_nn.selection import select_atoms")
        atoms = [f"atomSubset=list(select_atoms(topology, {runfile.reporters.atoms!r}))"]
    frames = _call("app.XTCReporter", "str(OUTPUT / 'trajectory.xtc')", str(intervals.trajectory), *atoms)
    lines += [
        "simulation.reporters += [",
        "    app.StateDataReporter(",
        f"        str(OUTPUT / 'log.csv'), {intervals.log}, step=True, time=True, potentialEnergy=True,",
        "        kineticEnergy=True, totalEnergy=True, temperature=True, speed=True,",
        "    ),",
        f"    {frames},",
        f"    app.CheckpointReporter(str(OUTPUT / 'state.chk'), {intervals.checkpoint}),",
        "]",
        f"simulation.step({steps['produce']})  # produce",
        "simulation.saveState(str(OUTPUT / 'state.xml'))",
    ]
    return _text(lines)


def _guards(runfile: RunFile, prepared: Prepared) -> list[str]:
    from ..dynamics.guards import usual_jump, usual_limit
    from ..dynamics.samples import Measure

    keys, temperature, measure = runfile.guards, runfile.dynamics.temperature, Measure(prepared.system)
    region = list(prepared.region) or list(range(prepared.topology.getNumAtoms()))
    atoms = f"range({len(region)})" if region == list(range(len(region))) else repr(region)
    jump = keys.energy_jump.max or usual_jump(temperature or 300.0, measure.degrees)
    found = [("FiniteGuard()", keys.finite.action), (f"EnergyJumpGuard({jump:.6g})", keys.energy_jump.action)]
    if keys.force.max is not None:
        found.append((f"ForceGuard({keys.force.max:.6g}, {atoms})", keys.force.action))
    bonds = f"BondGuard(topology, {atoms}, low={keys.bonds.min!r}, high={keys.bonds.max!r})"
    found.append((bonds, keys.bonds.action))
    hot = keys.temperature.max
    if hot is None and temperature is not None:
        hot = usual_limit(temperature, measure.degrees)
    if hot is not None:
        found.append((f"TemperatureGuard({hot:.6g})", keys.temperature.action))
    spread = keys.uncertainty
    if spread is not None and spread.limited:
        limits = {"max_energy": spread.max_energy, "max_force": spread.max_force}
        options = ", ".join(f"{name}={value!r}" for name, value in limits.items() if value is not None)
        found.append((f"UncertaintyGuard({options})", spread.action))
    return [f"(dynamics.{guard}, {action!r})" for guard, action in found if action != "off"]
