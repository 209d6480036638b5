"""Potentials of OpenMM-ML, run by the Python runner: by name, or as an ``MLPotential``.

OpenMM-ML makes a System of a potential, and OpenMM's Reference platform evaluates it, in the units of OpenMM. Such a
potential lives in its process: it is written to no file.

References
----------
Eastman et al., J. Phys. Chem. B 128, 109 (2024), doi:10.1021/acs.jpcb.3c06662 (OpenMM 8).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Any

from ...errors import CardError, MissingDependencyError, ModelError, ParameterError, warn
from ...model.card import ModelCard
from .family import Family

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMAT", "MLPotentialModule", "OpenMMML", "warn_of_small_forces"]

_PREFIX = "openmmml/"
_GROUP = "openmmml.potentials"
_OWN = "openmm-nn"  # our own potentials, as OpenMM-ML sees them
# Options that are read from the rest of the arguments, so that the signature does not show them.
_TAKES = {
    "AIMNet2PotentialImpl": ("charge", "multiplicity"),
    "TorchMDNetPotentialImpl": ("charge",),
}
# Their forces are the gradient in kJ/mol/Å, which OpenMM takes for kJ/mol/nm: seen in 1.8.
_TENTH_FORCES, _TENTH_UP_TO = ("ani1ccx", "ani2x"), (1, 8)
_MACE_WITH_CHARGE = ("mace-omol", "mace-polar")


class OpenMMML(Family):
    """The format ``openmmml``: names ``"openmmml/<name>"``, and objects ``openmmml.MLPotential``."""

    name = "openmmml"
    package = "openmmml"
    library = "OpenMM-ML"

    def names(self) -> Mapping[str, str]:
        """Return the names that OpenMM-ML knows; some need packages or files of their own."""
        found = sorted({point.name for point in entry_points(group=_GROUP)} - {_OWN})
        return {f"{_PREFIX}{name}": f"{name} of OpenMM-ML, through Python" for name in found}

    def accepts(self, source: str) -> bool:
        """Return whether a name begins with ``openmmml/``."""
        return source.startswith(_PREFIX)

    def load(self, source: str, *, device: str | None, trust: bool) -> tuple[Any, ModelCard]:
        """Make a callable of a potential by its name.

        Parameters
        ----------
        source
            ``"openmmml/ani2x"`` and the like.
        device
            Not used: OpenMM-ML is asked for the CPU, whose memory the Reference platform works in.
        trust
            Not used.

        Returns
        -------
        MLPotentialModule, ModelCard

        Raises
        ------
        ModelError
            If OpenMM-ML does not know the name, or cannot make the potential.
        MissingDependencyError
            If OpenMM-ML is missing.
        """
        self.require(f"potential {source!r}")
        from openmmml import MLPotential

        name = source.removeprefix(_PREFIX)
        try:
            potential = MLPotential(name)
        except (KeyError, ValueError, TypeError) as error:
            reason = "unknown to it" if isinstance(error, KeyError) else str(error)
            raise ModelError(
                "source", f"{source!r} ({reason})", f"one of {', '.join(self.names())}",
                        f"correct the name, or give load_potential(MLPotential({name!r}, ...)) with its options"
            ) from error  # fmt: skip
        return self.load_object(potential, card=None)

    def accepts_object(self, source: object) -> bool:
        """Return whether an object is an MLPotential."""
        module = sys.modules.get("openmmml.mlpotential")
        return module is not None and isinstance(source, module.MLPotential)

    def load_object(self, source: object, *, card: ModelCard | None) -> tuple[Any, ModelCard]:
        """Make a callable of an MLPotential.

        Parameters
        ----------
        source : openmmml.MLPotential
            It is used as it is, not copied.
        card
            Must be None: what OpenMM-ML says of its potentials is enough.

        Returns
        -------
        MLPotentialModule, ModelCard

        Raises
        ------
        CardError
            If there is a card.
        """
        if card is not None:
            raise CardError("card", "a card for an MLPotential", "None", "leave card out")
        potential: Any = source
        warn_of_small_forces(potential)
        impl = potential._impl
        name = str(getattr(impl, "name", "") or type(impl).__name__)
        inputs = ("positions", "box", "atomic_numbers", *_options(impl, name))
        made = ModelCard(
            name=name,
            description=f"{name} of OpenMM-ML, through Python",
            format="callable",
            inputs=inputs,
            outputs=("energy", "forces"),
            dtype="float64",
            periodic="optional",
            frame="invariant",
            long_range=impl.getMLLongRange(),
            created_with=f"openmmml {version('openmmml')}",
        )
        return MLPotentialModule(potential, made), made


def warn_of_small_forces(potential: Any) -> None:
    """Warn of a potential of OpenMM-ML whose forces are a tenth of what its energy says.

    Parameters
    ----------
    potential : openmmml.MLPotential
        Any.
    """
    name = getattr(potential._impl, "name", "")
    installed = version("openmmml")
    if name in _TENTH_FORCES and tuple(map(int, installed.split(".")[:2])) <= _TENTH_UP_TO:
        warn(
            f"MLPotential({name!r}): OpenMM-ML {installed} gives OpenMM its forces in kJ/mol/Å where kJ/mol/nm are "
            "read, so that they are a tenth of what its energy says and dynamics are wrong. For ANI-2x, use "
            "openmm_nn.load_potential('ani2x').",
        )


def _options(impl: Any, name: str) -> tuple[str, ...]:
    """Say whether a potential of OpenMM-ML takes charge and multiplicity."""
    taken = inspect.signature(impl.addForces).parameters
    listed = _TAKES.get(type(impl).__name__, ())
    if name.startswith(_MACE_WITH_CHARGE):
        listed = ("charge", "multiplicity")
    return tuple(option for option in ("charge", "multiplicity") if option in taken or option in listed)


class MLPotentialModule:
    """Calls an MLPotential with tensors; what ModuleRunner runs.

    Parameters
    ----------
    potential : openmmml.MLPotential
        The potential.
    card
        Its card, with inputs in the order of the tensors.
    """

    def __init__(self, potential: Any, card: ModelCard) -> None:
        self.potential = potential
        self._inputs = card.inputs
        self._contexts: dict[tuple[object, ...], Any] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate.

        Parameters
        ----------
        inputs
            Tensors in the order of the card; a box of zeros for a cluster.

        Returns
        -------
        energy : torch.Tensor
            (), kJ/mol.
        forces : torch.Tensor
            (N,3), kJ/mol/nm.
        """
        import numpy as np
        import openmm
        import torch
        from openmm import unit

        values = dict(zip(self._inputs, (tensor.detach().cpu().numpy() for tensor in inputs), strict=True))
        box = np.asarray(values["box"], dtype=float)
        periodic = bool(box.any())
        options: dict[str, int] = {k: int(v) for k, v in values.items() if k in ("charge", "multiplicity")}
        numbers = tuple(int(z) for z in values["atomic_numbers"])
        key = (numbers, periodic, *options.items())
        if key not in self._contexts:
            # One at a time: a Context keeps a copy of the model.
            self._contexts = {key: self._make_context(numbers, box if periodic else None, options)}
        context = self._contexts[key]
        if periodic:
            context.setPeriodicBoxVectors(*(openmm.Vec3(*row) for row in box.tolist()))
        context.setPositions(values["positions"].astype(float))
        state = context.getState(getEnergy=True, getForces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        device = inputs[0].device
        return (
            torch.tensor(float(energy), dtype=torch.float64, device=device),
            torch.tensor(np.asarray(forces, dtype=float), device=device),
        )

    def _make_context(self, numbers: tuple[int, ...], box: Any, options: Mapping[str, int]) -> Any:
        import openmm
        from openmm import app, unit

        topology = app.Topology()
        residue = topology.addResidue("REG", topology.addChain())
        for index, number in enumerate(numbers):
            try:
                element = app.Element.getByAtomicNumber(number)
            except KeyError as error:
                raise ParameterError(
                    "atomic_numbers", str(number), "numbers of elements", "give the elements of all atoms"
                ) from error
            topology.addAtom(f"A{index}", element, residue)
        if box is not None:
            topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in box.tolist()] * unit.nanometer)
        arguments: dict[str, Any] = {**options, "device": "cpu"}
        try:
            system = self.potential.createSystem(topology, removeCMMotion=False, **arguments)
        except ImportError as error:
            raise MissingDependencyError(
                "potential of OpenMM-ML", f"one whose package is missing ({error})", "that package",
                        "install it as OpenMM-ML says"
            ) from error  # fmt: skip
        platform = openmm.Platform.getPlatformByName("Reference")
        return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


FORMAT = OpenMMML()
