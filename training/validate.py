"""Measure the bundled potential; every number of its page of provenance comes from here.

    python -m training.validate \
        --model openmm_nn/potentials/bundled/hcno-1.pt --labels labels/ --out openmm_nn/potentials/bundled
    python -m training.validate ... --only errors spread            # some sections; the others are kept
    python -m training.validate ... --only dynamics --run-with hcno-1.pt2      # the same potential, compiled

Sections are written one by one to `validation.json`: `errors`, `conformers`, `spread`, `torsions`, `dimers`,
`minimisation`, `speed`, `dynamics` (30 molecules, 20 ps), `endurance` (five, 500 ps), `conservation`.  `errors` and
`spread` need the labels, the others no more than the molecules of `manifest.json` in `--out`.  The last three take
hours; with `--minutes` they stop for now, and with `--keep` the same command goes on later.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import platform
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_nn import Potential, load_potential
from openmm_nn.model.card import CARD_FILE, ModelCard
from training import dynamics, sample, torsion_map
from training.dataset import KINDS, WALL, Labels
from training.holes import SHAKEN, molecule_context
from training.label import Labeller
from training.make_data import relax
from training.model import Committee, read
from training.speed import speed

logger = logging.getLogger(__name__)
KCAL = 23.060547830619
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O"}
REFERENCE = Path(__file__).resolve().parent / "reference" / "alanine_dipeptide_map.npz"
#: How far below a minimum no molecule is, kJ/mol.
HOLE = 480.0
CONFORMERS = REFERENCE.parent / "conformers.npz"


def load_model(path: Path) -> tuple[Committee, ModelCard]:
    """Read the network out of the TorchScript file, with its card."""
    files = {CARD_FILE: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*")
        torch.jit.load(str(path), _extra_files=files)
    return read(path), ModelCard.from_json(files[CARD_FILE])


def offsets(card: ModelCard) -> dict[int, float]:
    """Reference energies by atomic number, eV."""
    return {z: card.energy_offset[s] for z, s in SYMBOLS.items()}


def predictions(model: Committee, labels: Labels, members: bool = False) -> dict[str, NDArray]:
    """Errors of every label and atom; with `members`, the spread of the members' forces too.

    Returns
    -------
    dict of arrays
        For every atom: true and predicted force (m, 3), element, label index, spread; for every label: error of the
        energy, molecule, kind, temperature.  kcal/mol and Angstrom.
    """
    columns: dict[str, list[Tensor]] = {}
    label = 0
    for block, rows in labels.batches(12000):
        x = block.positions[rows].requires_grad_()
        energies = model.energies(x, block.numbers[rows])
        if members:
            parts = [torch.autograd.grad(e.sum(), x, retain_graph=True)[0] for e in energies]
            stack = -torch.stack(parts)
            forces = stack.mean(0)
            columns.setdefault("spread", []).append(stack.var(0).sum(-1).sqrt().flatten() * KCAL)
        else:
            forces = -torch.autograd.grad(energies.mean(0).sum(), x)[0]
        n = x.shape[1]
        energies = energies.detach()
        for name, value in (
            ("true", block.forces[rows].reshape(-1, 3) * KCAL),
            ("predicted", forces.detach().reshape(-1, 3) * KCAL),
            ("element", block.numbers[rows].flatten()),
            ("label", torch.arange(label, label + len(rows)).repeat_interleave(n)),
            ("energy_error", (energies.double().mean(0) - block.energies[rows]) * KCAL),
            ("energy_spread", energies.std(0) * KCAL),
            ("energy", block.energies[rows] * KCAL),
            ("molecule", block.molecule[rows]),
            ("kind", block.kinds[rows]),
            ("temperature", block.temperatures[rows]),
            ("atoms", torch.full((len(rows),), n)),
        ):
            columns.setdefault(name, []).append(value)
        label += len(rows)
    return {name: torch.cat(value).numpy() for name, value in columns.items()}


def errors(model: Committee, labels: Labels, figure: Path | None) -> dict[str, object]:
    """Errors on molecules that training never saw, by class, element and kind of geometry."""
    p = predictions(model, labels)
    component = np.abs(p["true"] - p["predicted"]).mean(1)
    group = np.array([e["group"] for e in labels.entries])
    by_label = group[p["molecule"]]
    # Energies of a molecule are compared with each other: the median error of the molecule is taken out.
    relative = p["energy_error"].copy()
    for molecule in np.unique(p["molecule"]):
        own = p["molecule"] == molecule
        relative[own] -= np.median(relative[own & ~np.isin(p["kind"], WALL)])

    def row(atoms: NDArray, chosen: NDArray) -> dict[str, float | int]:
        return {
            "labels": int(chosen.sum()),
            "force_mae": round(float(component[atoms].mean()), 3),
            "force_rmse": round(float(np.sqrt(((p["true"] - p["predicted"])[atoms] ** 2).mean())), 3),
            "force_mean_abs": round(float(np.abs(p["true"][atoms]).mean()), 2),
            "energy_mae": round(float(np.abs(p["energy_error"][chosen]).mean()), 3),
            "relative_energy_mae": round(float(np.abs(relative[chosen]).mean()), 3),
        }

    # The wall (`contact`, `scan`) has forces of hundreds of kcal/mol/Angstrom and is reported by itself.
    every = ~np.isin(p["kind"], WALL)
    warm = (p["kind"] == KINDS.index("langevin")) & (p["temperature"] <= 500)
    by_kind = {k: p["kind"] == i for i, k in enumerate(KINDS) if (p["kind"] == i).any()}
    by_temperature = {f"langevin {int(t)} K": p["temperature"] == t for t in np.unique(p["temperature"]) if t > 0}
    worst = sorted(
        (
            (float(component[((p["molecule"] == m) & every)[p["label"]]].mean()), labels.entries[m]["smiles"])
            for m in np.unique(p["molecule"])
        ),
        reverse=True,
    )
    result: dict[str, object] = {
        "molecules": len(labels.entries),
        "all": row(every[p["label"]], every),
        "thermal, 300-500 K": row(warm[p["label"]], warm),
        "by_class": {
            g: row(((by_label == g) & every)[p["label"]], (by_label == g) & every) for g in sorted(set(group))
        },
        "by_kind": {k: row(c[p["label"]], c) for k, c in {**by_kind, **by_temperature}.items()},
        "by_element": {
            s: {
                "force_mae": round(float(component[chosen].mean()), 3),
                "force_mean_abs": round(float(np.abs(p["true"][chosen]).mean()), 2),
            }
            for s, chosen in ((s, (p["element"] == z) & every[p["label"]]) for z, s in SYMBOLS.items())
        },
        "worst_molecules": [[s, round(e, 2)] for e, s in worst[:12]],
        "median_molecule_force_mae": round(float(np.median([e for e, _ in worst])), 3),
    }
    if figure is not None:
        _parity(p, relative, figure)
    return result


def _parity(p: dict[str, NDArray], relative: NDArray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2))
    shown = ~np.isin(p["kind"], WALL)
    atoms = shown[p["label"]]
    left.hexbin(
        p["true"][atoms].ravel(), p["predicted"][atoms].ravel(), gridsize=90, bins="log", mincnt=1, cmap="viridis"
    )
    left.set(xlabel="force, GFN2-xTB (kcal/mol/Å)", ylabel="force, potential (kcal/mol/Å)")
    bound = np.abs(p["true"][atoms]).max()
    left.plot([-bound, bound], [-bound, bound], "k-", lw=0.5)
    truth = p["energy"].copy()
    for molecule in np.unique(p["molecule"]):
        own = p["molecule"] == molecule
        truth[own] -= truth[own].min()
    truth, relative = truth[shown], relative[shown]
    right.hexbin(truth, truth + relative, gridsize=90, bins="log", mincnt=1, cmap="viridis")
    right.plot([0, truth.max()], [0, truth.max()], "k-", lw=0.5)
    right.set(xlabel="energy above the lowest, GFN2-xTB (kcal/mol)", ylabel="potential (kcal/mol)")
    fig.tight_layout()
    fig.savefig(path, dpi=110)
    plt.close(fig)


def held_out(folder: Path) -> list[dict]:
    """Molecules that training never saw, from the manifest beside the potential."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    names = ["group" if column == "class" else column for column in manifest["columns"]]
    entries = [dict(zip(names, row, strict=True)) for row in manifest["rows"]]
    return [e for e in entries if e["split"] == "test"]


def minima(entries: list[dict], count: int = 5) -> list[tuple[str, NDArray, NDArray, NDArray]]:
    """GFN2-xTB minima of held-out molecules with two or more: class, atomic numbers, positions and energies (eV).

    They are kept in `reference/conformers.npz`, which is made if it is not there.
    """
    if CONFORMERS.exists():
        data = np.load(CONFORMERS)
        sets = range(len(data["groups"]))
        return [(str(data["groups"][k]), *(data[f"{name}_{k}"] for name in ("z", "x", "e"))) for k in sets]
    found = []
    for entry in entries:
        if entry["group"] == "cluster":
            continue
        rdkit = sample.embed(entry["smiles"], count, entry["seed"] + 1)
        if rdkit is None or not sample.rotatable(rdkit):
            continue
        numbers = np.array([a.GetAtomicNum() for a in rdkit.GetAtoms()])
        labeller = Labeller(numbers)
        own: list[tuple[float, NDArray]] = []
        for conformer in rdkit.GetConformers():
            x = relax(conformer.GetPositions(), labeller, 150)[-1].astype(np.float32)
            label = labeller(x)
            # Two minima are the same if their energies agree to 0.01 kcal/mol.
            if label is not None and all(abs(label[0] - e) * KCAL > 0.01 for e, _ in own):
                own.append((label[0], x))
        if len(own) >= 2:
            found.append((entry["group"], numbers, np.stack([x for _, x in own]), np.array([e for e, _ in own])))
    arrays = {f"{name}_{k}": value for k, row in enumerate(found) for name, value in zip("zxe", row[1:], strict=True)}
    np.savez_compressed(CONFORMERS, groups=np.array([row[0] for row in found]), **arrays)
    return found


def conformers(model: Committee, entries: list[dict]) -> dict[str, object]:
    """Relative energies of GFN2-xTB minima of held-out molecules, against the lowest of each molecule."""
    deviations: dict[str, list[float]] = {}
    spread: list[float] = []
    found = minima(entries)
    for group, numbers, positions, truth in found:
        x = torch.tensor(positions, dtype=torch.float32)
        predicted = model.energies(x, torch.tensor(numbers).repeat(len(x), 1)).double().mean(0).numpy()
        lowest = truth.argmin()
        error = ((predicted - predicted[lowest]) - (truth - truth[lowest])) * KCAL
        rest = np.arange(len(truth)) != lowest
        deviations.setdefault(group, []).extend(np.abs(error[rest]).tolist())
        spread.extend(((truth - truth[lowest]) * KCAL)[rest].tolist())
    every = [v for values in deviations.values() for v in values]
    return {
        "molecules": len(found),
        "conformers": len(every) + len(found),
        "mae": round(float(np.mean(every)), 3),
        "median": round(float(np.median(every)), 3),
        "mean_true_energy": round(float(np.mean(spread)), 3),
        "by_class": {g: [len(v), round(float(np.mean(v)), 3)] for g, v in sorted(deviations.items())},
    }


def minimisation(potential: Potential, found: list[tuple[NDArray, NDArray]]) -> dict[str, object]:
    """Minimise shaken minima with OpenMM, and count those that end where no molecule is.

    The minimiser's first step is long whatever the forces are, and where it crushes a bond a network may know no wall.

    Parameters
    ----------
    potential : Potential
    found : list of tuples
        Atomic numbers (n_atoms,) and positions of a minimum (n_atoms, 3), Angstrom.
    """
    rng = np.random.default_rng(1)
    lost = dict.fromkeys(SHAKEN, 0)
    for numbers, positions in found:
        context = molecule_context(potential, numbers)

        def energy(context: openmm.Context = context) -> float:
            return float(context.getState(energy=True).getPotentialEnergy()._value)

        x = 0.1 * positions.astype(float)  # nm
        context.setPositions(x)
        least = energy() - HOLE
        for amplitude in SHAKEN:
            context.setPositions(x + 0.1 * amplitude * rng.normal(size=x.shape))
            openmm.LocalEnergyMinimizer.minimize(context, 10.0, 100)
            lost[amplitude] += not energy() > least  # nor a number
    return {"molecules": len(found), "lost": [[amplitude, count] for amplitude, count in lost.items()]}


def spread(model: Committee, labels: Labels) -> dict[str, object]:
    """Measure what the spread of the members says of the error."""
    p = predictions(model, labels, members=True)
    every = np.isin(p["label"], np.where(~np.isin(p["kind"], WALL))[0])
    error = np.linalg.norm(p["true"] - p["predicted"], axis=1)[every]
    deviation = p["spread"][every]
    order = np.argsort(deviation)
    deciles = [float(error[part].mean()) for part in np.array_split(order, 10)]
    thermal = np.isin(p["label"][every], np.where((p["kind"] == 3) & (p["temperature"] == 300))[0])
    return {
        "atoms": len(error),
        "force_rank_correlation": round(float(spearmanr(deviation, error).statistic), 3),
        "force_rank_correlation_at_300_K": round(float(spearmanr(deviation[thermal], error[thermal]).statistic), 3),
        "error_by_decile_of_spread": [round(d, 3) for d in deciles],
        "largest_to_smallest_decile": round(deciles[-1] / deciles[0], 2),
        "energy_rank_correlation": round(float(spearmanr(p["energy_spread"], np.abs(p["energy_error"])).statistic), 3),
        "mean_force_spread": round(float(deviation.mean()), 3),
        "mean_force_error": round(float(error.mean()), 3),
    }


def torsions(model: Committee) -> dict[str, object]:
    """The phi/psi map of alanine dipeptide (a molecule of the training set)."""
    numbers = torch.tensor(np.load(REFERENCE)["numbers"]).unsqueeze(0)
    double = _double(model)

    def surface(x: NDArray) -> tuple[float, NDArray]:
        y = torch.tensor(x).unsqueeze(0).requires_grad_()
        energy = double.energies(y, numbers).mean()
        return float(energy.detach()), -torch.autograd.grad(energy, y)[0][0].numpy()

    return torsion_map.compare(surface, REFERENCE)


def _double(model: Committee) -> Committee:
    double = Committee(**{k: getattr(model, k) for k in model.__constants__})
    double.load_state_dict(model.state_dict())
    return double.eval().requires_grad_(False).double()


def dimers(model: Committee) -> dict[str, object]:
    """Two molecules brought together from 10 Angstrom to contact and inside it, along a line."""
    result = {}
    double = _double(model)
    for first, second in (("O", "O"), ("CC(=O)NC", "O"), ("c1ccccc1", "c1ccccc1"), ("CO", "C=O")):
        parts = [sample.embed(s, 1, 3) for s in (first, second)]
        a, b = (p.GetConformer().GetPositions() for p in parts if p is not None)
        a, b = a - a.mean(0), b - b.mean(0)
        z = np.array([atom.GetAtomicNum() for p in parts if p is not None for atom in p.GetAtoms()])
        gaps = np.arange(10.0, 0.299, -0.02)
        direction = np.array([0.0, 0.0, 1.0])
        offset, frames = 40.0, []
        for gap in gaps:
            while np.linalg.norm(a[:, None] - (b + offset * direction), axis=-1).min() > gap:
                offset -= 0.002
            frames.append(np.concatenate([a, b + offset * direction]))
        energies = (
            double.energies(torch.tensor(np.stack(frames)), torch.tensor(z).repeat(len(frames), 1)).mean(0).numpy()
        )
        reference = Labeller(z)
        truth = [reference(f) for f in frames]
        apart = np.linalg.norm(a[:, None] - a, axis=-1).shape[0]
        alone = double.energies(torch.tensor(a)[None], torch.tensor(z[:apart])[None]).mean()
        alone = alone + double.energies(torch.tensor(b)[None], torch.tensor(z[apart:])[None]).mean()
        inside = gaps < 1.2
        outside = [
            abs((e - energies[0]) - (t[0] - truth[0][0])) * KCAL
            for e, t, g in zip(energies, truth, gaps, strict=True)
            if t is not None and truth[0] is not None and g > 1.8
        ]
        # On the last of the way atoms may pass one another, and GFN2-xTB falls too: only where it rises counts.
        known = np.array([np.nan if t is None else t[0] for t in truth])
        rising = np.diff(known[inside]) > 0
        fall = float(-np.diff(energies[inside])[rising].min().clip(max=0.0) * KCAL) + 0.0
        result[f"{first} {second}"] = {
            "at_10_A_minus_parts": float((energies[0] - float(alone)) * KCAL),
            "rises_inside_1.2_A_where_reference_does": bool(fall == 0.0),
            "largest_fall_there": round(fall, 2),
            "at_1.0_A": round(float((np.interp(-1.0, -gaps, energies) - energies[0]) * KCAL), 1),
            "at_0.3_A": round(float((energies[-1] - energies[0]) * KCAL), 1),
            "mae_beyond_1.8_A": round(float(np.mean(outside)), 3),
            "depth": round(float((energies - energies[0]).min() * KCAL), 2),
            "true_depth": round(float(min(t[0] - truth[0][0] for t in truth if t is not None) * KCAL), 2),
        }
    return result


def weights_hash(model: Committee) -> str:
    """SHA-256 of the weights, whatever the file around them says."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def record(target: Path, sha256: str, section: str, value: object) -> None:
    """Put one section into the report; the numbers of other weights are dropped, for they are not of these."""
    report = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    if report.get("weights_sha256") != sha256:
        report = {"weights_sha256": sha256}
    report[section] = value
    report["versions"] = {"torch": torch.__version__, "python": platform.python_version()}
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Command line."""
    sections = (
        "errors",
        "spread",
        "conformers",
        "torsions",
        "dimers",
        "minimisation",
        "speed",
        "dynamics",
        "endurance",
        "conservation",
    )
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--labels", type=Path, default=None, help="for `errors` and `spread`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=sections, default=list(sections))
    parser.add_argument("--picoseconds", type=float, default=20.0, help="length of `dynamics` and `conservation`")
    parser.add_argument("--endurance", type=float, default=500.0, help="length of `endurance`, ps")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop `dynamics` and the like after so long"
    )
    parser.add_argument("--keep", type=Path, default=None, help="folder for unfinished `dynamics` and the like")
    parser.add_argument(
        "--run-with", type=Path, default=None, help="the same potential, compiled (.pt2), for `dynamics` and the like"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)  # little work at a time
    model, card = load_model(arguments.model)
    entries = held_out(arguments.out)
    labels = None if arguments.labels is None else Labels(arguments.labels, "test")
    if labels is None and {"errors", "spread"} & set(arguments.only):
        parser.error("`errors` and `spread` need --labels, a folder that training.make_data wrote")
    target = arguments.out / "validation.json"
    sha256 = weights_hash(model)
    keep = dynamics.Keep(arguments.keep, time.time() + 60 * arguments.minutes, sha256[:12])
    if labels is not None:
        labels.subtract(offsets(card))
    moved = load_potential(arguments.model if arguments.run_with is None else arguments.run_with)
    for section in arguments.only:
        started = time.time()
        match section:
            case "errors" if labels is not None:
                value = errors(model, labels, arguments.out / "parity.png")
            case "spread" if labels is not None:
                value = spread(model, labels)
            case "conformers":
                value = conformers(model, entries)
            case "torsions":
                value = torsions(model)
            case "dimers":
                value = dimers(model)
            case "minimisation":
                value = minimisation(moved, [(numbers, x[0]) for _, numbers, x, _ in minima(entries)])
            case "speed":
                value = speed(arguments.model, REFERENCE)
            case "dynamics":
                value = dynamics.stability(moved, entries, arguments.picoseconds, 30, 22, keep.part(section))
            case "endurance":
                value = dynamics.stability(moved, entries, arguments.endurance, 5, 12, keep.part(section))
            case _:
                value = dynamics.conservation(moved, arguments.picoseconds, keep.part(section))
        if value is not None:
            record(target, sha256, section, value)
        logger.info("%s: %.0f s", section, time.time() - started)


if __name__ == "__main__":
    main()
