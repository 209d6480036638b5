"""Potential: a canonical model and its card."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.evaluator import Evaluator
from ..engine.force import Link, ModelSource, create_force
from ..engine.force_arguments import check_charge, check_multiplicity, check_numbers
from ..engine.module_runner import ModuleRunner
from ..engine.package_runner import PackageRunner
from ..errors import ModelError, ParameterError, ParticleError, UnsupportedError, warn
from ..geometry import as_box
from ..model.card import CARD_FILE, ModelCard
from ..model.card_values import potential_parameters
from ..model.modelfile import pack, read_card, write_file
from ..model.package import describe_package, read_package
from ..model.torchscript import read_script, write_script
from ..model.trust import TRUST_VARIABLE, is_known, remember_hash, trust_hash
from ..tables import Table, as_html
from ..units import in_nanometers
from .familiarity import unfamiliar, unpaired

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from openmm.app import Topology

__all__ = ["Evaluation", "Potential"]


@dataclass(frozen=True)
class Evaluation:
    """Energy and forces of a potential.

    Parameters
    ----------
    energy
        kJ/mol.
    forces
        (N,3) float64, kJ/mol/nm.
    energy_std
        Sample standard deviation of a committee's energies, kJ/mol; None if there is one member.
    forces_std
        (N,) float64, kJ/mol/nm: square root of the sum over x, y and z of the members' sample variances; None if there
        is one member, or the model returns its mean force itself.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn import load_potential
    >>> potential = load_potential(lambda positions: (positions**2).sum())
    >>> potential.evaluate(np.ones((1, 3))).forces.tolist()
    [[-2.0, -2.0, -2.0]]
    """

    energy: float
    forces: NDArray[np.float64]
    energy_std: float | None
    forces_std: NDArray[np.float64] | None


class Potential:
    """A model with its card; made by ``load_potential``.

    It can be pickled, for Dask and other processes: the pickle holds the model and its hash, and is read where the same
    user has loaded, exported or pickled that model, or trusts its hash. A Python callable cannot.

    Parameters
    ----------
    card
        The card.
    data
        Bytes of the model's file; None for something that lives in this process only.
    module
        The module or callable; read from `data` when it is first needed if left out.
    device
        A torch device; None for that of the Context (the CPU in `evaluate`).

    Examples
    --------
    >>> from openmm_nn import load_potential
    >>> load_potential(lambda positions: (positions**2).sum()).card.name
    'TorchForce'
    """

    def __init__(
        self, card: ModelCard, *, data: bytes | None = None, module: Any = None, device: str | None = None
    ) -> None:
        if data is None and module is None:
            raise ParameterError("data", "None", "bytes, or a module in their place", "use load_potential(...)")
        self._card = card
        self._data = data
        self._module = module
        self._device = device
        self._sha256 = None if data is None else hashlib.sha256(data).hexdigest()
        self._runners: dict[tuple[str, str], ModuleRunner] = {}
        self._spoken: set[tuple[str, tuple[int, ...], int]] = set()

    def __repr__(self) -> str:
        origin = "callable" if self._sha256 is None else f"sha256 {self._sha256[:12]}"
        return f"Potential({self._card.name!r}, {origin})"

    def __copy__(self) -> Potential:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Potential:
        return self  # nothing of it changes

    def __reduce__(self) -> tuple[Any, ...]:
        if self._data is None or self._sha256 is None:
            raise UnsupportedError(
                "potential", f"{self._card.name!r}, a Python callable, which only its process knows",
                        "pickles of potentials that are a file",
                        "write it to a file with openmm_nn.export_potential(...), or load it in each process"
            )  # fmt: skip
        remember_hash(self._sha256)
        return _restore, (self._card.to_json(), self._data, self._sha256, self._device)

    def _repr_html_(self) -> str:
        card = dataclasses.asdict(self._card)
        said = {name: value for name, value in card.items() if value not in (None, "", (), {})}
        rows = [(name, value if isinstance(value, str) else repr(value)) for name, value in said.items()]
        return as_html([repr(self), Table("", ("card", ""), rows)])

    @property
    def card(self) -> ModelCard:
        """What the potential says of itself."""
        return self._card

    @property
    def sha256(self) -> str | None:
        """Hash of the model's bytes, in hexadecimal; None for a callable."""
        return self._sha256

    @property
    def data(self) -> bytes | None:
        """The bytes of the model's file; None for a callable."""
        return self._data

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model and its card into one file, which `load_potential` reads.

        The bytes are those of `data`. Only where the card was given beside a file that had none, it is put inside, and
        the file has another hash.

        Parameters
        ----------
        path
            Of the file: ``.pt2`` for a compiled package, as which nothing else is read, ``.pt`` otherwise.

        Raises
        ------
        UnsupportedError
            If the potential lives in this process only: a callable or a module that is not TorchScript.
        ParameterError
            If the ending says something else than what the file will be, or the directory does not exist.

        Examples
        --------
        >>> import torch
        >>> from openmm_nn import load_potential
        >>> class Spring(torch.nn.Module):
        ...     def forward(self, positions: torch.Tensor) -> torch.Tensor:
        ...         return (positions**2).sum()
        >>> potential = load_potential(torch.jit.script(Spring()))
        >>> potential.save("spring.pt")
        >>> load_potential("spring.pt").sha256 == potential.sha256
        True
        """
        target, package = Path(path), self._card.format == "aotinductor"
        if self._data is None:
            raise UnsupportedError(
                "save", f"{self._card.name!r}, which lives in this process only", "a potential with a file",
                        "export its module with export_potential(module, path, card)"
            )  # fmt: skip
        if (target.suffix == ".pt2") != package:
            raise ParameterError(
                "path", str(target), f"the ending {'.pt2' if package else '.pt'} for a model of {self._card.format}",
                        f"write {target.with_suffix('.pt2' if package else '.pt')}"
            )  # fmt: skip
        write_file(target, self._data if self._has_card(package) else self._with_card(package))

    def _has_card(self, package: bool) -> bool:
        data = self._data or b""
        inside = read_package(data, self._card.name).card if package else read_card(data, self._card.name)
        return inside == self._card or (inside is not None and package)

    def _with_card(self, package: bool) -> bytes:
        if package:
            return describe_package(self._data or b"", {CARD_FILE: self._card.to_json()})
        return pack(self.module, self._card)

    @property
    def module(self) -> Any:
        """The module or callable; read when first asked for. A compiled package has none."""
        if self._card.format == "aotinductor":
            raise UnsupportedError(
                "module", f"that of {self._card.name!r}, a compiled package", "potentials of TorchScript",
                        "use evaluate() or create_force(), or load its .pt file"
            )  # fmt: skip
        if self._module is None and self._data is not None:
            self._module = read_script(self._data)
        return self._module

    def runner(self, device: str = "cpu", precision: str = "model") -> ModuleRunner:
        """Return the Python runner for a device and a precision; made once.

        Parameters
        ----------
        device
            A torch device.
        precision
            ``model``, ``single`` or ``double``.

        Returns
        -------
        ModuleRunner
            The runner.
        """
        key = (device, precision)
        if key not in self._runners:
            self._runners[key] = self._make_runner(self._card, device, precision)
        return self._runners[key]

    def _make_runner(self, card: ModelCard, device: str, precision: str) -> ModuleRunner:
        if card.format == "aotinductor" and self._data is not None:
            return PackageRunner(self._data, card, device=device, precision=precision)
        return ModuleRunner(self.module, card, device=device, precision=precision)

    def evaluate(
        self,
        positions: ArrayLike | Any,
        atomic_numbers: Iterable[int] | None = None,
        *,
        box: ArrayLike | Any | None = None,
        charge: int = 0,
        multiplicity: int = 1,
        parameters: Mapping[str, float] | None = None,
    ) -> Evaluation:
        """Evaluate energy and forces, outside of OpenMM.

        Parameters
        ----------
        positions
            (N,3): a Quantity, or numbers in nm.
        atomic_numbers
            (N,); may be left out if the potential does not take them.
        box
            (3,3): a Quantity, or numbers in nm; rows are box vectors. None for a cluster, which is taken as it is.
        charge, multiplicity
            Of all atoms together.
        parameters
            Values in place of the card's defaults.

        Returns
        -------
        Evaluation
            Energy and forces, and the committee's deviation.

        Raises
        ------
        ParticleError
            If numbers are missing, of another length, or of elements that the potential does not know.
        ParameterError
            If box, charge, multiplicity or a parameter are not what the card allows.
        ModelError
            If the model returns what its card does not say.
        EvaluationError
            If positions, energy or forces are not finite.

        Notes
        -----
        There is a warning, once for each composition, if no such multiplicity exists for the number of electrons, or if
        the members of a bundled committee disagree as they do on molecules that they do not know.

        Examples
        --------
        >>> import numpy as np
        >>> from openmm_nn import load_potential
        >>> potential = load_potential(lambda positions: (positions**2).sum())
        >>> potential.evaluate(np.ones((2, 3))).energy
        6.0
        """
        x = _as_positions(positions)
        card = self._card
        numbers = check_numbers(card, tuple(range(len(x))), atomic_numbers, None) or (0,) * len(x)
        if box is None and card.periodic == "always":
            raise ParameterError(
                "box", "None", f"box vectors: the card of {card.name!r} says periodic 'always'", "give box="
            )
        if box is not None and card.periodic == "never":
            raise ParameterError(
                "box", "box vectors", f"None: the card of {card.name!r} says periodic 'never'",
                        "leave box out; the positions are then taken as a cluster, as they are"
            )  # fmt: skip
        evaluator = Evaluator(
            card,
            self.runner(self._device or "cpu"),
            numbers,
            periodic=box is not None,
            charge=check_charge(card, charge),
            multiplicity=check_multiplicity(card, multiplicity),
        )
        members = card.committee_size > 1 and not card.returns_forces
        values = potential_parameters(card, parameters)
        result = evaluator.evaluate(x, None if box is None else as_box(box, numbers), values, members=members)
        self._speak_once(numbers, charge, multiplicity, result.forces_std)
        forces = np.zeros((0, 3)) if result.forces is None else result.forces
        return Evaluation(result.energy, forces, result.energy_std, result.forces_std)

    def _speak_once(
        self, numbers: tuple[int, ...], charge: int, multiplicity: int, forces_std: NDArray[np.float64] | None
    ) -> None:
        """Warn of atoms that this potential does not know, once for each composition."""
        texts = {"sigma": unfamiliar(self._card.name, numbers, forces_std)}
        if "atomic_numbers" in self._card.inputs and unpaired(numbers, charge, multiplicity):
            texts["electrons"] = (
                f"charge: {charge:+d} e leaves {sum(numbers) - charge} electrons, a number that has no multiplicity "
                f"{multiplicity}. Give charge= of an ion, or the multiplicity: 2 for a radical."
            )
        for kind, text in texts.items():
            key = (kind, tuple(sorted(numbers)), charge)
            if text and key not in self._spoken:
                self._spoken.add(key)
                warn(text)

    def create_force(
        self,
        topology: Topology | None = None,
        region: Any = None,
        *,
        atomic_numbers: Iterable[int] | None = None,
        links: Iterable[Link] = (),
        bonds: Iterable[tuple[int, int]] | None = None,
        periodic: bool | None = None,
        charge: int = 0,
        multiplicity: int = 1,
        scale: tuple[str, float] | None = None,
        parameters: Mapping[str, float] | None = None,
        force_group: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a force that can be added to any System.

        Parameters
        ----------
        topology
            Where elements and bonds come from.
        region
            What `openmm_nn.select_region` returns, with its links and bonds; indices, in the order in which the model
            sees them; with a topology also a selection or a mask. None for all particles of the System.
        atomic_numbers
            (N,), of the region in its order, in place of the topology's elements.
        links
            Hydrogens that cap cut bonds; those of the region if it has some.
        bonds
            Pairs of indices of the System; those with both ends in the region count. By default the topology's.
        periodic
            Whether the model is given the box. By default as the card says; where it leaves the choice, True if the
            potential describes everything and the topology has a box.
        charge, multiplicity
            Of the region with its link atoms.
        scale
            Name and default value of a Context parameter that multiplies the energy.
        parameters
            Default values of global parameters, in place of the card's.
        force_group
            0 to 31.
        properties
            ``device`` (default: that of the Context), ``precision`` (``model``, ``single``, ``double``), ``threads``
            (of torch; ``0`` leaves them alone), ``concurrent`` (``true``, the default: on the CPU and Reference
            platforms the model runs beside the classical forces; ``false``: after them), ``cuda_graphs`` (``true``: on
            the CUDA platform the evaluation is recorded once and replayed; ``false``, the default), ``geometry``
            (``device`` or ``host``: where the region is made whole and link atoms are placed).

        Returns
        -------
        NeuralForce
            The native force; or, where the native extension is missing or ``OPENMM_NN_ENGINE=python``, an
            `openmm.PythonForce` with the same methods as far as it can have them.

        Raises
        ------
        ParticleError
            If atoms, elements, links or bonds are wrong.
        ParameterError
            If an option has a value that is not allowed.

        Examples
        --------
        >>> import openmm
        >>> from openmm_nn import load_potential
        >>> system = openmm.System()
        >>> system.addParticle(1.0)
        0
        >>> force = load_potential(lambda positions: (positions**2).sum()).create_force()
        >>> system.addForce(force)
        0
        """
        return create_force(
            self.source(parameters),
            topology=topology,
            region=region,
            atomic_numbers=atomic_numbers,
            links=links,
            bonds=bonds,
            periodic=periodic,
            charge=charge,
            multiplicity=multiplicity,
            force_group=force_group,
            properties=properties,
            scale=scale,
        )

    def to_torchforce(
        self,
        topology: Topology | None = None,
        region: Any = None,
        *,
        atomic_numbers: Iterable[int] | None = None,
        periodic: bool | None = None,
        charge: int = 0,
        multiplicity: int = 1,
    ) -> Potential:
        """Make what openmm-torch's TorchForce runs: units, elements, subset and box folded into the module.

        Write its `data` to a file, and give that to ``TorchForce``. The positions are taken as TorchForce passes them:
        a region whose molecules lie on different images is not brought together, unless the potential is periodic.
        Edges are searched for by trying all pairs.

        Parameters
        ----------
        topology
            Where elements come from.
        region
            Indices; with a topology also a selection or a mask. None for all particles.
        atomic_numbers
            (N,), of the region in its order, in place of the topology's elements.
        periodic
            Whether TorchForce passes the box; by default as in `create_force`.
        charge, multiplicity
            Of the atoms.

        Returns
        -------
        Potential
            With the card ``ModelCard.torchforce(...)``.

        Raises
        ------
        UnsupportedError
            If the potential is not TorchScript.
        ParticleError
            If atoms or elements are wrong.
        ParameterError
            If an option has a value that is not allowed.

        Examples
        --------
        >>> import torch
        >>> from openmm_nn import load_potential
        >>> class Spring(torch.nn.Module):
        ...     def forward(self, positions: torch.Tensor) -> torch.Tensor:
        ...         return (positions**2).sum()
        >>> load_potential(torch.jit.script(Spring())).to_torchforce(region=[1]).card.name
        'TorchForce'
        """
        from .torchforce import compose_torchforce

        module, card = compose_torchforce(
            self.module,
            self._card,
            topology=topology,
            region=region,
            atomic_numbers=atomic_numbers,
            periodic=periodic,
            charge=charge,
            multiplicity=multiplicity,
        )
        return Potential(card, data=write_script(module), device=self._device)

    def source(self, parameters: Mapping[str, float] | None = None) -> ModelSource:
        """Return what a force is made from.

        Parameters
        ----------
        parameters
            Default values of global parameters, in place of the card's.

        Returns
        -------
        ModelSource
            For `openmm_nn.engine.force.create_force`, which takes a scale parameter too.

        Raises
        ------
        ParameterError
            If the potential has no such parameter.
        """
        card = self._card
        if parameters:
            card = dataclasses.replace(card, parameters=potential_parameters(card, parameters))
        # A force has a runner of its own: its counts and its model may change.
        return ModelSource(
            card=card,
            data=self._data,
            sha256=self._sha256 or "",
            make_runner=lambda device, precision: self._make_runner(card, device, precision),
            device=self._device,
        )


def _restore(card: str, data: bytes, sha256: str, device: str | None) -> Potential:
    """Make the potential of a pickle, if this user knows its model."""
    chosen = ModelCard.from_json(card)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(
            f"pickled potential {chosen.name!r}", f"a model whose SHA-256 is {found}", f"{sha256}, as it was pickled",
                    "take an undamaged copy of the pickle"
        )  # fmt: skip
    if not is_known(sha256):
        raise ModelError(
            f"pickled potential {chosen.name!r}", f"a model that this user has not named before: {sha256}",
                    "models that were loaded by name, exported or pickled by this user, or are trusted: a model is a "
                    "program", f"if you know where it comes from, call openmm_nn.trust_hash({sha256!r}) first, or set "
                    f"{TRUST_VARIABLE} to it"
        )  # fmt: skip
    if chosen.format == "aotinductor":
        trust_hash(sha256)
    return Potential(chosen, data=data, device=device)


def _as_positions(value: Any) -> NDArray[np.float64]:
    try:
        positions = in_nanometers(value)
    except (TypeError, ValueError) as error:
        raise ParticleError(
            "positions", type(value).__name__, "an array (N,3) in nm or a Quantity", "convert them"
        ) from error
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions):
        raise ParticleError(
            "positions", f"shape {positions.shape}", "(N,3) with one atom or more", "give one row for each atom"
        )
    return positions
