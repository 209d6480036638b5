"""The command line of the measurements."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import OpenMMNNError, ParameterError
from .committee_cost import measure_committee
from .contexts import where
from .model_cost import measure_model
from .multistep_cost import measure_multistep
from .plot import check_plot, draw_committee, draw_model, draw_scaling, draw_step
from .result_tables import committee_table, hybrid_table, model_table, scaling_table, step_table
from .scaling import measure_environment, measure_region
from .setup_cost import SetupResult, measure_interpolation, measure_large_region, measure_setup
from .step import StepResult, measure_step
from .subjects import BOXED, SYSTEMS

_PARTS = ("interpolation", "large", "setup")
_WHOLE = ("peptide", "helix", "cb7")  # whose region is a molecule
_WATERS = (700, 3300, 10000)


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m openmm_nn.bench") -> None:
    """Run the measurement that the command line names.

    Parameters
    ----------
    arguments
        What follows the program's name; None for those of the process.
    prog
        What the program calls itself.

    Raises
    ------
    OpenMMNNError
        If something is missing or not allowed.
    """
    parser = argparse.ArgumentParser(prog=prog, description="Measure, against peers that are installed.")
    commands = parser.add_subparsers(required=True, metavar="step|hybrid|model|scaling|committee|multistep")
    for add in (_add_step, _add_hybrid, _add_model, _add_scaling, _add_committee, _add_multistep):
        add(commands)
    given = parser.parse_args(arguments)
    if given.json:
        _check_folder(given.json)
    if getattr(given, "plot", None):
        check_plot(given.plot)
    text, numbers = given.measure(given)
    sys.stdout.write(text + "\n")
    if given.json:
        given.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise ParameterError("json", str(path), "a file in a folder that exists", "make the folder first")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}; allowed: 1 and above")
    return number


def _add(commands: Any, name: str, measure: Any, words: str, *, systems: Sequence[str] = (), rounds: int = 0) -> Any:
    """Add a command with what all have in common."""
    command = commands.add_parser(name, help=words)
    command.set_defaults(measure=measure)
    source: Any = command
    if systems:
        source = command.add_mutually_exclusive_group()
        source.add_argument(
            "--system", choices=systems, dest="structure", default="peptide",
            help="of the examples (peptide), built (helix) or of openmmtools' data (dhfr, cb7); default: %(default)s",
        )  # fmt: skip
    source.add_argument("--structure", default="peptide", help="a PDB file of a molecule in water")
    if rounds:
        command.add_argument("--rounds", type=_count, default=rounds, help="default: %(default)s")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    return command


def _add_region(command: Any, potential: str | None) -> None:
    command.add_argument("--region", help="MDTraj selection (default: the system's own, or resname ACE ALA NME)")
    if potential:
        command.add_argument("--potential", default=potential, help="name or file (default: %(default)s)")


def _add_threads(command: Any) -> None:
    command.add_argument("--threads", type=int, default=0, help="threads of torch; 0 for the default of the engine")


def _add_platform(command: Any) -> None:
    command.add_argument("--platform", default="CPU", help="of OpenMM (default: %(default)s)")


def _add_plot(command: Any) -> None:
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw the numbers: a .png, .svg or .pdf")


def _add_step(commands: Any) -> None:
    command = _add(commands, "step", _step, "time of a hybrid step", systems=SYSTEMS, rounds=15)
    _add_region(command, "ani2x/0")
    _add_threads(command)
    _add_platform(command)
    _add_plot(command)
    command.add_argument("--waters", type=_count, help="solvate the region again, in so many waters")
    command.add_argument("--steps", type=_count, default=40, help="of each contender in a round (default: %(default)s)")
    command.add_argument("--cuda-graphs", action="store_true", help="record the model as a CUDA graph and replay it")
    command.add_argument("--no-peers", action="store_true", help="leave openmm-ml and openmm-torch out")


def _step(given: argparse.Namespace) -> tuple[str, Any]:
    result = measure_step(
        given.structure,
        given.region,
        potential=given.potential,
        waters=given.waters,
        rounds=given.rounds,
        steps=given.steps,
        threads=given.threads,
        platform=given.platform,
        cuda_graphs=given.cuda_graphs,
        peers=not given.no_peers,
    )
    if given.plot:
        draw_step(result, given.plot)
    return step_table(result), dataclasses.asdict(result)


def _add_hybrid(commands: Any) -> None:
    words = "interpolation, large regions and setting up, against openmm-ml"
    command = _add(commands, "hybrid", _hybrid, words, rounds=7)
    command.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(_PARTS)}; or all")
    command.add_argument("--potential", default="ani2x/0", help="of the interpolation (default: %(default)s)")
    _add_platform(command)
    command.add_argument("--no-peers", action="store_true", help="leave openmm-ml out")


def _hybrid(given: argparse.Namespace) -> tuple[str, Any]:
    parts = given.parts or _PARTS
    if unknown := set(parts).difference(_PARTS):
        got = " ".join(sorted(unknown))
        raise ParameterError("part", got, ", ".join(_PARTS), "name some of these, or none")
    common = {"platform": given.platform, "peers": not given.no_peers}
    results: dict[str, StepResult | SetupResult] = {}
    if "interpolation" in parts:
        results["interpolation"] = measure_interpolation(
            given.structure, potential=given.potential, rounds=given.rounds, **common
        )
    if "large" in parts:
        results["large"] = measure_large_region(given.structure, rounds=given.rounds, **common)
    if "setup" in parts:
        results["setup"] = measure_setup(given.structure, **common)
    text = "\n\n".join(f"== {name}\n{hybrid_table(result)}" for name, result in results.items())
    return text, {name: dataclasses.asdict(result) for name, result in results.items()}


def _add_model(commands: Any) -> None:
    words = "time of an evaluation, TorchScript and compiled"
    command = _add(commands, "model", _model, words, systems=_WHOLE, rounds=15)
    _add_region(command, "openmm-nn/hcno-1")
    _add_threads(command)
    _add_plot(command)
    command.add_argument("--package", type=Path, help="the same compiled (default: compile the bundled one; a minute)")
    command.add_argument("--portable", action="store_true", help="compile for every processor of this kind")
    command.add_argument("--platform", choices=("Reference", "CUDA"), default="Reference", help="CUDA: for this GPU")
    command.add_argument("--sizes", type=_count, nargs="+", default=[22, 200], help="atoms, about (default: 22 200)")


def _model(given: argparse.Namespace) -> tuple[str, Any]:
    result = measure_model(
        given.structure,
        scripted=given.potential,
        package=given.package,
        region=given.region,
        sizes=given.sizes,
        rounds=given.rounds,
        threads=given.threads,
        portable=given.portable,
        platform=given.platform,
    )
    if given.plot:
        draw_model(result, given.plot)
    return model_table(result), dataclasses.asdict(result)


def _add_scaling(commands: Any) -> None:
    words = "how a hybrid step grows with the environment and the region"
    command = _add(commands, "scaling", _scaling, words, systems=SYSTEMS, rounds=5)
    _add_region(command, "openmm-nn/hcno-1")
    _add_platform(command)
    _add_plot(command)
    usual = f"default: {' '.join(map(str, _WATERS))}; none for {', '.join(BOXED)}"
    command.add_argument("--waters", type=_count, nargs="*", help=f"of the environments ({usual})")
    command.add_argument(
        "--sizes", type=_count, nargs="*", default=[22, 82, 202, 622], help="atoms of the regions, about"
    )


def _scaling(given: argparse.Namespace) -> tuple[str, Any]:
    waters = given.waters if given.waters is not None else () if given.structure in BOXED else _WATERS
    common = {"potential": given.potential, "rounds": given.rounds, "platform": given.platform}
    results = {
        "environment": measure_environment(given.structure, given.region, waters=waters, **common),
        "region": measure_region(given.structure, given.region, sizes=given.sizes, **common),
    }
    results = {name: rows for name, rows in results.items() if rows}
    if given.plot and results:
        setting = {"system": Path(given.structure).name, "potential": given.potential, **where(given.platform)}
        draw_scaling(results, setting, given.plot)
    text = "\n\n".join(f"== {name}, ms a step\n{scaling_table(rows)}" for name, rows in results.items())
    return text, {name: [dataclasses.asdict(row) for row in rows] for name, rows in results.items()}


def _add_committee(commands: Any) -> None:
    words = "time of an evaluation by one and by several members"
    command = _add(commands, "committee", _committee, words, systems=_WHOLE, rounds=15)
    _add_region(command, None)
    _add_threads(command)
    _add_platform(command)
    _add_plot(command)
    command.add_argument("--committee", default="ani2x", help="name or file of all members (default: %(default)s)")
    command.add_argument("--members", nargs="+", default=[f"ani2x/{index}" for index in range(8)], metavar="MEMBER",
                         help="names or files (default: ani2x/0 to ani2x/7)")  # fmt: skip
    command.add_argument("--sizes", type=_count, nargs="+", default=[2, 4, 8], help="members (default: 2 4 8)")


def _committee(given: argparse.Namespace) -> tuple[str, Any]:
    result = measure_committee(
        given.structure,
        given.region,
        committee=given.committee,
        members=given.members,
        sizes=given.sizes,
        rounds=given.rounds,
        threads=given.threads,
        platform=given.platform,
    )
    if given.plot:
        draw_committee(result, given.plot)
    return committee_table(result), dataclasses.asdict(result)


def _add_multistep(commands: Any) -> None:
    words = "the audit of multiple time steps: speed, temperatures and observables against single steps of 1 fs"
    command = _add(commands, "multistep", _multistep, words, systems=_WHOLE)
    command.set_defaults(structure="helix")
    _add_region(command, "openmm-nn/hcno-1")
    _add_platform(command)
    command.add_argument("--size", type=_count, help="take in molecules around the region, up to so many atoms")
    command.add_argument("--outer", type=float, nargs="+", default=[3.0], help="of the potential, fs (default: 3)")
    command.add_argument("--medium", type=float, default=3.0, help="of the nonbonded terms, fs (default: %(default)s)")
    command.add_argument("--duration", type=float, default=2.0, help="of each run, ps (default: %(default)s)")
    command.add_argument("--replicas", type=_count, default=1, help="runs of each step (default: %(default)s)")
    command.add_argument("--seed", type=_count, default=1, help="of the first of them (default: %(default)s)")
    command.add_argument("--half", action="store_true", help="single steps of half the length, too")


def _multistep(given: argparse.Namespace) -> tuple[str, Any]:
    audit = measure_multistep(
        given.structure,
        given.region,
        size=given.size,
        potential=given.potential,
        outer=[0.001 * step for step in given.outer],
        medium=0.001 * given.medium,
        duration=given.duration,
        platform=given.platform,
        seed=given.seed,
        replicas=given.replicas,
        half=given.half,
    )
    return audit.to_text(), audit.to_json()


if __name__ == "__main__":
    try:
        main()
    except OpenMMNNError as error:
        sys.exit(f"error: {error}")
