# ruff: noqa: E501 (the page is written as it is read)
"""Write PROVENANCE.md from the files that the other scripts left: no number in it is typed by hand.

python -m training.provenance --folder openmm_nn/bundled
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np


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


def _training(curve: list[dict]) -> str:
    last: dict[int, dict] = {row.get("stretch", 1): row for row in curve}
    parts = [
        f"{row['epoch']} passes, {row['step']} steps, {row['seconds'] / 60:.0f} minutes"
        for _, row in sorted(last.items())
    ]
    text = (
        f"{'; then '.join(parts)}, on two shared CPU cores, seed 1.\n"
        "  The run was resumed several times: two thirds of the first pass in one process with 8000 pairs a batch, the rest\n"
        "  in two with 4500; the kind `contact` was added to the labels in the fourth pass; the last is not whole."
    )
    return text + (" Later stretches began with the averaged weights of the one before." if len(last) > 1 else "")


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
        found, count = t["reference_minima_found"], len(t["reference_minima"])
        same = found == count and len(t["potential_minima"]) == count
        add(
            "φ/ψ map of alanine dipeptide: RMSE ≤ 1 kcal/mol below 6",
            f"{t['rmse_below_6']:.2f} over {t['points_below_6']} points",
            t["rmse_below_6"] <= 1.0,
        )
        add("the same minima", f"{found} of {count} found, {len(t['potential_minima'])} in all", same)
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
        rows_nve = [r for step in ("0.5 fs", "0.25 fs") for r in c[step]]
        steady = all(abs(r["slope_kJ_per_ps"]) <= 3 * r["standard_error"] for r in rows_nve)
        add(
            "20 ps without a thermostat: slope ≤ 3 standard errors, deviation falls by 3-5 with half the step",
            f"{c['picoseconds']:.3g} ps, slopes {'within' if steady else 'beyond'} 3 standard errors, {c['std_ratio']:.2f}",
            c["picoseconds"] >= 20 and steady and 3 <= c["std_ratio"] <= 5,
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
of its molecule; the energy itself is an atomisation-like energy and matters in no simulation. `contact`
and `scan`, which reach far inside contact, where forces are hundreds of kcal/mol/Å, are left out of everything but
their own rows.

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
GFN2-xTB is below 6 ({t["rmse_below_6_best_shift"]:.2f} with the best common shift). Minima (φ, ψ, kcal/mol):
GFN2-xTB {t["reference_minima"]}; the potential {t["potential_minima"]}.
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
first step is long whatever the forces are, and where it crushes a bond below 0.7 of its length nothing in the labels holds
the energy up.

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
            [step, r["slope_kJ_per_ps"], r["standard_error"], r["std_kJ"]]
            for step in ("0.5 fs", "0.25 fs")
            for r in c[step]
        ]
        text.append(
            f"""Without a thermostat, alanine dipeptide, {c["picoseconds"]:.3g} ps{"" if c["picoseconds"] >= c["picoseconds_wanted"] else f" (of {c['picoseconds_wanted']:g} that are wanted)"}, {c["dtype"]}; kJ/mol. Halving the step divides
the deviation by {c["std_ratio"]:.2f}, and the slopes by {_mean_slope(c["0.5 fs"]) / _mean_slope(c["0.25 fs"]):.1f} in the mean of their absolute values. They come from the step, then:
the total energy differs from the one that a Verlet step conserves by a term of second order in the step, which moves
with the slow exchange of energy between the few vibrations of one molecule.

{table(["step", "slope per ps", "standard error", "standard deviation"], rows)}"""
        )
    return "\n".join(text)


def _mean_slope(rows: list[dict]) -> float:
    return float(np.mean([abs(row["slope_kJ_per_ps"]) for row in rows]))


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
them again, and four kinds more than these weights have seen: `scan`, `backbone`, `descent` and `stack`.

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

Averaged weights on the validation molecules, everything included (from the fourth pass on the kind `contact` too).

{table(["stretch", "pass", "step", "minutes", "rate", "force MAE", "relative energy MAE"], rows)}
The curve had not flattened when the time was spent. A training anew with all kinds of labels, 62 passes in 5.4 minutes on
one H200 (`--device cuda --graphs --pairs 32000`), had 1.05 kcal/mol/Å and 0.73 kcal/mol on the same unseen molecules where
these weights have 1.23 and 1.06, 0.51 for conformers, and bound two stacked benzenes by 3.5. But 26 of the 31 minima shaken
by 0.03 Å were lost in minimisation (above): more training digs deeper where there are no labels. It is not what is shipped;
what it lacks is labels of crushed and scattered molecules.
"""


def _use() -> str:
    return """## Where it fails

- **Charges, radicals, other spin states, other elements**: the network has no input for them. It refuses elements; it
  cannot refuse an ion, and gives it the energy of a neutral molecule.
- **Chemistry that it has not seen**: azides, diazo compounds, cumulenes, peroxides, small strained rings are rare in the
  data or absent from it; the list of the worst molecules above is the place to look. Bonds were stretched up to 1.5
  times, so that dynamics does not fall over: reactions are not described.
- **Minimisation from a bad start**: see the table above. Minimise the classical System first, and look at the energy
  afterwards.
- **Stacking and close contacts**: see the table of dimers: two benzenes face to face attract each other more than twice
  too much, and the wall inside 1.5 Å, hundreds of kcal/mol high, is off by up to 40 %, mostly too soft.
- **Long range**: nothing beyond the cutoff between two molecules. Dipoles further apart than 5 Å do not feel each other.
- **Condensed phases** were not in the data; clusters up to five waters were.
- **σ** ranks errors; it is smaller than them, and it is no error bar.

## Make it again

```
pip install torch rdkit tblite scipy matplotlib
python -m training.make_data --out labels --workers 2
python -m training.train --labels labels --out run --epochs 12 --processes 2 --pairs 4500
python -m training.export --run run --labels labels --out openmm_nn/bundled
python -m training.torsion_map --reference training/reference/alanine_dipeptide_map.npz
python -m training.validate --model openmm_nn/bundled/hcno-1.pt --labels labels --out openmm_nn/bundled \\
    --only errors spread conformers torsions dimers minimisation speed
python -c "from openmm_nn.bench.model import compile_bundled; compile_bundled('hcno-1.pt2')"
python -m training.validate --model openmm_nn/bundled/hcno-1.pt --out openmm_nn/bundled --run-with hcno-1.pt2 \\
    --only dynamics endurance --minutes 60 --keep runs   # again and again, until they are done
python -c "from openmm_nn.bench.model import compile_bundled; compile_bundled('double.pt2', dtype='float64')"
python -m training.validate --model openmm_nn/bundled/hcno-1.pt --out openmm_nn/bundled --run-with double.pt2 \\
    --only conservation --minutes 60 --keep runs
python -m training.provenance --folder openmm_nn/bundled
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
