"""A run file as a Python script, so that nobody is locked in."""

from __future__ import annotations

from typing import Any

from .driver import Intervals
from .preparation import (
    Prepared,
    choose_platform,
    embedding_options,
    hybrid_options,
    integrator_name,
    prepare,
    region_options,
    system_options,
)
from .runfile import RunFile
from .schema import STRUCTURE_KINDS
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
            title=runfile.get("title") or "A simulation.",
            name=runfile.document.name,
            folder=str(runfile.folder.resolve()),
        ),
        _structure(runfile),
        _system(runfile, prepared),
        _dynamics(runfile),
        _stages(runfile, prepared),
    ]
    return "\n".join(parts)


def _path(runfile: RunFile, *keys: str | int) -> str:
    given = str(runfile.document.get(*keys))
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
    kind = STRUCTURE_KINDS[runfile.path("structure", "file").suffix.lower()]
    file = _path(runfile, "structure", "file")
    box = []
    if runfile.given("structure", "box"):
        a, b, c = _edges(runfile)
        vectors = f"openmm.Vec3({a}, 0, 0), openmm.Vec3(0, {b}, 0), openmm.Vec3(0, 0, {c})"
        box = [f"box = [{vectors}] * unit.nanometer"]
    if kind in ("pdb", "pdbx"):
        reader = "app.PDBFile" if kind == "pdb" else "app.PDBxFile"
        lines = [f"structure = {reader}({file})", "topology, positions = structure.topology, structure.positions"]
        if box:
            lines += [*box, "topology.setPeriodicBoxVectors(box)"]
        return _text(lines)
    coordinates = _path(runfile, "structure", "coordinates")
    if kind == "amber":
        lines = [
            f"coordinates = app.AmberInpcrdFile({coordinates})",
            *(box or ["box = coordinates.boxVectors"]),
            f"structure = app.AmberPrmtopFile({file}, periodicBoxVectors=box)",
        ]
    elif kind == "gromacs":
        include = ""
        if runfile.given("structure", "include"):
            include = f", includeDir={_path(runfile, 'structure', 'include')}"
        lines = [
            f"coordinates = app.GromacsGroFile({coordinates})",
            *(box or ["box = coordinates.getPeriodicBoxVectors()"]),
            f"structure = app.GromacsTopFile({file}, periodicBoxVectors=box{include})",
        ]
    else:
        suffix = runfile.path("structure", "coordinates").suffix.lower()
        reader = {".pdb": "app.PDBFile", ".cif": "app.PDBxFile"}.get(suffix, "app.CharmmCrdFile")
        known = "None" if reader == "app.CharmmCrdFile" else "coordinates.topology.getPeriodicBoxVectors()"
        count = len(runfile.get("structure", "parameters"))
        files = [_path(runfile, "structure", "parameters", index) for index in range(count)]
        lines = [
            f"coordinates = {reader}({coordinates})",
            *(box or [f"box = {known}"]),
            f"structure = app.CharmmPsfFile({file}, periodicBoxVectors=box)",
            _call("parameters = app.CharmmParameterSet", *files),
        ]
    return _text([*lines, "topology, positions = structure.topology, coordinates.positions"])


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _edges(runfile: RunFile) -> list[float]:
    from .quantities import parse_quantity

    return [parse_quantity(edge, "length") or 0.0 for edge in runfile.get("structure", "box")]


def _system(runfile: RunFile, prepared: Prepared) -> str:
    lines = []
    kind = STRUCTURE_KINDS[runfile.path("structure", "file").suffix.lower()]
    options = {name: option.text for name, option in forcefield_options(runfile, prepared.topology).items()}
    classical = runfile.given("forcefield") or kind not in ("pdb", "pdbx")
    if classical and kind in ("pdb", "pdbx"):
        count = len(runfile.get("forcefield", "files"))
        files = [_forcefield_file(runfile, index) for index in range(count)]
        lines.append(_call("forcefield = app.ForceField", *files))
        lines.append(_call("classical = forcefield.createSystem", "topology", **options))
    elif classical:
        first = ("parameters",) if kind == "charmm" else ()
        lines.append(_call("classical = structure.createSystem", *first, **options))
    correction = runfile.get("forcefield", "dispersion_correction")
    if classical and correction is not None:
        lines += [
            "for force in classical.getForces():",
            "    if isinstance(force, openmm.NonbondedForce):",
            f"        force.setUseDispersionCorrection({bool(correction)})",
        ]
    lines += _potential(runfile)
    if prepared.hybrid is not None:
        region = runfile.get("region", "select")
        chosen = repr(region) if region is not None else repr(list(runfile.get("region", "atoms")))
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
    name = str(runfile.get("region", "embedding"))
    options = {key: repr(value) for key, value in embedding_options(runfile).items()}
    if not options:
        return repr(name)
    if name == "mechanical":
        return _call("openmm_nn.Mechanical", **options)
    return _call("openmm_nn.systems.hybrid.embeddings.find_embedding", repr(name), **options)


def _forcefield_file(runfile: RunFile, index: int) -> str:
    name = str(runfile.document.get("forcefield", "files", index))
    local = runfile.path("forcefield", "files", index).is_file()
    return _path(runfile, "forcefield", "files", index) if local else repr(name)


def _potential(runfile: RunFile) -> list[str]:
    if not runfile.given("potential"):
        return []
    name = repr(str(runfile.get("potential", "name")))
    if runfile.path("potential", "name").is_file():
        name = _path(runfile, "potential", "name")
    options = {}
    if runfile.get("potential", "device") is not None:
        options["device"] = repr(runfile.get("potential", "device"))
    if runfile.get("potential", "trust"):
        options["trust"] = "True"
    lines = [f"potential = {_call('openmm_nn.load_potential', name, **options)}"]
    if runfile.given("uncertainty", "bias"):
        height, width = (runfile.quantity("uncertainty", "bias", key) for key in ("height", "width"))
        lines.append(f"potential = dynamics.bias_potential(potential, height={height!r}, width={width!r})")
    return lines


def _dynamics(runfile: RunFile) -> str:
    lines = []
    seed = int(runfile.get("dynamics", "seed"))
    temperature = runfile.temperature
    if runfile.get("dynamics", "ensemble") == "NPT":
        pressure = runfile.quantity("dynamics", "pressure")
        lines += [
            f"barostat = openmm.MonteCarloBarostat({pressure!r} * unit.bar, {temperature!r} * unit.kelvin, "
            f"{int(runfile.get('dynamics', 'barostat_every'))})",
            f"barostat.setRandomNumberSeed({seed})",
            "system.addForce(barostat)",
        ]
    step = f"{runfile.timestep!r} * unit.picosecond"
    friction = f"{runfile.quantity('dynamics', 'friction') or 1.0!r} / unit.picosecond"
    kind = integrator_name(runfile)
    if kind == "verlet":
        lines.append(f"integrator = openmm.VerletIntegrator({step})")
    else:
        name = "NoseHooverIntegrator" if kind == "nose-hoover" else "LangevinMiddleIntegrator"
        lines.append(f"integrator = openmm.{name}({temperature!r} * unit.kelvin, {friction}, {step})")
    if kind == "langevin":
        lines.append(f"integrator.setRandomNumberSeed({seed})")
    platform, properties = choose_platform(runfile)
    lines += [
        f"platform = openmm.Platform.getPlatformByName({platform.getName()!r})",
        f"simulation = app.Simulation(topology, system, integrator, platform, {properties!r})",
        "simulation.context.setPositions(positions)",
    ]
    for name, value in (runfile.get("potential", "parameters") or {}).items():
        lines.append(f"simulation.context.setParameter({name!r}, {float(value)!r})")
    return _text(lines)


def _stages(runfile: RunFile, prepared: Prepared) -> str:
    lines: list[str] = []
    seed = int(runfile.get("dynamics", "seed"))
    iterations = int(runfile.get("minimise", "iterations"))
    if iterations:
        tolerance = runfile.quantity("minimise", "tolerance") or 10.0
        lines.append(f"simulation.minimizeEnergy(tolerance={tolerance!r}, maxIterations={iterations})")
    if runfile.temperature is not None:
        extra = f", {seed}" if seed else ""
        lines.append(f"simulation.context.setVelocitiesToTemperature({runfile.temperature!r} * unit.kelvin{extra})")
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
    if runfile.steps("equilibrate"):
        lines += [
            f"simulation.step({runfile.steps('equilibrate')})  # equilibrate",
            "simulation.context.setTime(0.0)",
            "simulation.currentStep = 0",
        ]
    atoms: list[str] = []
    if runfile.given("reporters", "atoms"):
        lines.append("from openmm_nn.selection import select_atoms")
        atoms = [f"atomSubset=list(select_atoms(topology, {runfile.get('reporters', 'atoms')!r}))"]
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
        f"simulation.step({runfile.steps('produce')})  # produce",
        "simulation.saveState(str(OUTPUT / 'state.xml'))",
    ]
    return _text(lines)


def _guards(runfile: RunFile, prepared: Prepared) -> list[str]:
    found: list[str] = []

    def add(name: str, text: str) -> None:
        action = runfile.guard(name).action
        if action != "off":
            found.append(f"(dynamics.{text}, {action!r})")

    from ..dynamics.guards import usual_jump, usual_limit
    from ..dynamics.samples import Measure

    measure = Measure(prepared.system)
    temperature = runfile.temperature
    limits: dict[str, Any] = dict(runfile.guard("bonds").limits)
    region = list(prepared.region) or list(range(prepared.topology.getNumAtoms()))
    atoms = f"range({len(region)})" if region == list(range(len(region))) else repr(region)
    add("finite", "FiniteGuard()")
    jump = runfile.guard("energy_jump").limits.get("max", usual_jump(temperature or 300.0, measure.degrees))
    add("energy_jump", f"EnergyJumpGuard({jump:.6g})")
    force = runfile.guard("force").limits
    if force:
        add("force", f"ForceGuard({force['max']:.6g}, {atoms})")
    add("bonds", f"BondGuard(topology, {atoms}, low={limits['min']!r}, high={limits['max']!r})")
    hot = runfile.guard("temperature").limits.get("max")
    if hot is None and temperature is not None:
        hot = usual_limit(temperature, measure.degrees)
    if hot is not None:
        add("temperature", f"TemperatureGuard({hot:.6g})")
    spread = runfile.guard("uncertainty").limits
    if spread:
        options = ", ".join(f"{key}={value!r}" for key, value in spread.items())
        add("uncertainty", f"UncertaintyGuard({options})")
    return found
