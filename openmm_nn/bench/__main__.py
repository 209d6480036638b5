"""The command line of the measurements."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path

from .hybrid import SetupResult, measure_interpolation, measure_large_region, measure_setup
from .model import measure_model
from .scaling import measure_environment, measure_region, scaling_table
from .step import StepResult, measure_step

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "data" / "alanine-dipeptide-explicit.pdb"


def table(result: StepResult) -> str:
    """Write a result as text.

    Parameters
    ----------
    result
        From `measure_step`.

    Returns
    -------
    str
        A table of medians and spreads, the counted work, and the ratios.
    """
    lines = [f"{name}: {value}" for name, value in result.setting.items()]
    lines += ["", f"{'':20} {'median':>9} {'min':>9} {'max':>9}   ms a step"]
    for name, values in result.times.items():
        lines.append(f"{name:20} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f}")
    lines.append("")
    overhead = result.median("hybrid") - result.median("classical + model")
    lines.append(f"hybrid / (classical + model in one loop): {result.ratio('hybrid', 'classical + model'):.3f}")
    lines.append(f"overhead over that loop: {overhead:+.3f} ms")
    for peer in ("openmm-ml", "openmm-torch"):
        if peer in result.times:
            lines.append(f"hybrid / {peer}: {result.ratio('hybrid', peer):.3f}")
    if result.work:
        lines.append("work of the neural part a step: " + ", ".join(f"{v:g} {k}" for k, v in result.work.items()))
    return "\n".join(lines)


def hybrid_table(result: StepResult | SetupResult) -> str:
    """Write what a hybrid costs as text.

    Parameters
    ----------
    result
        From `measure_interpolation`, `measure_large_region` or `measure_setup`.

    Returns
    -------
    str
        A table, and for steps the ratios.
    """
    lines = [f"{name}: {value}" for name, value in result.setting.items()] + [""]
    if isinstance(result, SetupResult):
        names = list(result.seconds)
        lines.append(f"{'atoms':>6}  " + "".join(f"{name + ', s':>16}{name + ', MB':>16}" for name in names))
        for row, atoms in enumerate(result.atoms):
            cells = "".join(f"{result.seconds[name][row]:16.3f}{result.megabytes[name][row]:16.0f}" for name in names)
            lines.append(f"{atoms:6d}  {cells}")
        return "\n".join(lines)
    lines.append(f"{'':22} {'median':>9} {'min':>9} {'max':>9}   ms a step")
    for name, values in result.times.items():
        lines.append(f"{name:22} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f}")
    ratios = (("interpolated", "hybrid"), ("interpolated", "openmm-ml interpolated"), ("hybrid", "openmm-ml"))
    known = [(one, other) for one, other in ratios if {one, other} <= set(result.times)]
    return "\n".join([*lines, "", *(f"{one} / {other}: {result.ratio(one, other):.3f}" for one, other in known)])


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m openmm_nn.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    step = commands.add_parser("step", help="time of a hybrid step")
    step.add_argument("--structure", type=Path, default=_EXAMPLE, help="a PDB file (default: the examples' peptide)")
    step.add_argument("--region", default="resname ACE ALA NME", help="MDTraj selection (default: %(default)s)")
    step.add_argument("--potential", default="ani2x/0", help="name or file (default: %(default)s)")
    step.add_argument("--waters", type=int, help="solvate the region again, in so many waters")
    step.add_argument("--rounds", type=int, default=15)
    step.add_argument("--steps", type=int, default=40, help="steps of each contender in a round")
    step.add_argument("--threads", type=int, default=0, help="threads of torch; 0 for the default of the engine")
    step.add_argument("--platform", default="CPU")
    step.add_argument("--cuda-graphs", action="store_true", help="record the model as a CUDA graph and replay it")
    step.add_argument("--no-peers", action="store_true", help="leave openmm-ml out")
    step.add_argument("--json", type=Path, help="write the numbers here too")
    hybrid = commands.add_parser("hybrid", help="interpolation, large regions and setting up, against openmm-ml")
    hybrid.add_argument("parts", nargs="*", metavar="part", help="interpolation, large, setup; all by default")
    hybrid.add_argument("--structure", type=Path, default=_EXAMPLE, help="a PDB file (default: the examples' peptide)")
    hybrid.add_argument("--potential", default="ani2x/0", help="of the interpolation (default: %(default)s)")
    hybrid.add_argument("--rounds", type=int, default=7)
    hybrid.add_argument("--platform", default="CPU")
    hybrid.add_argument("--no-peers", action="store_true", help="leave openmm-ml out")
    hybrid.add_argument("--json", type=Path, help="write the numbers here too")
    model = commands.add_parser("model", help="time of an evaluation, TorchScript and compiled")
    model.add_argument("--structure", type=Path, default=_EXAMPLE, help="a PDB file (default: the examples' peptide)")
    model.add_argument("--region", default="resname ACE ALA NME", help="MDTraj selection (default: %(default)s)")
    model.add_argument("--potential", default="openmm-nn/hcno-1", help="as TorchScript (default: %(default)s)")
    model.add_argument("--package", type=Path, help="the same compiled (default: compile the bundled one; a minute)")
    model.add_argument("--portable", action="store_true", help="compile for every processor of this kind")
    model.add_argument("--sizes", type=int, nargs="+", default=[22, 200], help="atoms, about (default: 22 200)")
    model.add_argument("--rounds", type=int, default=15)
    model.add_argument("--threads", type=int, default=0, help="threads of torch; 0 for the default of the engine")
    model.add_argument("--json", type=Path, help="write the numbers here too")
    scaling = commands.add_parser("scaling", help="how a hybrid step grows with the environment and the region")
    scaling.add_argument("--structure", type=Path, default=_EXAMPLE, help="a PDB file (default: the examples' peptide)")
    scaling.add_argument("--region", default="resname ACE ALA NME", help="MDTraj selection (default: %(default)s)")
    scaling.add_argument("--potential", default="openmm-nn/hcno-1", help="name or file (default: %(default)s)")
    scaling.add_argument("--waters", type=int, nargs="*", default=[700, 3300, 10000], help="of the environments")
    scaling.add_argument("--sizes", type=int, nargs="*", default=[22, 82, 202, 622], help="atoms of the regions, about")
    scaling.add_argument("--rounds", type=int, default=5)
    scaling.add_argument("--platform", default="CPU")
    scaling.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    if not arguments.structure.is_file():
        parser.error(f"--structure: no file {arguments.structure}; give a PDB file of a molecule in a box of water")
    if arguments.command == "hybrid":
        _hybrid(arguments, parser)
        return
    if arguments.command == "model":
        _model(arguments)
        return
    if arguments.command == "scaling":
        _scaling(arguments)
        return
    result = measure_step(
        arguments.structure,
        arguments.region,
        potential=arguments.potential,
        waters=arguments.waters,
        rounds=arguments.rounds,
        steps=arguments.steps,
        threads=arguments.threads,
        platform_name=arguments.platform,
        cuda_graphs=arguments.cuda_graphs,
        peers=not arguments.no_peers,
    )
    sys.stdout.write(table(result) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(dataclasses.asdict(result), indent=1) + "\n")


def _hybrid(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    parts = {"interpolation", "large", "setup"}
    wanted = arguments.parts or sorted(parts)
    if not parts.issuperset(wanted):
        parser.error(f"got {' '.join(wanted)}; allowed are {', '.join(sorted(parts))}; name some of these, or none")
    common = {"platform_name": arguments.platform, "peers": not arguments.no_peers}
    results: dict[str, StepResult | SetupResult] = {}
    if "interpolation" in wanted:
        results["interpolation"] = measure_interpolation(
            arguments.structure, potential=arguments.potential, rounds=arguments.rounds, **common
        )
    if "large" in wanted:
        results["large"] = measure_large_region(arguments.structure, rounds=arguments.rounds, **common)
    if "setup" in wanted:
        results["setup"] = measure_setup(arguments.structure, **common)
    for name, result in results.items():
        sys.stdout.write(f"== {name}\n{hybrid_table(result)}\n\n")
    if arguments.json:
        numbers = {name: dataclasses.asdict(result) for name, result in results.items()}
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")


def _model(arguments: argparse.Namespace) -> None:
    result = measure_model(
        arguments.structure,
        scripted=arguments.potential,
        package=arguments.package,
        region=arguments.region,
        sizes=arguments.sizes,
        rounds=arguments.rounds,
        threads=arguments.threads,
        portable=arguments.portable,
    )
    sys.stdout.write(result.table() + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(dataclasses.asdict(result), indent=1) + "\n")


def _scaling(arguments: argparse.Namespace) -> None:
    common = {
        "potential": arguments.potential,
        "rounds": arguments.rounds,
        "platform_name": arguments.platform,
    }
    results = {
        "environment": measure_environment(arguments.structure, arguments.region, waters=arguments.waters, **common),
        "region": measure_region(arguments.structure, arguments.region, sizes=arguments.sizes, **common),
    }
    for name, rows in results.items():
        sys.stdout.write(f"== {name}, ms a step\n{scaling_table(rows)}\n\n")
    if arguments.json:
        numbers = {name: [dataclasses.asdict(row) for row in rows] for name, rows in results.items()}
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
