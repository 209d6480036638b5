"""Every conversion factor of the package, derived from :mod:`openmm.unit`; no other number converts anything.

Inside, lengths are in nm and energies in kJ/mol, as in OpenMM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ENERGY_UNITS",
    "GAS_CONSTANT",
    "LENGTH_UNITS",
    "MASS_UNIT",
    "WAVENUMBER",
    "energy_factor",
    "in_nanometers",
    "in_unit",
    "length_factor",
    "thermal_energy",
]


def _kilojoules(energy: Any) -> float:
    """Convert an energy of one particle to kJ/mol."""
    return float((energy * unit.AVOGADRO_CONSTANT_NA).value_in_unit(unit.kilojoule_per_mole))


LENGTH_UNITS: dict[str, float] = {
    "nm": 1.0,
    "angstrom": float((1.0 * unit.angstrom).value_in_unit(unit.nanometer)),
    "bohr": float((1.0 * unit.bohr).value_in_unit(unit.nanometer)),
}
"""Length of one unit in nm, by the name that a card uses."""

ENERGY_UNITS: dict[str, float] = {
    "kJ/mol": 1.0,
    "kcal/mol": float((1.0 * unit.kilocalorie_per_mole).value_in_unit(unit.kilojoule_per_mole)),
    "eV": _kilojoules(1.0 * unit.elementary_charge * unit.volt),
    "hartree": _kilojoules(1.0 * unit.hartree),
}
"""Energy of one unit in kJ/mol, by the name that a card uses."""

MASS_UNIT = unit.dalton
"""The unit of the masses of a System."""

GAS_CONSTANT = float(unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin))
"""R in kJ/mol/K."""

WAVENUMBER = float((1.0 / (unit.SPEED_OF_LIGHT_C * unit.picosecond)).value_in_unit(unit.centimeter**-1))
"""Wavenumber in 1/cm of a frequency of one cycle per ps."""


def thermal_energy(temperature: float) -> float:
    """Return RT, the thermal energy of a mole, in kJ/mol.

    Parameters
    ----------
    temperature
        K.

    Returns
    -------
    float
        kJ/mol.

    Examples
    --------
    >>> from openmm_nn.units import thermal_energy
    >>> round(thermal_energy(300.0), 4)
    2.4943
    """
    return GAS_CONSTANT * temperature


def length_factor(name: str) -> float:
    """Return the length of a unit in nm.

    Parameters
    ----------
    name
        ``nm``, ``angstrom`` or ``bohr``.

    Returns
    -------
    float
        nm per unit.

    Examples
    --------
    >>> from openmm_nn.units import length_factor
    >>> round(length_factor("angstrom"), 12)
    0.1
    """
    return LENGTH_UNITS[name]


def energy_factor(name: str) -> float:
    """Return the energy of a unit in kJ/mol.

    Parameters
    ----------
    name
        ``kJ/mol``, ``kcal/mol``, ``eV`` or ``hartree``.

    Returns
    -------
    float
        kJ/mol per unit.

    Examples
    --------
    >>> from openmm_nn.units import energy_factor
    >>> energy_factor("kcal/mol")
    4.184
    """
    return ENERGY_UNITS[name]


def in_unit(value: Any, of: Any) -> float:
    """Convert a Quantity, or take a plain number as it is.

    Parameters
    ----------
    value
        A Quantity, or a number in `of`.
    of
        Unit of OpenMM.

    Returns
    -------
    float
        In `of`.

    Raises
    ------
    TypeError
        If it is a Quantity of another dimension, or no number.
    ValueError
        If it is a text that is no number.

    Examples
    --------
    >>> from openmm import unit
    >>> from openmm_nn.units import in_unit
    >>> in_unit(2.0 * unit.femtosecond, unit.picosecond), in_unit(0.002, unit.picosecond)
    (0.002, 0.002)
    """
    return float(value.value_in_unit(of) if unit.is_quantity(value) else value)


def in_nanometers(value: Any) -> NDArray[np.float64]:
    """Convert lengths to an array in nm.

    Parameters
    ----------
    value
        A Quantity of length (of an array, or of a list of Vec3), or plain numbers in nm.

    Returns
    -------
    numpy.ndarray
        float64, nm; a copy, so that the caller's array is never changed.

    Raises
    ------
    TypeError
        If it is a Quantity that is no length.
    ValueError
        If it cannot be made an array of numbers.

    Examples
    --------
    >>> from openmm import unit
    >>> from openmm_nn.units import in_nanometers
    >>> in_nanometers([[1.0, 2.0, 3.0]] * unit.nanometer)
    array([[1., 2., 3.]])
    """
    if unit.is_quantity(value):
        value = value.value_in_unit(unit.nanometer)
    elif isinstance(value, list | tuple) and any(unit.is_quantity(row) for row in value):
        value = [row.value_in_unit(unit.nanometer) if unit.is_quantity(row) else row for row in value]
    return np.array(value, dtype=np.float64)
