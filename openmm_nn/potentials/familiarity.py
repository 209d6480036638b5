"""Whether a structure is one that a potential knows, by the deviation of its members and by its electrons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EvaluationError, warn
from ..model.card_values import METALS, element_symbol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .potential import Potential

__all__ = ["SIGMA_LIMITS", "unfamiliar", "unpaired", "warn_of_unfamiliar"]

SIGMA_LIMITS = MappingProxyType({"openmm-nn/hcno-1": 600.0})
"""Largest deviation sigma_F of an atom in kJ/mol/nm that is usual where a bundled potential holds.

At structures of a force field one of fifty molecules of its training has more, and those are its worst.
``python -m training.familiarity`` measures the distributions, which docs/measured.md shows.
"""


def unfamiliar(
    name: str, numbers: Sequence[int], forces_std: NDArray[np.float64] | None, labels: Sequence[str] | None = None
) -> str:
    """Say on which atom a committee disagrees as it does where it does not know the chemistry.

    Parameters
    ----------
    name
        Of the potential.
    numbers
        (N,) atomic numbers.
    forces_std
        (N,) float64, kJ/mol/nm: deviation of the members' forces on each atom, as `Evaluation` has it.
    labels
        (N,) names of the atoms; by default their elements and places.

    Returns
    -------
    str
        A sentence, or nothing if all is usual or no limit is known for this potential.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.potentials.familiarity import unfamiliar
    >>> unfamiliar("openmm-nn/hcno-1", [8, 1, 1], np.array([30.0, 20.0, 20.0]))
    ''
    """
    limit = SIGMA_LIMITS.get(name)
    if limit is None or forces_std is None or not len(forces_std):
        return ""
    atom = int(np.argmax(forces_std))
    worst = float(forces_std[atom])
    if worst <= limit:
        return ""
    where = f"{element_symbol(numbers[atom])} (atom {atom})" if labels is None else labels[atom]
    return (
        f"The members of {name!r} disagree by {worst:.0f} kJ/mol/nm about the force on {where}, where up to "
        f"{limit:.0f} is usual: either the potential does not know this chemistry, or the structure is far from a "
        "minimum. Minimise it with a force field; if the deviation stays, use another potential."
    )


def unpaired(numbers: Sequence[int], charge: int, multiplicity: int) -> bool:
    """Tell whether a number of electrons cannot have a multiplicity; of metals nothing is said.

    Parameters
    ----------
    numbers
        (N,) atomic numbers.
    charge, multiplicity
        Of all atoms.

    Returns
    -------
    bool
        True for an odd number with an odd multiplicity, and for an even one with an even multiplicity.
    """
    known = bool(numbers) and all(number > 0 and number not in METALS for number in numbers)
    return known and (sum(numbers) - charge + multiplicity) % 2 == 0


def warn_of_unfamiliar(
    potential: Potential,
    numbers: Sequence[int],
    positions: Any,
    labels: Sequence[str],
    *,
    box: Any | None = None,
    charge: int = 0,
    multiplicity: int = 1,
) -> None:
    """Evaluate a potential once on a structure, and warn if its members disagree as they do on unknown chemistry.

    Parameters
    ----------
    potential
        Nothing is evaluated if no limit of its deviation is known.
    numbers
        (N,) atomic numbers.
    positions
        (N,3): a Quantity, or numbers in nm.
    labels
        (N,) names of the atoms, for the warning.
    box
        (3,3): a Quantity, or numbers in nm; None for a cluster.
    charge, multiplicity
        Of all atoms.
    """
    if potential.card.name not in SIGMA_LIMITS:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is said below has the names of the atoms
        try:
            found = potential.evaluate(positions, numbers, box=box, charge=charge, multiplicity=multiplicity)
        except EvaluationError:  # whoever runs this hears of it with the frame that is wrong
            return
    text = unfamiliar(potential.card.name, numbers, found.forces_std, labels)
    if text:
        warn(text)
