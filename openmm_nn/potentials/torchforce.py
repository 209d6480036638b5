"""From a potential to what openmm-torch's TorchForce runs: units, elements, subset, box and edges inside the module.

TorchForce passes positions in nm of all particles, the box if it is periodic, and global parameters, and takes an
energy in kJ/mol, or an energy and forces. All else is folded in here; edges are searched for by trying all pairs, which
is for regions of up to some hundred atoms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..engine.force_arguments import check_charge, check_multiplicity, check_numbers, check_periodic, check_region
from ..errors import UnsupportedError
from ..model.card import KNOWN_INPUTS, ModelCard
from ..model.card_values import energy_offset
from ..model.torchscript import quiet_torchscript, read_script, write_script

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["compose_torchforce"]

_EDGES = """
def _edges(self, positions: Tensor, box: Tensor):
    # Both directions of every pair within the cutoff, with all images: r_ij = x_j - x_i + shift.
    count = positions.shape[0]
    reach = self.cutoff
    shifts = torch.zeros((1, 3), dtype=positions.dtype, device=positions.device)
    if self.periodic:
        volume = torch.abs(torch.det(box))
        grids: List[Tensor] = []
        for k in range(3):
            height = volume / torch.linalg.norm(torch.linalg.cross(box[(k + 1) % 3], box[(k + 2) % 3]))
            images = int(torch.ceil(reach / height).item())
            grids.append(torch.arange(-images, images + 1, device=positions.device))
        first, second, third = torch.meshgrid(grids, indexing="ij")
        cells = torch.stack([first.reshape(-1), second.reshape(-1), third.reshape(-1)], dim=1)
        shifts = cells.to(positions.dtype) @ box
    pairs: List[Tensor] = []
    moved: List[Tensor] = []
    for s in range(shifts.shape[0]):
        vectors = positions.unsqueeze(0) - positions.unsqueeze(1) + shifts[s]
        near = (vectors * vectors).sum(dim=2) < reach * reach
        if bool((shifts[s] == 0.0).all()):
            near = near & ~torch.eye(count, dtype=torch.bool, device=positions.device)
        found = near.nonzero().t()
        pairs.append(found)
        moved.append(shifts[s].unsqueeze(0).expand(found.shape[1], 3))
    return torch.cat(pairs, dim=1), torch.cat(moved, dim=0)
"""


def compose_torchforce(
    module: Any,
    card: ModelCard,
    *,
    topology: Topology | None = None,
    region: Any = None,
    atomic_numbers: Iterable[int] | None = None,
    periodic: bool | None = None,
    charge: int = 0,
    multiplicity: int = 1,
) -> tuple[Any, ModelCard]:
    """Make a module of TorchForce's contract from a canonical one.

    Parameters
    ----------
    module : torch.jit.ScriptModule
        The canonical module, not frozen.
    card
        Its card.
    topology
        Where elements come from.
    region
        Indices; with a topology also a selection or a mask. None for all particles.
    atomic_numbers
        (N,), of the region in its order, in place of the topology's elements.
    periodic
        Whether TorchForce passes the box; by default as in `Potential.create_force`.
    charge, multiplicity
        Of the atoms.

    Returns
    -------
    module : torch.jit.ScriptModule
        Takes positions [nm] of all particles, the box [nm] if periodic, and the parameters; returns the energy
        [kJ/mol], and the forces [kJ/mol/nm] on all particles if the canonical module returns forces.
    card : ModelCard
        ``ModelCard.torchforce(...)`` that fits.

    Raises
    ------
    UnsupportedError
        If the module is not TorchScript.
    ParticleError
        If elements are needed and missing, or are not those that the potential knows.
    ParameterError
        If an option is not what the card allows.
    """
    import torch

    if not isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError(
            "to_torchforce", f"a potential, {card.name!r}, that lives in this process only",
                    "one that is TorchScript", "export its module first, with export_potential(module, path, card)"
        )  # fmt: skip
    particles = check_region(region, topology)
    numbers = check_numbers(card, particles, atomic_numbers, topology)
    boxed = check_periodic(card, periodic, whole=region is None, topology=topology)
    check_charge(card, charge)
    check_multiplicity(card, multiplicity)

    class TorchForceModule(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = read_script(write_script(module))  # a copy: submodules are shared
            self.cutoff: float = float(card.cutoff or 0.0)
            self.periodic: bool = boxed
            dtype = torch.float32 if card.dtype == "float32" else torch.float64
            # Where the module is converted to another dtype, the model is, and this shows to which.
            self.register_buffer("like", torch.zeros((), dtype=dtype))
            self.register_buffer("atoms", torch.tensor(particles or (), dtype=torch.int64))
            self.register_buffer("numbers", torch.tensor(numbers or (), dtype=torch.int64))

    with quiet_torchscript():
        made: Any = torch.jit.script(TorchForceModule().eval())
        if card.uses_edges:
            made.define(_EDGES)
        offset = energy_offset(card, numbers or ())
        made.define(_forward(card, boxed, particles is not None, offset, charge, multiplicity))
    outputs = ("energy", "forces") if card.returns_forces else ("energy",)
    return made, ModelCard.torchforce(outputs=outputs, parameters=card.parameters, periodic=boxed)


def _forward(card: ModelCard, boxed: bool, subset: bool, offset: float, charge: int, multiplicity: int) -> str:
    """Write the forward method in TorchScript."""
    parameters = list(card.parameters)
    arguments = ["positions: Tensor", *(["box: Tensor"] if boxed else []), *(f"{name}: Tensor" for name in parameters)]
    lines = [
        f"def forward(self, {', '.join(arguments)}):",
        f"    x = positions{'.index_select(0, self.atoms)' if subset else ''} / {card.length_factor!r}",
    ]
    if boxed:
        lines.append(f"    cell = box.to(x.dtype) / {card.length_factor!r}")
    else:
        lines.append("    cell = torch.zeros((3, 3), dtype=x.dtype, device=x.device)")
    if card.frame == "invariant" and boxed:
        # Into the box, so that images that count are near; whole vectors have no gradient.
        lines.append("    x = x - torch.floor((x @ torch.linalg.inv(cell)).detach()) @ cell")
    elif card.frame == "invariant":
        lines.append("    x = x - x.mean(dim=0).detach()")
    if card.uses_edges:
        lines.append("    edge_index, shifts = self._edges(x.detach(), cell)")
    values = {
        "positions": "x.to(self.like.dtype)",
        "box": "cell.to(self.like.dtype)",
        "atomic_numbers": "self.numbers",
        "charge": f"torch.full((), {float(charge)!r}, dtype=self.like.dtype, device=x.device)",
        "multiplicity": f"torch.full((), {float(multiplicity)!r}, dtype=self.like.dtype, device=x.device)",
        "edge_index": "edge_index",
        "edge_shifts": "shifts.to(self.like.dtype)",
    }
    given = [values[n] if n in KNOWN_INPUTS else f"{n}.to(self.like.dtype)" for n in card.inputs]
    returned = "e, f" if card.returns_forces else "e"
    lines.append(f"    {returned} = self.model({', '.join(given)})")
    lines.append(f"    energy = e.to(torch.float64).sum() / {float(card.committee_size)!r}")
    lines.append(f"    energy = {card.energy_factor!r} * energy + {offset!r}")
    if not card.returns_forces:
        lines.append("    return energy")
    else:
        lines.append(f"    f = f.to(positions.dtype) * {card.energy_factor / card.length_factor!r}")
        if subset:
            lines.append("    f = torch.zeros_like(positions).index_add(0, self.atoms, f)")
        lines.append("    return energy, f")
    return "\n".join(lines) + "\n"
