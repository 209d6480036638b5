# ruff: noqa: E501 (the page is written as it is read)
"""Write PROVENANCE.md from the files that the other scripts left: no number in it is typed by hand.

python -m training.provenance --folder openmm_nn/potentials/bundled
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path


def table(head: list[str], rows: list[list[object]]) -> str:
    """Format a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def verdict(fulfilled: bool) -> str:
    """Say whether a target is met."""
    return "met" if fulfilled else "**not met**"


def write(folder: Path) -> str:
    """Compose the page."""
    report = json.loads((folder / "validation.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    curve = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    parts = [
        _opening(manifest, curve),
        _targets(report),
        _errors(report),
        _rest(report),
        _data(manifest),
        _curve(curve),
        _use(),
    ]
    return "\n".join(parts)


def _opening(manifest: dict, curve: list[dict]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in manifest["versions"].items())
    return f"""# Provenance of `openmm-nn/hcno-1`

A committee of four small invariant message-passing networks for neutral, closed-shell molecules of H, C, N and O, made
by the scripts in `training/` from nothing but what PyPI has. It imitates GFN2-xTB (doi:10.1021/acs.jctc.8b01176), a
semi-empirical method: it is as right as that is, at best. Every number on this page was measured by
`training/validate.py`, which left `validation.json` beside it, and was put here by `training/provenance.py`.

- **Labels**: {manifest["labels"]} energies and forces of {manifest["molecules"]} molecules and clusters, split by
  molecule: {manifest["molecules_by_split"]["train"]} for training, {manifest["molecules_by_split"]["validation"]} to
  watch it, {manifest["molecules_by_split"]["test"]} that nothing but the tests below ever saw
  ({manifest["labels_by_split"]["train"]}, {manifest["labels_by_split"]["validation"]} and
  {manifest["labels_by_split"]["test"]} labels). Made with {versions}.
- **Training**: {_training(curve)}
  A new run by the commands below gives another set of weights, not this one.
- **Shape**: cutoff 5 Å, one message, so that an atom feels atoms up to 10 Å away; no charges, no dispersion or
  electrostatics beyond that.
"""


#: What was added to the labels before each stretch after the first.
STRETCHES = ("with the kinds `scatter` and `hole` added", "with the holes of the stretch before added")


def _training(curve: list[dict]) -> str:
    last = {row["stretch"]: row for row in curve}
    parts = []
    for index, (_, row) in enumerate(sorted(last.items())):
        start = "from scratch" if index == 0 else f"from the averaged weights of that, {STRETCHES[index - 1]}"
        where = "two CPU cores" if row["device"] == "cpu" else f"one {row['device']}"
        parts.append(
            f"{start}, {row['step']} steps of {row['pairs']} ordered pairs of atoms ({row['epoch']} passes, the last not "
            f"whole), {row['seconds'] / 60:.1f} minutes on {where}"
        )
    return ";\n  then ".join(parts) + ", seed 1. The learning rate fell with the time of each stretch."


def _targets(report: dict) -> str:
    errors, spread = report["errors"], report["spread"]
    rows: list[list[object]] = []

    def add(target: str, measured: str, fulfilled: bool) -> None:
        rows.append([target, measured, verdict(fulfilled)])

    force = errors["all"]["force_mae"]
    add(
        "force MAE on unseen molecules ≤ 2.0 kcal/mol/Å", f"{force:.2f} ({errors['molecules']} molecules)", force <= 2.0
    )
    if "conformers" in report:
        c = report["conformers"]
        add(
            "relative energy of their conformers, MAE ≤ 1.0 kcal/mol",
            f"{c['mae']:.2f} ({c['conformers']} minima of {c['molecules']} molecules)",
            c["mae"] <= 1.0,
        )
    if "torsions" in report:
        t = report["torsions"]
        alone = [len(t[f"minima_of_the_{which}_alone"]) for which in ("reference", "potential")]
        add(
            "φ/ψ map of alanine dipeptide: RMSE ≤ 1 kcal/mol below 6",
            f"{t['rmse_below_6']:.2f} over {t['points_below_6']} points",
            t["rmse_below_6"] <= 1.0,
        )
        add(
            "the same minima",
            f"{len(t['minima'])} pairs; {alone[0]} of GFN2-xTB alone, {alone[1]} of the potential alone",
            not any(alone),
        )
    add(
        "rank correlation of σ_F with the error ≥ 0.4",
        f"{spread['force_rank_correlation']:.2f}",
        spread["force_rank_correlation"] >= 0.4,
    )
    ratio = spread["largest_to_smallest_decile"]
    add("largest decile of σ_F has ≥ 3 times the error of the smallest", f"{ratio:.1f} times", ratio >= 3)
    if "speed" in report:
        s = report["speed"]
        for name, title in (("torchscript", "this file, frozen"), ("compiled", "compiled from it by AOTInductor")):
            one, two = (s[f"{name}, {n} threads"] for n in (1, 2))
            best = min((one, two), key=lambda t: t["median_ms"])
            add(
                f"energy and forces of 22 atoms ≤ 1.5 ms on two cores: {title}",
                f"median {one['median_ms']:.2f} ms with one thread, {two['median_ms']:.2f} with two; at best {one['fastest_ms']:.2f} and {two['fastest_ms']:.2f}",
                best["median_ms"] <= 1.5,
            )
    for section, count, length in (("dynamics", 30, 20), ("endurance", 5, 500)):
        if section in report:
            d = report[section]
            add(
                f"{length} ps at 300 K of {count} unseen molecules, no bond breaks",
                f"{d['picoseconds']:.4g} ps of {d['molecules']}, {len(d['broken'])} broken, longest bond {d['longest_relative_bond']:.2f} times its first length",
                d["picoseconds"] >= length and d["molecules"] >= count and not d["broken"] and d["finite"],
            )
    if "conservation" in report:
        c = report["conservation"]
        steps = [c[step] for step in ("0.5 fs", "0.25 fs")]
        worst = max(abs(r["slope_kJ_per_ps"]) / s["standard_error_of_a_slope"] for s in steps for r in s["runs"])
        mean = max(abs(s["mean_slope"]) / s["standard_error_of_the_mean"] for s in steps)
        add(
            "20 ps without a thermostat: slope ≤ 3 standard errors, deviation falls by 3-5 with half the step",
            f"{c['picoseconds']:.3g} ps, {len(steps[0]['runs'])} seeds: {worst:.1f} at most, their means {mean:.1f}; {c['std_ratio']:.2f}",
            c["picoseconds"] >= 20 and worst <= 3 and mean <= 3 and 3 <= c["std_ratio"] <= 5,
        )
    return "## Targets\n\n" + table(["target", "measured", ""], rows)


def _errors(report: dict) -> str:
    e = report["errors"]
    head = ["", "labels", "force MAE", "force RMSE", "mean force", "relative energy MAE", "energy MAE"]

    def row(name: str, r: dict) -> list[object]:
        return [
            name,
            r["labels"],
            f"{r['force_mae']:.2f}",
            f"{r['force_rmse']:.2f}",
            f"{r['force_mean_abs']:.1f}",
            f"{r['relative_energy_mae']:.2f}",
            f"{r['energy_mae']:.2f}",
        ]

    classes = [row(k, v) for k, v in e["by_class"].items()]
    kinds = [row(k, v) for k, v in e["by_kind"].items()]
    elements = [[k, f"{v['force_mae']:.2f}", f"{v['force_mean_abs']:.1f}"] for k, v in e["by_element"].items()]
    worst = ", ".join(f"`{s}` ({v:.1f})" for s, v in e["worst_molecules"])
    return f"""## Errors on molecules that training never saw

Forces (components) in kcal/mol/Å, energies in kcal/mol. The relative energy of a geometry is taken against the median
of its molecule; the energy itself is an atomisation-like energy and matters in no simulation. `contact` and `scan`, which
reach far inside contact, where forces are hundreds of kcal/mol/Å, and `scatter`, where no molecule is, are left out of
everything but their own rows.

{table(head, [row("all", e["all"]), row("300-500 K", e["thermal, 300-500 K"]), *classes])}
By kind of geometry (`training/sample.py` says what they are):

{table(head, kinds)}
By element:

{table(["element", "force MAE", "mean force"], elements)}
Half of the molecules are below {e["median_molecule_force_mae"]:.2f} kcal/mol/Å. The worst: {worst}.

![parity](parity.png)
"""


def _rest(report: dict) -> str:
    text = []
    s = report["spread"]
    text.append(
        f"""## What σ says

Every member was trained without a quarter of the molecules, another quarter each. Over {s["atoms"]} atoms of unseen
molecules the rank correlation of σ_F with the error is {s["force_rank_correlation"]:.2f}
({s["force_rank_correlation_at_300_K"]:.2f} at 300 K); mean error by decile of σ_F, kcal/mol/Å:
{", ".join(f"{d:.2f}" for d in s["error_by_decile_of_spread"])}. The mean σ_F is {s["mean_force_spread"]:.2f} where the
mean error is {s["mean_force_error"]:.2f}. σ_E ranks the errors of total energies less well:
{s["energy_rank_correlation"]:.2f}.
"""
    )
    if "conformers" in report:
        c = report["conformers"]
        rows = [[k, n, f"{v:.2f}"] for k, (n, v) in c["by_class"].items()]
        text.append(
            f"""## Conformers

GFN2-xTB minima of unseen molecules, against the lowest of each: MAE {c["mae"]:.2f}, median {c["median"]:.2f} kcal/mol,
where the conformers lie {c["mean_true_energy"]:.2f} kcal/mol above the lowest on average.

{table(["class", "conformers", "MAE"], rows)}"""
        )
    if "torsions" in report:
        t = report["torsions"]
        text.append(
            f"""## Alanine dipeptide

The molecule is in the training set. On the relaxed 24 × 24 map the RMSE is {t["rmse_below_6"]:.2f} kcal/mol where
GFN2-xTB is below 6 ({t["rmse_below_6_best_shift"]:.2f} with the best common shift). Minima, found by free relaxations from
the low points of both maps (φ, ψ in degrees, energy in kcal/mol); those of one line relax into one another:

{table(["GFN2-xTB", "the potential"], [[", ".join(map(str, m)) for m in pair] for pair in t["minima"]])}
GFN2-xTB alone has {t["minima_of_the_reference_alone"] or "none"}, the potential alone {t["minima_of_the_potential_alone"] or "none"}.
"""
        )
    if "dimers" in report:
        names = [
            "at_10_A_minus_parts",
            "depth",
            "true_depth",
            "mae_beyond_1.8_A",
            "at_1.0_A",
            "at_0.3_A",
            "rises_inside_1.2_A_where_reference_does",
            "largest_fall_there",
        ]
        rows = [
            [k, *(f"{v[n]:.2g}" if n == "at_10_A_minus_parts" else v[n] for n in names)]
            for k, v in report["dimers"].items()
        ]
        head = [
            "pair",
            "10 Å minus parts",
            "depth",
            "GFN2-xTB depth",
            "MAE beyond 1.8 Å",
            "at 1.0 Å",
            "at 0.3 Å",
            "rises inside 1.2 Å wherever GFN2-xTB does",
            "largest fall in 0.02 Å there",
        ]
        text.append(
            f"""## Two molecules, from 10 Å to contact and inside it

One orientation each, along a line; distances are those of the closest atoms, energies in kcal/mol.

{table(head, rows)}"""
        )
    if "minimisation" in report:
        m = report["minimisation"]
        text.append(
            f"""## Minimisation

Minima of {m["molecules"]} unseen molecules, every coordinate shaken, then minimised by OpenMM's `LocalEnergyMinimizer` (CPU
platform, 100 iterations): how many ended more than 480 kJ/mol below the minimum, where no molecule is. That minimiser's
first step is long whatever the forces are, and crushes and tears bonds; with the weights of the first stretch, which had
not seen the kinds `scatter` and `hole`, 26 of 31 were lost from 0.03 Å.

{table(["shaken by, Å", "lost"], [[f"{a:g}", f"{n} of {m['molecules']}"] for a, n in m["lost"]])}"""
        )
    if "dynamics" in report or "conservation" in report:
        text.append(
            """## Dynamics

By the native force, with this file compiled by AOTInductor; many molecules are one region, each held in its place by its
centre of mass. A run that was stopped before its end says how far it came.
"""
        )
    for section in ("dynamics", "endurance"):
        if section not in report:
            continue
        d = report[section]
        broken = ", ".join(f"`{b}`" for b in d["broken"]) or "none"
        done = (
            "" if d["picoseconds"] >= d["picoseconds_wanted"] else f" (of {d['picoseconds_wanted']:g} that are wanted)"
        )
        text.append(
            f"""{d["picoseconds"]:.4g} ps{done} of Langevin dynamics at 300 K, 0.5 fs, float32, of {d["molecules"]} unseen
molecules: broken: {broken}; all finite: {d["finite"]}; longest bond {d["longest_relative_bond"]:.2f} times its first
length; mean temperature {d["mean_temperature"]:.0f} K.
"""
        )
    if "conservation" in report:
        c = report["conservation"]
        rows = [
            [
                step,
                r["slope_kJ_per_ps"],
                r["standard_error_by_blocks"],
                c[step]["standard_error_of_a_slope"],
                r["std_kJ"],
                f"{r['conserved_slope_kJ_per_ps']:.1e}",
                r["conserved_std_kJ"],
            ]
            for step in ("0.5 fs", "0.25 fs")
            for r in c[step]["runs"]
        ]
        text.append(
            f"""Without a thermostat, alanine dipeptide, {c["picoseconds"]:.3g} ps{"" if c["picoseconds"] >= c["picoseconds_wanted"] else f" (of {c['picoseconds_wanted']:g} that are wanted)"}, {c["dtype"]}; kJ/mol. Halving the step divides the
deviation by {c["std_ratio"]:.2f}. The total energy differs from what the steps of Verlet's integrator conserve by a term of
second order in the step, which moves with the slow exchange of energy between the few vibrations of one molecule: blocks
inside a run are not independent, and the error of a slope is taken from the {len(c["0.5 fs"]["runs"])} seeds where that is larger. With the term added
(last columns; Hairer, Lubich, Wanner 2003, doi:10.1017/S0962492902000144) next to nothing moves.

{table(["step", "slope per ps", "error by blocks", "error by seeds", "deviation", "conserved: slope", "conserved: deviation"], rows)}"""
        )
    return "\n".join(text)


def _data(manifest: dict) -> str:
    columns = manifest["columns"]
    group, split, labels = (columns.index(c) for c in ("class", "split", "labels"))
    counts = Counter((r[group], r[split]) for r in manifest["rows"])
    number: Counter[str] = Counter()
    for r in manifest["rows"]:
        number[r[group]] += r[labels]
    rows = [[g, *(counts[g, s] for s in ("train", "validation", "test")), number[g]] for g in sorted(number)]
    return f"""## Data

`manifest.json` has every molecule with its part of the split, its seed and its number of labels;
`labels_sample.npz` has some thousand of the labels themselves. `python -m training.make_data --out labels` makes all of
them again, but for the kind `hole`, which `training.holes` finds with a trained potential.

{table(["class", "train", "validation", "test", "labels"], rows)}"""


def _curve(curve: list[dict]) -> str:
    rows = [
        [
            c.get("stretch", 1),
            c["epoch"],
            c["step"],
            f"{c['seconds'] / 60:.0f}",
            f"{c['rate']:.1e}",
            f"{c.get('validation_force_mae', 0):.2f}",
            f"{c.get('validation_relative_energy_mae', 0):.2f}",
        ]
        for c in curve
    ]
    return f"""## Learning curve

Averaged weights on the validation molecules; places where no molecule is (`scatter`, `hole`) are left out, but for the
second stretch.

{table(["stretch", "pass", "step", "minutes", "rate", "force MAE", "relative energy MAE"], rows)}
The learning rate is made to end with the time, so that the flat end of a stretch does not say that longer training is of no
use. The weights of the first stretch alone are not shipped: OpenMM's minimiser found holes with them beside the minima of
26 of 31 molecules, where nothing in the labels had said that energies are high.
"""


def _use() -> str:
    return """## Where it fails

- **Charges, radicals, other spin states, other elements**: the network has no input for them. It refuses elements; it
  cannot refuse an ion, and gives it the energy of a neutral molecule.
- **Chemistry that it has not seen**: azides, diazo compounds, cumulenes, peroxides, small strained rings are rare in the
  data or absent from it; the list of the worst molecules above is the place to look. Bonds were stretched up to 1.5
  times, so that dynamics does not fall over: reactions are not described.
- **Where no molecule is**: crushed, torn and scattered atoms have high energies, as they should, but with errors of a tenth
  (the kind `scatter` above). Look at the bonds after a minimisation all the same: it has been tried from 0.2 Å, no further.
- **Weak attractions and close contacts**: see the table of dimers. In one orientation each, water is bound to an amide by
  less than half of what GFN2-xTB has; the walls inside 1.5 Å, hundreds of kcal/mol high, are within a quarter of its.
- **Long range**: nothing beyond the cutoff between two molecules. Dipoles further apart than 5 Å do not feel each other.
- **Condensed phases** were not in the data; clusters up to five waters were.
- **σ** ranks errors; it is no error bar.

## Make it again

```
pip install torch rdkit tblite scipy matplotlib
python -m training.make_data --out labels --workers 2
python -m training.train --labels labels --out first --device cuda --graphs --pairs 32000 --epochs 100000 --minutes 5.6 \\
    --curve 30   # on a CPU: --processes 2 --pairs 4500 --minutes 90
python -m training.export --run first --labels labels --out first
python -m training.holes --labels labels --model first/hcno-1.pt --turn 1
python -m training.train --labels labels --out second --start first/last.pt --rate 6e-4 --processes 2 --pairs 4500 \\
    --epochs 1000 --minutes 10
python -m training.export --run second --labels labels --out second
python -m training.holes --labels labels --model second/hcno-1.pt --turn 2
python -m training.train --labels labels --out third --start second/last.pt --rate 6e-4 --processes 2 --pairs 4500 \\
    --epochs 1000 --minutes 40
python -m training.export --run third --labels labels --out openmm_nn/potentials/bundled
python -m training.torsion_map --reference training/reference/alanine_dipeptide_map.npz
python -m training.validate --model openmm_nn/potentials/bundled/hcno-1.pt --labels labels --out openmm_nn/potentials/bundled \\
    --only errors spread conformers torsions dimers minimisation speed
python -c "from openmm_nn.bench.model_cost import compile_bundled; compile_bundled('hcno-1.pt2')"
python -m training.validate --model openmm_nn/potentials/bundled/hcno-1.pt --out openmm_nn/potentials/bundled --run-with hcno-1.pt2 \\
    --only dynamics endurance --minutes 60 --keep runs   # again and again, until they are done
python -c "from openmm_nn.bench.model_cost import compile_bundled; compile_bundled('double.pt2', dtype='float64')"
python -m training.validate --model openmm_nn/potentials/bundled/hcno-1.pt --out openmm_nn/potentials/bundled --run-with double.pt2 \\
    --only conservation --minutes 60 --keep runs
python -m training.provenance --folder openmm_nn/potentials/bundled
```
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    (arguments.folder / "PROVENANCE.md").write_text(write(arguments.folder))


if __name__ == "__main__":
    main()
