"""Writes the analytic models to files, each once a session; also a command: ``python -m models.generate FOLDER``."""

import dataclasses
import pathlib
import sys
import warnings
from collections.abc import Mapping

import torch
from torch import nn

from openmm_nn import ModelCard, Potential, export_potential, load_potential, units

from .analytic import Harmonic, HarmonicBox, HarmonicParameter, HarmonicWithForces
from .pairwise import (
    MEMBERS,
    PairBox,
    PairChargeSpin,
    PairEdges,
    PairEdgesForces,
    PairParameter,
    PairPlain,
    PairSpec,
    spec_in_units,
)

UNITS: Mapping[str, tuple[str, str]] = {
    "nm": ("nm", "kJ/mol"),
    "angstrom": ("angstrom", "eV"),
    "bohr": ("bohr", "hartree"),
    "kcal": ("angstrom", "kcal/mol"),
}
# Energies of isolated atoms in kJ/mol; large, so that a total in float32 would not resolve the pair energy.
ATOMS: Mapping[str, float] = {"H": -1300.5, "C": -99000.25, "N": -143000.125, "O": -197000.75}
WIDE = 6.0  # nm: a range that no cluster of these tests exceeds


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """Script a module in eval mode, without torch's notice that this is going away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module.eval())


def save(module: nn.Module, path: pathlib.Path) -> pathlib.Path:
    """Save a module as TorchScript with no card, as users of openmm-torch do."""
    scripted = script(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(scripted, str(path))
    return path


class ModelSet:
    """Files of models in one folder, made when they are first asked for.

    Parameters
    ----------
    folder : pathlib.Path
        Where the files go.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._made: dict[tuple[object, ...], pathlib.Path] = {}

    # ---- TorchForce contract, no card inside ------------------------------------------------------------------

    def torchforce_file(self, name: str) -> pathlib.Path:
        """A card-less file: ``harmonic``, ``box``, ``parameter`` or ``forces-<layout>``."""
        key = ("torchforce", name)
        if key not in self._made:
            module: nn.Module
            if name.startswith("forces-"):
                module = HarmonicWithForces(name.removeprefix("forces-"))
            else:
                module = {"harmonic": Harmonic, "box": HarmonicBox, "parameter": HarmonicParameter}[name]()
            self._made[key] = save(module, self.folder / f"torchforce-{name}.pt")
        return self._made[key]

    def torchforce(self, name: str) -> Potential:
        """The potential of a card-less file, with the card that says what the file cannot."""
        path = self.torchforce_file(name)
        if name == "harmonic":
            return load_potential(path)
        if name == "box":
            return load_potential(path, card=ModelCard.torchforce(periodic=True))
        if name == "parameter":
            return load_potential(path, card=ModelCard.torchforce(parameters={"k": 3.5, "x0": 0.25}))
        return load_potential(path, card=ModelCard.torchforce(outputs=("energy", "forces")))

    # ---- canonical models, card inside -------------------------------------------------------------------------

    @staticmethod
    def pair_module(
        kind: str,
        *,
        unit: str = "nm",
        output: str = "energy",
        members: int = 1,
        wide: bool = False,
        deep: bool = False,
    ) -> nn.Module:
        """The module of `pair`, eager."""
        length, energy = UNITS[unit]
        spec = PairSpec(
            cutoff=WIDE if wide else PairSpec.cutoff, members=MEMBERS[:members] if members > 1 else ((1.0, 0.0),)
        )
        if deep:
            spec = dataclasses.replace(spec, depth=2.0 * spec.depth)
        spec = spec_in_units(units.LENGTH_UNITS[length], units.ENERGY_UNITS[energy], spec)
        forms = {
            "plain": PairPlain,
            "box": PairBox,
            "edges": PairEdges,
            "edges-forces": PairEdgesForces,
            "charge": PairChargeSpin,
            "parameter": PairParameter,
        }
        return forms[kind](spec, output)

    @staticmethod
    def pair_card(
        kind: str,
        *,
        unit: str = "nm",
        output: str = "energy",
        members: int = 1,
        dtype: str = "float64",
        wide: bool = False,
        offset: bool = False,
        elements: tuple[str, ...] | None = ("H", "C", "N", "O"),
        frame: str = "invariant",
    ) -> ModelCard:
        """The card of `pair`."""
        length, energy = UNITS[unit]
        nm, kj = units.LENGTH_UNITS[length], units.ENERGY_UNITS[energy]
        inputs = {
            "plain": ("positions", "atomic_numbers"),
            "box": ("positions", "box", "atomic_numbers"),
            "edges": ("positions", "atomic_numbers", "edge_index", "edge_shifts"),
            "edges-forces": ("positions", "atomic_numbers", "edge_index", "edge_shifts"),
            "charge": ("positions", "atomic_numbers", "charge", "multiplicity"),
            "parameter": ("positions", "atomic_numbers", "strength", "tilt"),
        }[kind]
        outputs = (output, "forces") if kind == "edges-forces" else (output,)
        return ModelCard(
            name=f"pair-{kind}",
            version="1.0",
            description="Analytic pair potential of the tests.",
            inputs=inputs,
            outputs=outputs,
            parameters={"strength": 1.5, "tilt": -2.0} if kind == "parameter" else {},
            length_unit=length,
            energy_unit=energy,
            energy_offset={element: value / kj for element, value in ATOMS.items()} if offset else {},
            dtype=dtype,
            elements=elements,
            cutoff=(WIDE if wide else PairSpec.cutoff) / nm,
            periodic="optional" if kind in ("box", "edges", "edges-forces") else "never",
            frame=frame,
            long_range=False,
            committee_size=members,
            license="MIT",
        )

    def pair_file(
        self,
        kind: str = "edges",
        *,
        unit: str = "nm",
        output: str = "energy",
        members: int = 1,
        dtype: str = "float64",
        wide: bool = False,
        offset: bool = False,
        elements: tuple[str, ...] | None = ("H", "C", "N", "O"),
        frame: str = "invariant",
        deep: bool = False,
    ) -> pathlib.Path:
        """A carded file of the pair potential of `models.pairwise`.

        Parameters
        ----------
        kind : str
            ``plain``, ``box``, ``edges``, ``edges-forces``, ``charge`` or ``parameter``: which inputs it takes.
        unit : str
            A key of `UNITS`.
        output : str
            ``energy``, ``energies`` or ``atomic_energies``.
        members : int
            Committee size, up to 4; the members are `models.MEMBERS`.
        dtype : str
            Of the card.
        wide : bool
            Range of 6 nm instead of 0.6.
        offset : bool
            Add the energies `ATOMS` of isolated atoms through the card.
        elements : tuple of str or None
            Of the card.
        frame : str
            Of the card.
        deep : bool
            Twice as deep.

        Returns
        -------
        pathlib.Path
        """
        key = (kind, unit, output, members, dtype, wide, offset, elements, frame, deep)
        if key not in self._made:
            path = self.folder / f"pair-{len(self._made)}.pt"
            module = self.pair_module(kind, unit=unit, output=output, members=members, wide=wide, deep=deep)
            card = self.pair_card(
                kind,
                unit=unit,
                output=output,
                members=members,
                dtype=dtype,
                wide=wide,
                offset=offset,
                elements=elements,
                frame=frame,
            )
            export_potential(script(module), path, card)
            self._made[key] = path
        return self._made[key]

    def pair(
        self,
        kind: str = "edges",
        *,
        unit: str = "nm",
        output: str = "energy",
        members: int = 1,
        dtype: str = "float64",
        wide: bool = False,
        offset: bool = False,
        elements: tuple[str, ...] | None = ("H", "C", "N", "O"),
        frame: str = "invariant",
    ) -> Potential:
        """The potential of `pair_file`, read from the file."""
        return load_potential(
            self.pair_file(
                kind,
                unit=unit,
                output=output,
                members=members,
                dtype=dtype,
                wide=wide,
                offset=offset,
                elements=elements,
                frame=frame,
            )
        )


def main(folder: str) -> None:
    """Write one file of every kind."""
    models = ModelSet(pathlib.Path(folder))
    models.folder.mkdir(parents=True, exist_ok=True)
    for name in ("harmonic", "box", "parameter", "forces-contiguous", "forces-transposed", "forces-strided"):
        models.torchforce_file(name)
    for kind in ("plain", "box", "edges", "edges-forces", "charge", "parameter"):
        models.pair_file(kind)


if __name__ == "__main__":
    main(sys.argv[1])
