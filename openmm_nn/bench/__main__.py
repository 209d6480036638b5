"""The command line of the measurements."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path

from .model import ModelResult, measure_model
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
    if "openmm-ml" in result.times:
        lines.append(f"hybrid / openmm-ml: {result.ratio('hybrid', 'openmm-ml'):.3f}")
    if result.work:
        lines.append("work of the neural part a step: " + ", ".join(f"{v:g} {k}" for k, v in result.work.items()))
    return "\n".join(lines)


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
    step.add_argument("--no-peers", action="store_true", help="leave openmm-ml out")
    step.add_argument("--json", type=Path, help="write the numbers here too")
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
    arguments = parser.parse_args()
    if not arguments.structure.is_file():
        parser.error(f"--structure: no file {arguments.structure}; give a PDB file of a molecule in a box of water")
    result: StepResult | ModelResult
    if arguments.command == "model":
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
        text = result.table()
    else:
        result = measure_step(
            arguments.structure,
            arguments.region,
            potential=arguments.potential,
            waters=arguments.waters,
            rounds=arguments.rounds,
            steps=arguments.steps,
            threads=arguments.threads,
            platform_name=arguments.platform,
            peers=not arguments.no_peers,
        )
        text = table(result)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(dataclasses.asdict(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
