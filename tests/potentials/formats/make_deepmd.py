"""Makes frozen models of DeePMD-kit with random weights, and what DeePMD-kit says of them.

To be run where deepmd-kit 3.2.0 is installed, that is with torch 2.11:
``python tests/potentials/formats/make_deepmd.py``. The files go to
``tests/reference/deepmd``; `test_deepmd.py` reads them with any torch, without DeePMD-kit.
"""

import io
import pathlib
import tempfile
import zipfile

import numpy as np
import torch
from ase import Atoms
from deepmd.calculator import DP
from deepmd.pt.model.model import get_model

from tests.potentials.formats.boxes import cluster_of_waters, to_lattice, water_box

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "reference" / "deepmd"
SHIFTS = [-2041.5, -13.6]
COMMON = {"rcut": 4.0, "rcut_smth": 0.5}
REPFORMER = {
    "rcut": 3.0, "rcut_smth": 0.5, "nsel": 20, "nlayers": 2, "g1_dim": 8, "g2_dim": 4, "axis_neuron": 2,
    "attn1_hidden": 8, "attn1_nhead": 2, "attn2_hidden": 4, "attn2_nhead": 2,
    "update_g1_has_attn": False, "update_g2_has_attn": False,
}  # fmt: skip
DESCRIPTORS = {
    # Fewer neighbours are asked for than there are in the water box.
    "se_e2_a": {**COMMON, "type": "se_e2_a", "sel": [6, 12], "neuron": [4, 8], "axis_neuron": 4},
    "dpa1": {
        **COMMON, "type": "se_atten", "sel": 60, "neuron": [4, 8], "axis_neuron": 4, "attn": 8, "attn_layer": 1,
        "attn_dotr": True, "tebd_dim": 4,
    },
    "dpa2": {
        "type": "dpa2",
        "repinit": {**COMMON, "nsel": 60, "neuron": [4, 8], "axis_neuron": 4, "tebd_dim": 4},
        "repformer": REPFORMER,
    },
    "dpa3": {
        "type": "dpa3",
        "repflow": {
            "n_dim": 8, "e_dim": 6, "a_dim": 4, "nlayers": 2, "e_rcut": 4.0, "e_rcut_smth": 0.5, "e_sel": 60,
            "a_rcut": 3.0, "a_rcut_smth": 0.5, "a_sel": 20, "axis_neuron": 2, "smooth_edge_update": True,
        },
    },
}  # fmt: skip


def freeze(name: str, precision: str) -> bytes:
    """A model in evaluation mode, as ``dp --pt freeze`` writes it; without the places of its code."""
    torch.manual_seed(1)
    part = {"precision": precision, "seed": 1}
    if name == "dpa2":
        part.pop("precision")
    config = {
        "type_map": ["O", "H"],
        "descriptor": {**DESCRIPTORS[name], **part},
        "fitting_net": {"neuron": [8, 8], "resnet_dt": True, "seed": 1, "precision": precision},
    }
    model = get_model(config).to("cpu").eval()
    with torch.no_grad():
        for parameter in model.atomic_model.fitting_net.parameters():
            if parameter.shape[-1:] == (1,):  # the last layer: forces of some eV/Å
                parameter *= 300.0
        model.atomic_model.out_bias += torch.tensor(SHIFTS, dtype=torch.float64).reshape(1, 2, 1)
    written, smaller = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(model), written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry), zipfile.ZIP_DEFLATED)
    return smaller.getvalue()


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    box_of_waters, cluster = water_box(2), cluster_of_waters(2)
    found: dict[str, np.ndarray] = {}
    for name, precision in [*((name, "float64") for name in DESCRIPTORS), ("se_e2_a", "float32"), ("dpa1", "float32")]:
        key = f"{name}-{precision}"
        path = FOLDER / f"{key}.pth"
        path.write_bytes(freeze(name, precision))
        x, numbers, box = box_of_waters
        for kind, atoms in {
            "box": Atoms(numbers=numbers, positions=10.0 * to_lattice(x, box), cell=10.0 * box, pbc=True),
            "cluster": Atoms(numbers=cluster[1], positions=10.0 * cluster[0]),
        }.items():
            with tempfile.TemporaryDirectory() as folder:
                whole = pathlib.Path(folder) / path.name
                whole.write_bytes(path.read_bytes())
                atoms.calc = DP(str(whole))
                found[f"{key}-{kind}-energy"] = np.array(atoms.get_potential_energy())
                found[f"{key}-{kind}-forces"] = atoms.get_forces()
    np.savez_compressed(FOLDER / "reference.npz", **found)


if __name__ == "__main__":
    main()
