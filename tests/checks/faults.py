"""Potentials with one thing wrong, wrapped round the bundled one, each with the check that must catch it.

``module`` is called with what the card lists; every fault is otherwise the sound potential.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from openmm_nn import ModelCard, Potential, load_potential

EV_NM = 0.1  # nm of an angstrom, the length unit of the sound card


@dataclasses.dataclass(frozen=True)
class Fault:
    """A wrong potential.

    Attributes
    ----------
    name : str
        What is wrong.
    make : callable
        Makes it from the sound one.
    check : str
        The name of the check that catches it.
    says : str
        A regular expression of what its advice must say.
    options : dict
        Arguments of ``preflight`` beside the structure.
    molecule : str
        Which structure of `structures` shows it.
    """

    name: str
    make: Callable[[Potential], Potential]
    check: str
    says: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    molecule: str = "methanol"


class Wrapped(nn.Module):
    """The sound module, changed by a function of (module, arguments, output)."""

    def __init__(self, inner: Any, change: Callable[..., Any]) -> None:
        super().__init__()
        self.inner = inner
        self.change = change

    def forward(self, *arguments: Tensor) -> Any:
        return self.change(self.inner, *arguments)


def wrap(change: Callable[..., Any], **card: Any) -> Callable[[Potential], Potential]:
    """Make a potential whose module is `change(sound module, *arguments)` and whose card differs in some fields."""

    def make(sound: Potential) -> Potential:
        new = dataclasses.replace(sound.card, format="callable", **card)
        return load_potential(Wrapped(sound.module, change), card=new)

    return make


def energies(change: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A change of atomic energies (K,N) in eV: change(energies, positions, numbers, edges, shifts)."""

    def apply(inner: Any, positions: Tensor, numbers: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
        return change(inner(positions, numbers, edges, shifts), positions, numbers, edges, shifts)

    return apply


def added(term: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], **card: Any) -> Callable[[Potential], Potential]:
    """The sound potential and a term in eV, of (positions, numbers, edges, shifts), shared by its atoms."""

    def change(e: Tensor, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
        return e + term(x, z, edges, shifts) / e.shape[-1]

    return wrap(energies(change), **card)


def with_forces(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Potential], Potential]:
    """Return the mean energy and forces in eV/Å, changed by a function of (forces, positions)."""

    def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            energy = inner(x, z, edges, shifts).mean(dim=0).sum()
            forces = -torch.autograd.grad(energy, x)[0]
        return energy.detach(), change(forces, x.detach())

    return wrap(apply, outputs=("energy", "forces"), committee_size=1)


def differentiable_with_forces(factor: float) -> Callable[[Potential], Potential]:
    """As `with_forces`, with an energy that torch can differentiate."""

    def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        x = x if x.requires_grad else x.requires_grad_(True)
        energy = inner(x, z, edges, shifts).mean(dim=0).sum()
        forces = -torch.autograd.grad(energy, x, retain_graph=True)[0]
        return energy, factor * forces.detach()

    return wrap(apply, outputs=("energy", "forces"), committee_size=1)


def vectors(x: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Displacements along edges (E,3) in Å."""
    return x[edges[1]] - x[edges[0]] + shifts


def lengths(x: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Lengths of edges (E,) in Å."""
    return vectors(x, edges, shifts).norm(dim=1)


def relabelled(**card: Any) -> Callable[[Potential], Potential]:
    """The sound module with a card that says something else of it."""

    def make(sound: Potential) -> Potential:
        return load_potential(sound.module, card=dataclasses.replace(sound.card, format="torchscript", **card))

    return make


def energy_unit(name: str) -> Callable[[Potential], Potential]:
    """A card with another energy unit, whose offsets are those of the module."""
    return relabelled(energy_unit=name)


def stretched(factor: float) -> Callable[[Potential], Potential]:
    """A module that works in another length unit, with a card that still says angstrom."""

    def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
        return inner(x * factor, z, _all_pairs(z), torch.zeros((len(z) * (len(z) - 1), 3), dtype=x.dtype))

    return wrap(apply)


def _all_pairs(z: Tensor) -> Tensor:
    return torch.nonzero(1 - torch.eye(len(z), dtype=torch.int64)).t()


# ---- terms ---------------------------------------------------------------------------------------------------------


def step_at_cutoff(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Every neighbour within 4 Å counts a little, with no switch."""
    return 0.002 * (lengths(x, edges, shifts) < 4.0).to(x.dtype).sum()


def kink_at_cutoff(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """A term that goes to zero at 4 Å with a slope."""
    return 0.02 * torch.clamp(4.0 - lengths(x, edges, shifts), min=0.0).sum()


def outer_field(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """A spring to the origin."""
    return 0.01 * (x**2).sum()


def direction(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Bonds along x are dearer than those along z."""
    return 0.02 * (vectors(x, edges, shifts)[:, 0] ** 2 / (1.0 + lengths(x, edges, shifts) ** 2)).sum()


def handedness(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """A triple product of the first four atoms."""
    a, b, c = (x[i] - x[0] for i in (1, 2, 3))
    return 0.05 * torch.dot(a, torch.linalg.cross(b, c))


def atom_order(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Bonds count more, the later their first atom."""
    return 0.005 * (edges[0].to(x.dtype) * torch.exp(-lengths(x, edges, shifts))).sum()


def stiff_pair(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """A spring between the first two atoms a hundred times as stiff as a bond."""
    r = (x[1] - x[0]).norm()
    return 20000.0 * (r - 0.96) ** 2


def pooled(e: Tensor, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """A term that is a mean over all atoms instead of a sum."""
    mean = e.mean(dim=-1, keepdim=True)
    return e + 0.05 * (e - mean) ** 2 - 50.0 * mean**2 / e.shape[-1]


def dropout(e: Tensor, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Dropout left on: so much that it is not missed by chance in a few evaluations of 24 numbers."""
    return nn.functional.dropout(e, p=0.2, training=True)


def half_inside(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Positions pass through float16."""
    rounded = x + (x.to(torch.float16).to(x.dtype) - x).detach()
    return inner(rounded, z, edges, shifts)


def no_number_when_near(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """A root of something that becomes negative below 0.8 Å."""
    return 1e-3 * torch.sqrt(lengths(x, edges, shifts) - 0.8).sum()


def hole_when_near(x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Atoms fall into one another once they are closer than three quarters of an angstrom."""
    r = lengths(x, edges, shifts)
    return -60.0 * torch.sigmoid((0.85 - r) / 0.03).sum()


def detached(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Half of the geometry is hidden from the gradient."""
    mixed = torch.cat([x[:1].detach(), x[1:]])
    return inner(mixed, z, edges, shifts)


class Remembers:
    """An energy that depends on how often it was asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, e: Tensor, *rest: Tensor) -> Tensor:
        self.calls += 1
        return e + 0.001 * self.calls / e.shape[-1]


def hidden_box(sound: Potential) -> Potential:
    """The volume of the box enters."""

    def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor, box: Tensor) -> Tensor:
        e = inner(x, z, edges, shifts)
        return e + 1e-5 * torch.abs(torch.linalg.det(box)) / e.shape[-1]

    return wrap(apply, inputs=(*sound.card.inputs, "box"))(sound)


def wrong_image(sound: Potential) -> Potential:
    """Displacements forget the off-diagonal components of the box: each is wrapped by lengths alone."""

    def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor, box: Tensor) -> Tensor:
        edge = torch.diagonal(box)
        pair = _all_pairs(z)
        if bool(edge[0] > 0):
            delta = x[pair[1]] - x[pair[0]]
            moved = -torch.round(delta / edge) * edge
        else:
            moved = torch.zeros((pair.shape[1], 3), dtype=x.dtype)
        return inner(x, z, pair, moved)

    return wrap(apply, inputs=(*sound.card.inputs, "box"))(sound)


def nearest_image_only(sound: Potential) -> Potential:
    """Of every pair one image at most, even in a box smaller than twice the cutoff."""

    def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
        r = lengths(x, edges, shifts)
        n = len(z)
        best = torch.full((n * n,), float("inf"), dtype=x.dtype)
        key = edges[0] * n + edges[1]
        best = best.scatter_reduce(0, key, r.detach(), "amin")
        kept = (r.detach() <= best[key] + 1e-9) & (edges[0] != edges[1])
        return inner(x, z, edges[:, kept], shifts[kept])

    return wrap(apply)(sound)


def ignores(name: str) -> Callable[[Potential], Potential]:
    """A card with charge or multiplicity among its inputs, which the module throws away."""

    def make(sound: Potential) -> Potential:
        def apply(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor, given: Tensor) -> Tensor:
            return inner(x, z, edges, shifts)

        return wrap(apply, inputs=(*sound.card.inputs, name))(sound)

    return make


def identical_members(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """The first member four times."""
    return inner(x, z, edges, shifts)[:1].repeat(4, 1)


def friction(sound: Potential) -> Potential:
    """Forces with a swirl about an axis: work without end."""

    def swirl(forces: Tensor, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=0)
        return forces + 0.6 * torch.stack([-centred[:, 1], centred[:, 0], torch.zeros_like(centred[:, 0])], dim=1)

    return with_forces(swirl)(sound)


def large_total(inner: Any, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Energies of isolated atoms, of an all-electron method, summed in the model's own precision."""
    return inner(x, z, edges, shifts).sum(dim=1) - 5.0e5 * z.sum().to(x.dtype)


def far_from_training(e: Tensor, x: Tensor, z: Tensor, edges: Tensor, shifts: Tensor) -> Tensor:
    """Members that disagree about how long bonds are."""
    spread = torch.linspace(-1.0, 1.0, e.shape[0], dtype=x.dtype)[:, None]
    strain = torch.exp(-lengths(x, edges, shifts)).sum()
    return e + 8.0 * spread * strain / e.shape[-1]


FAULTS = (
    # units
    Fault("angstrom read as nm", relabelled(length_unit="nm"), "bond_lengths", "as if Å were read as nm"),
    Fault("nm read as angstrom", stretched(10.0), "bond_lengths", "as if nm were read as Å"),
    Fault("bohr read as angstrom", stretched(1.0 / 1.8897), "bond_lengths", "as if .* were read as Å"),
    Fault("angstrom read as bohr", relabelled(length_unit="bohr"), "bond_lengths", "as if Å were read as bohr"),
    Fault("eV as kJ/mol", energy_unit("kJ/mol"), "stretch_frequency", "as if eV were read as kJ/mol"),
    Fault("eV as kcal/mol", energy_unit("kcal/mol"), "stretch_frequency", "as if eV were read as kcal/mol"),
    Fault("eV as hartree", energy_unit("hartree"), "stretch_frequency", "as if eV were read as hartree"),
    Fault(
        "kcal/mol as kJ/mol",
        wrap(energies(lambda e, *_: e * 23.0605), energy_unit="kJ/mol"),
        "stretch_frequency",
        "as if kcal/mol were read as kJ/mol",
    ),
    Fault(
        "kJ/mol as kcal/mol",
        wrap(energies(lambda e, *_: e * 96.4853), energy_unit="kcal/mol"),
        "stretch_frequency",
        "as if kJ/mol were read as kcal/mol",
    ),
    # forces
    Fault("wrong sign", with_forces(lambda f, x: -f), "forces_central_differences", "wrong sign"),
    Fault("scaled by a half", with_forces(lambda f, x: 0.5 * f), "forces_central_differences", r"0\.5 times"),
    Fault(
        "kcal/mol per angstrom",
        with_forces(lambda f, x: 23.0605 * f),
        "forces_central_differences",
        "forces in kcal/mol per angstrom",
    ),
    Fault(
        "transposed",
        with_forces(lambda f, x: f.t().contiguous().reshape(f.shape)),
        "forces_central_differences",
        "transposed",
    ),
    Fault("atoms reversed", with_forces(lambda f, x: f.flip(0)), "forces_central_differences", "reverse order"),
    Fault("detached", wrap(detached), "forces_central_differences", "detach"),
    Fault("half of its own gradient", differentiable_with_forces(0.5), "forces_autograd", r"0\.5 times"),
    Fault("not conservative", friction, "closed_loop_work", "not the gradient of any energy"),
    Fault("drives the molecule", with_forces(lambda f, x: f + 0.2), "net_force", "add up to"),
    Fault("heats", friction, "nve_drift", "drifts|ended", {}, "water"),
    # symmetry
    Fault("an outer field", added(outer_field), "translation", "origin"),
    Fault("directions in space", added(direction), "rotation", "directions in space"),
    Fault("handed", added(handedness), "reflection", "mirror image"),
    Fault("order of atoms", added(atom_order), "permutation", "numbered"),
    # boxes
    Fault("hidden box", hidden_box, "box_dependence", "hidden way"),
    Fault("wrong images", wrong_image, "periodic_translation", "images"),
    Fault("nearest image only", nearest_image_only, "supercell", "images that are left out"),
    Fault("not a sum", wrap(energies(pooled)), "size_consistency", "pooling"),
    # smoothness
    Fault("a step at the cutoff", added(step_at_cutoff), "cutoff_smoothness", r"jumps by .* at a distance of 0\.4000"),
    Fault("a kink at the cutoff", added(kink_at_cutoff), "cutoff_smoothness", r"kink"),
    Fault("no number when near", added(no_number_when_near), "short_range_wall", "no finite number"),
    Fault("a hole when near", added(hole_when_near), "short_range_wall", "wall is"),
    Fault("stiff", added(stiff_pair), "largest_stable_step", "shorter step", {}, "water"),
    # numbers
    Fault("dropout left on", wrap(energies(dropout)), "determinism", "dropout"),
    Fault("remembers", wrap(energies(Remembers())), "determinism", "remembers"),
    Fault("float16 inside", wrap(half_inside), "energy_noise", "float16"),
    Fault(
        "a large total in single precision",
        wrap(large_total, outputs=("energies",), energy_offset={}),
        "energy_noise",
        "energy_offset",
    ),
    # what the card says
    Fault("charge ignored", ignores("charge"), "charge_response", "charge is ignored"),
    Fault("spin ignored", ignores("multiplicity"), "spin_response", "multiplicity is ignored"),
    Fault("an element unknown", relabelled(elements=("H", "C", "N"), energy_offset={}), "elements", "O"),
    Fault("an offset forgotten", relabelled(energy_offset={"H": -13.8, "C": -58.2}), "elements", "offset"),
    Fault("one hydrogen missing", lambda sound: sound, "charge_and_spin", "hydrogen", {}, "radical"),
    Fault(
        "arguments exchanged",
        wrap(lambda inner, *a: inner(*a), outputs=("atomic_energies", "forces"), committee_size=1),
        "finite",
        "outputs",
    ),
    # committees
    Fault("members that are copies", wrap(identical_members), "committee_sigma", "copies"),
    Fault(
        "members that disagree",
        wrap(energies(far_from_training)),
        "committee_sigma",
        "far from its training",
        {"reference": 250.0},
    ),
)
"""Every fault, with the name of the check that catches it."""


def card_of(sound: Potential) -> ModelCard:
    """The card of the sound potential."""
    return sound.card
