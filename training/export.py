"""Write the bundled potential: TorchScript with its card inside, the manifest and a sample of the labels.

python -m training.export --run run/ --labels labels/ --out openmm_nn/potentials/bundled
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import zipfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_nn import ModelCard, export_potential
from openmm_nn.model.scriptcheck import MANIFEST_FILE, add_manifest
from training.dataset import KINDS
from training.model import ELEMENTS, Committee

logger = logging.getLogger(__name__)
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O"}
NAME = "openmm-nn/hcno-1"
KEPT = 4000


def load_run(run: Path) -> tuple[Committee, dict[int, float]]:
    """Read the averaged weights of a run, in evaluation mode, and the reference energies of the elements, eV."""
    state = torch.load(run / "last.pt", map_location="cpu", weights_only=True)
    model = Committee(**state["shape"])
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False), {int(z): float(v) for z, v in state["offsets"].items()}


def make_card(model: Committee, offsets: dict[int, float], name: str, trained_on: str, description: str) -> ModelCard:
    """Write the card of a trained committee."""
    return ModelCard(
        name=name,
        version="1.2",
        description=description,
        inputs=("positions", "atomic_numbers", "edge_index", "edge_shifts"),
        outputs=("atomic_energies",),
        length_unit="angstrom",
        energy_unit="eV",
        energy_offset={SYMBOLS[z]: offsets[z] for z in ELEMENTS},
        dtype="float32",
        elements=tuple(SYMBOLS[z] for z in ELEMENTS),
        cutoff=model.cutoff,
        periodic="optional",
        frame="invariant",
        long_range=False,
        committee_size=model.members,
        level_of_theory="GFN2-xTB",
        trained_on=trained_on,
        license="MIT",
        references=("doi:10.1021/acs.jctc.8b01176",),
        created_with=f"torch {version('torch')}",
    )


def write_model(model: Committee, card: ModelCard, path: Path) -> None:
    """Save `model` as TorchScript with `card` inside, scripted but not frozen: float64 stays possible."""
    export_potential(model, path, card)
    path.write_bytes(add_manifest(without_places(path.read_bytes())))


def without_places(data: bytes) -> bytes:
    """Leave out the debug information of a TorchScript file: it names folders of the machine that wrote it."""
    kept = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as given, zipfile.ZipFile(kept, "w") as archive:
        for name in given.namelist():
            if not name.endswith((".debug_pkl", MANIFEST_FILE)):
                archive.writestr(zipfile.ZipInfo(name), given.read(name))
    return kept.getvalue()


def compact_manifest(folder: Path) -> dict:
    """Shorten the manifest of the data: one row a molecule."""
    manifest = json.loads((folder / "manifest.json").read_text())
    names = ["smiles", "group", "split", "seed", "atoms", "labels"]
    rows = [[entry[name] for name in names] for entry in manifest.pop("entries")]
    manifest["columns"] = ["class" if name == "group" else name for name in names]
    manifest["rows"] = rows
    return manifest


def write_manifest(manifest: dict, path: Path) -> None:
    """JSON with one line a molecule."""
    head = {k: v for k, v in manifest.items() if k != "rows"}
    text = (
        json.dumps(head, indent=1)[:-2]
        + ',\n "rows": [\n'
        + ",\n".join("  " + json.dumps(r) for r in manifest["rows"])
        + "\n ]\n}\n"
    )
    path.write_text(text, encoding="utf-8")


def write_sample(folder: Path, path: Path, count: int = KEPT, seed: int = 11) -> None:
    """Keep `count` random labels, every class and part of the split in proportion, under 5 MB.

    Arrays: `molecule` (m,) index into `smiles`; `first` (m + 1,) where a label's atoms begin; `numbers` (sum,) uint8;
    `positions` (sum, 3) float32, Angstrom; `energies` (m,) float64, eV; `forces` (sum, 3) float32, eV/Angstrom;
    `kinds` (m,) index into `kind_names`.
    """
    rng = np.random.default_rng(seed)
    entries = json.loads((folder / "manifest.json").read_text())["entries"]
    share = count / sum(e["labels"] for e in entries)
    molecule, numbers, positions, energies, forces, kinds = [], [], [], [], [], []
    for index, entry in enumerate(entries):
        data = np.load(folder / f"{entry['key']}.npz")
        wanted = int(share * entry["labels"] + rng.random())
        for row in rng.permutation(entry["labels"])[:wanted]:
            molecule.append(index)
            numbers.append(data["numbers"].astype(np.uint8))
            positions.append(data["positions"][row])
            energies.append(data["energies"][row])
            forces.append(data["forces"][row])
            kinds.append(data["kinds"][row])
    np.savez_compressed(
        path,
        smiles=np.array([e["smiles"] for e in entries]),
        splits=np.array([e["split"] for e in entries]),
        molecule=np.array(molecule, dtype=np.int32),
        first=np.concatenate([[0], np.cumsum([len(n) for n in numbers])]).astype(np.int32),
        numbers=np.concatenate(numbers),
        positions=np.concatenate(positions).astype(np.float32),
        energies=np.array(energies),
        forces=np.concatenate(forces).astype(np.float32),
        kinds=np.array(kinds, dtype=np.int8),
        kind_names=np.array(KINDS),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    model, offsets = load_run(arguments.run)
    manifest = compact_manifest(arguments.labels)
    trained = manifest["labels_by_split"]["train"]
    molecules = manifest["molecules_by_split"]["train"]
    card = make_card(
        model,
        offsets,
        NAME,
        f"{trained} GFN2-xTB energies and forces of {molecules} neutral closed-shell molecules and clusters",
        "Four small invariant message-passing potentials: neutral, closed-shell molecules of H, C, N and O.",
    )
    path = arguments.out / "hcno-1.pt"
    write_model(model, card, path)
    write_manifest(manifest, arguments.out / "manifest.json")
    write_sample(arguments.labels, arguments.out / "labels_sample.npz")
    curve = arguments.run / "curve.jsonl"
    if curve.exists():
        (arguments.out / "curve.jsonl").write_text(curve.read_text())
    logger.info(
        "%s: %.0f kB; labels: %.0f kB",
        path,
        path.stat().st_size / 1e3,
        (arguments.out / "labels_sample.npz").stat().st_size / 1e3,
    )


if __name__ == "__main__":
    main()
