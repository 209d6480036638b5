"""Labels: GFN2-xTB energies and forces by tblite, in eV and eV/Angstrom."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: CODATA 2018, as used by tblite.
BOHR = 0.529177210903
HARTREE = 27.211386245988
METHOD = "GFN2-xTB"
#: Of a geometry where no molecule is: so many cycles, then as many with electrons this hot (kT in Hartree, 6000 K).
CYCLES, HOT = 60, 0.019


class Labeller:
    """GFN2-xTB of one molecule; consecutive geometries start from the charges of the one before.

    Parameters
    ----------
    numbers : ndarray of int, shape (n_atoms,)
        Atomic numbers of a neutral closed-shell molecule or cluster.
    """

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.numbers = numbers
        self.calls = 0
        self._calculator = None
        self._result = None

    def __call__(self, positions: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]] | None:
        """Energy and forces, or None where the self-consistent cycle does not converge.

        Parameters
        ----------
        positions : ndarray, shape (n_atoms, 3), Angstrom

        Returns
        -------
        energy : float, eV
        forces : ndarray, shape (n_atoms, 3), eV/Angstrom
        """
        from tblite.interface import Calculator

        bohr = np.asarray(positions, dtype=np.float64) / BOHR
        self.calls += 1
        try:
            if self._calculator is None:
                self._calculator = Calculator(METHOD, self.numbers, bohr)
                self._calculator.set("verbosity", 0)
            else:
                self._calculator.update(bohr)
            self._result = self._calculator.singlepoint(self._result)
        except RuntimeError:
            self._result = None
        label = _read(self._result)
        if label is None:
            self._calculator, self._result = None, None
        return label

    def afresh(self, positions: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]] | None:
        """The same of a geometry far from all others, without their charges, and with hot electrons where need be.

        Torn bonds leave electrons that do not pair, which a closed-shell method cannot describe; hot ones converge
        more often and to energies that are lower by a few tenths of an eV a bond, and still far above any molecule.
        """
        from tblite.interface import Calculator

        bohr = np.asarray(positions, dtype=np.float64) / BOHR
        for temperature in (None, HOT):
            self.calls += 1
            calculator = Calculator(METHOD, self.numbers, bohr)
            calculator.set("verbosity", 0)
            calculator.set("max-iter", CYCLES)
            if temperature is not None:
                calculator.set("temperature", temperature)
            try:
                label = _read(calculator.singlepoint())
            except RuntimeError:
                continue
            if label is not None:
                return label
        return None

    def surface(self, positions: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]]:
        """Energy (eV) and forces for a minimiser: a high plateau where there are none."""
        label = self(positions)
        return label if label is not None else (1e6, np.zeros_like(positions))


def _read(result: Any) -> tuple[float, NDArray[np.float64]] | None:
    """Energy and forces of a result of tblite; None without one, or if they are not finite."""
    if result is None:
        return None
    energy = float(result.get("energy")) * HARTREE
    forces = -np.asarray(result.get("gradient")) * (HARTREE / BOHR)
    return (energy, forces) if np.isfinite(energy) and np.isfinite(forces).all() else None
