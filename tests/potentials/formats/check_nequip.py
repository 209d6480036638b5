"""NequIP and Allegro with random weights against NequIP's own calculator; in an environment of its own."""

import pathlib

import allegro._compile  # noqa: F401
import pytest
import torch
from allegro.model import AllegroModel
from ase import Atoms
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model.inference_models.torchscript import save_torchscript_model
from nequip.model.nequip_models import NequIPGNNModel
from nequip.scripts._compile_utils import COMPILE_TARGET_DICT
from nequip.utils.aot import aot_export_model
from nequip.utils.global_state import get_latest_global_state, set_global_state

from openmm_nn import load_potential
from openmm_nn.testing import check_potential
from tests.potentials.formats.agreement import Record, compare_with_ase
from tests.potentials.formats.boxes import cluster_of_waters, to_lattice, water_box

SHIFTS = {"O": -2041.5, "H": -13.6}
COMMON = {
    "seed": 3,
    "r_max": 4.2,
    "type_names": ["O", "H"],
    "l_max": 1,
    "avg_num_neighbors": 12.0,
    "per_type_energy_shifts": SHIFTS,
    "per_type_energy_scales": {"O": 1.4, "H": 0.7},
    "num_bessels": 6,
}
MODELS = {
    "nequip": (NequIPGNNModel, {"num_layers": 2, "num_features": 8, "radial_mlp_width": 16}),
    "allegro": (
        AllegroModel,
        {"num_layers": 1, "num_scalar_features": 8, "num_tensor_features": 4, "radial_chemical_embed": None},
    ),
}


def build(kind: str, dtype: str) -> tuple[torch.nn.Module, dict[str, str]]:
    """A model with random weights, and what nequip-compile writes beside it."""
    set_global_state(allow_tf32=False)
    builder, options = MODELS[kind]
    if kind == "allegro":
        embed = {
            "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
            "num_bessels": 6,
            "polynomial_cutoff_p": 6,
        }
        options = {**options, "radial_chemical_embed": embed}
    common = {k: v for k, v in COMMON.items() if kind == "nequip" or k != "num_bessels"}
    model = builder(model_dtype=dtype, **common, **options)
    model = getattr(model, "sole_model", model)
    if isinstance(model, torch.nn.ModuleDict):
        model = model["sole_model"]
    metadata = model.metadata.copy()
    metadata.update(get_latest_global_state(only_metadata_related=True))
    return model.eval(), {k: str(int(v)) if isinstance(v, bool) else v for k, v in metadata.items()}


def write(kind: str, dtype: str, folder: pathlib.Path) -> pathlib.Path:
    """Compile a model to TorchScript, as nequip-compile does where torch is old enough for it."""
    path = folder / f"{kind}-{dtype}.nequip.pth"
    save_torchscript_model(*build(kind, dtype), str(path), "cpu")
    return path


def compile_code(kind: str, dtype: str, target: str, folder: pathlib.Path) -> pathlib.Path:
    """Compile a model to machine code, as nequip-compile --mode aotinductor --target does."""
    model, metadata = build(kind, dtype)
    fields = COMPILE_TARGET_DICT[target]
    metadata["nequip_aoti_inputs"] = " ".join(fields["input"])
    metadata["nequip_aoti_outputs"] = " ".join(fields["output"])
    positions, numbers, box = water_box(2)
    data = from_ase(Atoms(numbers=numbers, positions=10.0 * positions, cell=10.0 * box, pbc=True))
    for transform in (ChemicalSpeciesToAtomTypeMapper(COMMON["type_names"]), NeighborListTransform(r_max=4.2)):
        data = transform(data)
    data = fields["data_settings"](AtomicDataDict.batched_from_list([data]))
    sizes = {name: torch.export.Dim(f"num_{name}s", min=2, max=torch.inf) for name in ("node", "edge")}
    path = folder / f"{kind}-{dtype}-{target}.nequip.pt2"
    aot_export_model(
        model=model,
        device="cpu",
        input_fields=fields["input"],
        output_fields=fields["output"],
        data=data,
        batch_map={"graph": torch.export.Dim.STATIC, **sizes},
        output_path=str(path),
        inductor_configs={"aot_inductor.metadata": metadata},
    )
    return path


@pytest.fixture(scope="module", params=["nequip", "allegro"])
def double(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write(request.param, "float64", tmp_path_factory.mktemp(request.param))


def calculator(path: pathlib.Path) -> NequIPCalculator:
    return NequIPCalculator.from_compiled_model(str(path), device="cpu", chemical_species_to_atom_type_map=True)


def test_water(double: pathlib.Path, record: Record) -> None:
    potential = load_potential(double)
    assert potential.card.energy_offset == pytest.approx(SHIFTS)
    assert potential.card.dtype == "float64"
    positions, numbers, box = water_box(2)
    found = compare_with_ase(potential, calculator(double), to_lattice(positions, box), numbers, box)
    record(found).check(1e-7, 1e-6)


def test_contract(double: pathlib.Path) -> None:
    positions, numbers = cluster_of_waters(2)
    check_potential(load_potential(double), numbers, positions, tolerance=1e-5)


@pytest.mark.parametrize("kind", ["nequip", "allegro"])
def test_single(kind: str, tmp_path: pathlib.Path, record: Record) -> None:
    """A model in single precision: energies of 2,000 eV an atom, resolved since the shifts are apart."""
    path = write(kind, "float32", tmp_path)
    positions, numbers, box = water_box(2)
    record(compare_with_ase(load_potential(path), calculator(path), positions, numbers, box)).check(1e-5, 1e-4)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["nequip", "allegro"])
def test_machine_code(kind: str, dtype: str, tmp_path: pathlib.Path, record: Record) -> None:
    """Packages, against the library's own calculator with the same ones."""
    path = compile_code(kind, dtype, "ase", tmp_path)
    potential = load_potential(path)
    positions, numbers, box = water_box(2)
    found = compare_with_ase(potential, calculator(path), to_lattice(positions, box), numbers, box)
    record(found).check(1e-8 if dtype == "float64" else 1e-5, 1e-6 if dtype == "float64" else 1e-4)
    positions, numbers = cluster_of_waters(2)
    check_potential(potential, numbers, positions, tolerance=1e-5 if dtype == "float64" else 1e-3)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind, periodic", [("nequip", "optional"), ("allegro", "never")])
def test_machine_code_for_lammps(kind: str, periodic: str, tmp_path: pathlib.Path, record: Record) -> None:
    """The targets of the pair styles: Allegro's takes no shifts, since LAMMPS gives images as atoms of their own."""
    potential = load_potential(compile_code(kind, "float64", f"pair_{kind}", tmp_path))
    assert potential.card.periodic == periodic
    positions, numbers = cluster_of_waters(2)
    own = calculator(write(kind, "float64", tmp_path))
    record(compare_with_ase(potential, own, positions, numbers)).check(1e-8, 1e-6)
    check_potential(potential, numbers, positions, tolerance=1e-5)
