"""Covalent radii: where a link atom sits, and which pair of atoms can be a bond."""

from __future__ import annotations

from ... import errors

# Single-bond radii in picometre, by atomic number from 1 (hydrogen) to 118. P. Pyykkö, M. Atsumi, Chem. Eur. J. 15, 186
# (2009), doi:10.1002/chem.200800987; metals reduced by a tenth, as in DFT-D3: S. Grimme et al., J. Chem. Phys. 132,
# 154104 (2010), doi:10.1063/1.3382344. OpenMM-ML places its link atoms by the same set.
_RADII_PM = (
    32, 46, 120, 94, 77, 75, 71, 63, 64, 67, 140, 125, 112, 104, 110, 102, 99, 96,
    176, 154, 133, 122, 121, 110, 107, 104, 100, 99, 101, 109, 112, 109, 114, 110, 113, 117,
    189, 167, 147, 139, 132, 124, 114, 112, 112, 108, 114, 123, 128, 126, 126, 123, 132, 131,
    209, 176, 162, 147, 158, 157, 156, 155, 151, 152, 151, 150, 149, 149, 148, 153, 146, 137, 131, 123, 118, 115, 111,
    112, 112, 132, 130, 130, 136, 131, 138, 142,
    200, 181, 167, 158, 152, 153, 154, 155, 149, 149, 151, 151, 148, 150, 156, 158, 145, 141, 134, 129, 127, 121, 115,
    114, 109, 122, 136, 143, 146, 158, 148, 157,
)  # fmt: skip

_PM_PER_NM = 1000.0


def covalent_radius(atomic_number: int) -> float:
    """Single-bond covalent radius of an element.

    Parameters
    ----------
    atomic_number : int
        From 1 to 118.

    Returns
    -------
    float
        The radius in nm.

    Raises
    ------
    ParticleError
        If there is no such element.

    References
    ----------
    P. Pyykkö, M. Atsumi, Chem. Eur. J. 15, 186 (2009), doi:10.1002/chem.200800987

    Examples
    --------
    >>> from openmm_nn.systems.hybrid.radii import covalent_radius
    >>> covalent_radius(6)
    0.075
    """
    if not 1 <= atomic_number <= len(_RADII_PM):
        raise errors.ParticleError(
            "atomic_number",
            f"{atomic_number}",
            f"1 to {len(_RADII_PM)}",
            "give the atom an element in the topology",
        )
    return _RADII_PM[atomic_number - 1] / _PM_PER_NM
