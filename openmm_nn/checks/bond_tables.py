"""What is known of bonds, for telling whether a potential's units are right.

References
----------
Bond lengths: P. Pyykkö, M. Atsumi, Chem. Eur. J. 15, 186 (2009), doi:10.1002/chem.200800987 (sums of covalent radii).
Stretching frequencies of bonds to hydrogen: T. Shimanouchi, Tables of Molecular Vibrational Frequencies, NSRDS-NBS 39
(1972), doi:10.6028/NBS.NSRDS.39; diatomic molecules: K. P. Huber, G. Herzberg, Constants of Diatomic Molecules (1979),
doi:10.1007/978-1-4757-0961-2.
Force constant from the length of a bond: R. M. Badger, J. Chem. Phys. 2, 128 (1934), doi:10.1063/1.1749433, with the
constants of D. R. Herschbach, V. W. Laurie, J. Chem. Phys. 35, 458 (1961), doi:10.1063/1.1731952.
"""

from __future__ import annotations

import numpy as np
from openmm import unit

from ..systems.hybrid.radii import covalent_radius

__all__ = ["bond_length", "force_constant", "stretch_of", "wavenumber"]

# cm⁻¹, harmonic, by the atomic number of what hydrogen is bonded to.
_HYDROGEN_STRETCH = {1: 4400.0, 5: 2500.0, 6: 3080.0, 7: 3480.0, 8: 3800.0, 9: 4140.0, 14: 2230.0, 15: 2400.0,
                     16: 2700.0, 17: 2990.0, 35: 2650.0, 53: 2310.0}  # fmt: skip

# (a, d) in Å of r = d + (a - d) k^(-1/3), k in 10⁵ dyn/cm, by the rows of the two elements: 0 hydrogen, 1, 2, 3...
_HERSCHBACH_LAURIE = {(0, 0): (1.26, 0.025), (0, 1): (1.66, 0.30), (0, 2): (1.84, 0.38), (1, 1): (1.91, 0.68),
                      (1, 2): (2.28, 0.74), (2, 2): (2.41, 1.18)}  # fmt: skip

_ANGSTROM = float((1.0 * unit.nanometer).value_in_unit(unit.angstrom))
_DYNE_CM = float(
    (1.0e5 * unit.dyne / unit.centimeter * unit.AVOGADRO_CONSTANT_NA).value_in_unit(
        unit.kilojoule_per_mole / unit.nanometer**2
    )
)
_LIGHT_CM_PS = float((1.0 * unit.SPEED_OF_LIGHT_C).value_in_unit(unit.centimeter / unit.picosecond))


def bond_length(first: int, second: int) -> float:
    """Return the length of a single bond in nm."""
    return covalent_radius(first) + covalent_radius(second)


def wavenumber(constant: float, reduced_mass: float) -> float:
    """Return the frequency of a stretch.

    Parameters
    ----------
    constant
        Force constant in kJ/mol/nm².
    reduced_mass
        Da.

    Returns
    -------
    float
        cm⁻¹; negative if the force constant is.

    Examples
    --------
    >>> from openmm_nn.checks.bond_tables import wavenumber
    >>> round(wavenumber(311000.0, 0.948))
    3041
    """
    return float(np.sign(constant) * np.sqrt(abs(constant) / reduced_mass) / (2.0 * np.pi * _LIGHT_CM_PS))


def stretch_of(first: int, second: int) -> float | None:
    """Return the tabulated stretching frequency of a bond to hydrogen in cm⁻¹; None for other bonds."""
    low, high = sorted((first, second))
    return _HYDROGEN_STRETCH.get(high) if low == 1 else None


def force_constant(first: int, second: int, length: float) -> float | None:
    """Return the force constant that a bond of some length usually has, by Badger's rule.

    Parameters
    ----------
    first, second
        Atomic numbers.
    length
        nm.

    Returns
    -------
    float or None
        kJ/mol/nm²; None for elements beyond chlorine, or a length that no bond has.
    """
    low, high = sorted((_row(first), _row(second)))
    if (low, high) not in _HERSCHBACH_LAURIE:
        return None
    a, d = _HERSCHBACH_LAURIE[(low, high)]
    above = length * _ANGSTROM - d
    return None if above <= 0.05 else float(((a - d) / above) ** 3 * _DYNE_CM)


def _row(number: int) -> int:
    return 0 if number == 1 else 1 if number <= 10 else 2 if number <= 18 else 3
