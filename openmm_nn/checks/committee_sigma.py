"""How much the members of a committee disagree here, against how much they do where the potential is known to hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OpenMMNNError, ParameterError
from ..model.card_values import element_symbol
from ..units import in_nanometers
from .preflight_report import Check
from .registry import register
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__: list[str] = []

_SAMPLES = 12
_MOST = 40
_FAR, _NEAR = 3.0, 1.5


@register("committee_sigma")
def committee_sigma(subject: Subject) -> Check:
    """Compare the largest deviation of the members' forces here with that on reference geometries."""
    name, unit = "committee_sigma", "kJ/mol/nm"
    card = subject.card
    if card.committee_size == 1:
        text = "The potential has one member, and so no opinion on how sure it is. Use a committee to learn that."
        return Check(name, None, "", "skipped", text)
    if card.returns_forces:
        text = "The potential returns its mean force itself, so that the members' forces cannot be compared."
        return Check(name, None, "", "skipped", text)
    here = subject.run(subject.positions, box=subject.box, precision="model", members=True)
    if here.forces_std is None or here.forces is None or here.energy_std is None:
        return Check(name, None, "", "skipped", "The potential gave no deviation.")
    atom = int(here.forces_std.argmax())
    worst = float(here.forces_std[atom])
    label = f"{element_symbol(subject.numbers[atom])} (atom {atom})"
    typical = float(np.sqrt(np.mean(np.sum(here.forces**2, axis=1))))
    details: dict[str, Any] = {
        "atom": atom,
        "sigma_energy_kJ_mol": here.energy_std,
        "sigma_over_root_mean_square_force": worst / max(typical, 1e-9),
    }
    if worst <= 1e-9 * max(typical, 1.0) and here.energy_std <= 1e-9:
        text = (
            "The members agree to the last digit: they are copies of one another, and their deviation says nothing. "
            "Look at how the committee was put together."
        )
        return Check(name, worst, unit, "fail", text, details)
    known = _reference(subject)
    if known is None:
        return _without_reference(worst, typical, label, details)
    details.update(reference_sigma_kJ_mol_nm=known, ratio=worst / known)
    ratio = worst / known
    if ratio > _FAR:
        text = (
            f"The members disagree by {worst:.3g} kJ/mol/nm on {label}, {ratio:.1f} times as much as on "
            "geometries that "
            "the potential knows: this is far from its training. Minimise first; if it stays, label such structures "
            "and train on them, or use another potential."
        )
        return Check(name, worst, unit, "fail", text, details, limit=_FAR * known)
    if ratio > _NEAR:
        text = (
            f"The members disagree by {worst:.3g} kJ/mol/nm on {label}, {ratio:.1f} times as much as on "
            "geometries that "
            "the potential knows. Watch the deviation during the run."
        )
        return Check(name, worst, unit, "warn", text, details, limit=_NEAR * known)
    text = f"The members disagree no more than on geometries that the potential knows ({ratio:.2f} times as much)."
    return Check(name, worst, unit, "pass", text, details, limit=_NEAR * known)


def _without_reference(worst: float, typical: float, label: str, details: dict[str, Any]) -> Check:
    share = worst / max(typical, 1e-9)
    hint = "Give reference= (geometries that the potential knows) to learn whether that is much."
    if share > 1.0:
        text = f"The members disagree by {worst:.3g} kJ/mol/nm on {label}, which is as much as forces are here. {hint}"
        return Check("committee_sigma", worst, "kJ/mol/nm", "warn", text, details, limit=typical)
    text = f"The members disagree by {share:.2g} of the forces' size at most. {hint}"
    return Check("committee_sigma", worst, "kJ/mol/nm", "pass", text, details, limit=typical)


def _reference(subject: Subject) -> float | None:
    """Return the largest deviation of forces in kJ/mol/nm that nine of ten reference geometries stay below."""
    given = subject.reference
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not 0.0 < float(given) < float("inf"):
            raise ParameterError("reference", repr(given), "a positive deviation in kJ/mol/nm", "correct it")
        return float(given)
    geometries = _bundled(subject) if given is None else _geometries(subject, given)
    largest = []
    for numbers, positions in geometries:
        try:
            result = subject.run(positions, numbers, precision="model", members=True, charge=0, multiplicity=1)
        except OpenMMNNError as error:
            raise ParameterError(
                "reference", f"a geometry that the potential cannot evaluate ({error})",
                        "geometries of elements that it knows", "leave that one out"
            ) from error  # fmt: skip
        if result.forces_std is not None:
            largest.append(float(result.forces_std.max()))
    return float(np.quantile(largest, 0.9)) if largest else None


def _geometries(subject: Subject, given: Any) -> list[tuple[tuple[int, ...], Array]]:
    """Read reference geometries: frames of the same atoms, or pairs of atomic numbers and positions."""
    if hasattr(given, "xyz"):
        given = np.asarray(given.xyz, dtype=np.float64)
    remedy = (
        "give an array (F,N,3) in nm of the same atoms, an MDTraj trajectory of them, or pairs (numbers, positions)"
    )
    wrong = ParameterError("reference", f"a {type(given).__name__}", "reference geometries", remedy)
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[1:] != (len(subject.numbers), 3):
            raise wrong
        chosen = np.unique(np.linspace(0, len(given) - 1, min(_MOST, len(given))).astype(int))
        return [(subject.numbers, np.asarray(given[k], dtype=np.float64)) for k in chosen]
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise wrong
    found = []
    for entry in given:
        try:
            numbers, positions = entry
            pair = (tuple(int(n) for n in numbers), in_nanometers(positions))
        except (TypeError, ValueError) as error:
            raise wrong from error
        if pair[1].shape != (len(pair[0]), 3):
            raise wrong
        found.append(pair)
    if not found:
        raise wrong
    return found[:_MOST]


def _bundled(subject: Subject) -> list[tuple[tuple[int, ...], Array]]:
    """Return geometries of the training set, for the potential that ships with the package."""
    from ..potentials.bundled import BUNDLED_FOLDER
    from ..potentials.loading import load_potential

    labels = BUNDLED_FOLDER / "labels_sample.npz"
    name = subject.card.name
    if not name.startswith("openmm-nn/") or not labels.is_file() or subject.potential.sha256 is None:
        return []
    if load_potential(name).sha256 != subject.potential.sha256:
        return []
    data = np.load(labels, allow_pickle=False)
    first = data["first"]
    # Geometries of dynamics: those of a run are like them.
    kinds = [str(kind) for kind in data["kind_names"]]
    wanted = kinds.index("langevin") if "langevin" in kinds else -1
    usable = np.flatnonzero((data["kinds"] == wanted) & (np.diff(first) >= 5) & (np.diff(first) <= 40))
    chosen = subject.random("reference").choice(usable, size=min(_SAMPLES, len(usable)), replace=False)
    return [
        (
            tuple(int(n) for n in data["numbers"][first[k] : first[k + 1]]),
            in_nanometers(_angstrom(data["positions"][first[k] : first[k + 1]])),
        )
        for k in chosen
    ]


def _angstrom(positions: Any) -> Any:
    from openmm import unit

    return np.asarray(positions, dtype=np.float64) * unit.angstrom
