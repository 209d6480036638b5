"""PythonNeuralForce: the engine on OpenMM's PythonForce, for where the native extension cannot be built.

It is the slower one, and cannot be copied or written to XML; it has no derivatives by parameters.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import openmm

from ..errors import ModelError, ParticleError, UnsupportedError
from ..geometry import as_box
from ..model.card import ModelCard
from .evaluator import EngineResult, Evaluator, LocalLink
from .module_runner import ModuleRunner
from .package_runner import make_runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PythonEngine", "PythonNeuralForce"]

_NATIVE = "build the native extension with python -m openmm_nn.native.build, and make the force again"


@dataclass(frozen=True)
class PythonEngine:
    """What the force needs to know of a potential and its atoms.

    Parameters
    ----------
    card
        The card.
    data
        Bytes of the model's file; None for a callable.
    sha256
        Their hash; empty for a callable.
    make_runner
        Makes the runner.
    particles
        Indices of the region's atoms; empty for all.
    atomic_numbers
        Of these; empty if unknown.
    links
        (inside, outside, rule, value) by indices of the System.
    bonds
        Pairs of indices of the System, both in the region.
    periodic
        Whether the model is given the box.
    charge, multiplicity
        Of the region.
    scale
        Name and default of the scale parameter, or None.
    threads
        Number of torch's threads; 0 to leave it alone.
    """

    card: ModelCard
    data: bytes | None
    sha256: str
    make_runner: Callable[[], ModuleRunner]
    particles: tuple[int, ...] = ()
    atomic_numbers: tuple[int, ...] = ()
    links: tuple[tuple[int, int, str, float], ...] = ()
    bonds: tuple[tuple[int, int], ...] = ()
    periodic: bool = False
    charge: int = 0
    multiplicity: int = 1
    scale: tuple[str, float] | None = None
    threads: int = 0

    @property
    def listed(self) -> tuple[int, ...]:
        """The particles whose positions are needed: the region, then the outside atoms of links."""
        outside = dict.fromkeys(link[1] for link in self.links)
        return self.particles + tuple(outside)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if count in (0, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Computation:
    """What OpenMM calls."""

    def __init__(self, engine: PythonEngine) -> None:
        self.engine = engine
        self.card = engine.card
        self.runner = engine.make_runner()
        self.system: weakref.ref[Any] | None = None
        self.flagged = engine.periodic
        self.beyond = ""
        self.chosen: list[int] = []  # of all positions, where OpenMM hands over all
        self.bytes = self.atoms = 0
        self._evaluator: Evaluator | None = None

    def __call__(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        if self.beyond:
            self.refuse_particles()
        positions = np.asarray(state.getPositions(asNumpy=True)._value, dtype=np.float64)
        box = None
        if self.flagged:
            box = as_box(state.getPeriodicBoxVectors(asNumpy=True)._value, self.engine.atomic_numbers)
        count = len(positions)
        if self.chosen:
            positions = positions[self.chosen]
        result = self.evaluate(positions, box, state.getParameters())
        forces = result.forces
        if forces is None:
            raise ModelError("forces", "none", "one for every atom", "report this as an error of openmm_nn")
        if self.chosen:
            listed, forces = forces, np.zeros((count, 3))
            forces[self.chosen] = listed
        self.bytes += positions.nbytes + forces.nbytes
        return result.energy, forces

    def refuse_particles(self) -> NoReturn:
        raise ParticleError(
            "atoms", f"particle {self.beyond}", "particles that the System had when the force was added",
                    "correct the index, or add the force after all particles"
        )  # fmt: skip

    def evaluate(
        self, positions: NDArray[np.float64], box: NDArray[np.float64] | None, parameters: Any, *, members: bool = False
    ) -> EngineResult:
        engine = self.engine
        if self._evaluator is None:
            self._evaluator = self._make_evaluator(len(positions))
        scale = 1.0 if engine.scale is None else float(parameters[engine.scale[0]])
        values = {name: float(parameters[name]) for name in self.card.parameters}
        with _threads(engine.threads):
            result = self._evaluator.evaluate(positions, box, values, members=members, scale=scale)
        self.atoms += self._evaluator.atoms
        return result

    def replace(self, card: ModelCard, runner: ModuleRunner) -> None:
        self.card, self.runner = card, runner
        self._evaluator = None

    def statistics(self) -> dict[str, int]:
        edges = 0 if self._evaluator is None else self._evaluator.edges
        return {
            "evaluations": self.runner.evaluations,
            "warmup_evaluations": self.runner.warmup_evaluations,
            "atoms": self.atoms,
            "edges": edges,
            "bytes": self.bytes,
        }

    def _make_evaluator(self, count: int) -> Evaluator:
        engine = self.engine
        listed = engine.listed or tuple(range(count))
        inside = count if not engine.particles else len(engine.particles)
        numbers = engine.atomic_numbers or (0,) * inside
        if len(numbers) != inside:
            raise ParticleError(
                "atomic_numbers", f"{len(numbers)} of them for {inside} particles", "one for every particle",
                        "give atoms=, or the numbers of all particles"
            )  # fmt: skip
        self._check_system(listed[:inside])
        local = {particle: index for index, particle in enumerate(listed)}
        return Evaluator(
            self.card,
            self.runner,
            numbers,
            links=[LocalLink(local[q], local[m], rule, value) for q, m, rule, value in engine.links],
            bonds=[(local[a], local[b]) for a, b in engine.bonds],
            periodic=engine.periodic,
            charge=engine.charge,
            multiplicity=engine.multiplicity,
            labels=listed,
        )

    def _check_system(self, particles: Sequence[int]) -> None:
        system = None if self.system is None else self.system()
        if system is None:
            return
        for particle in particles:
            if system.isVirtualSite(particle) and "atomic_numbers" in self.card.inputs:
                raise ParticleError(
                    "atoms", f"particle {particle}, which is a virtual site", "atoms",
                            "leave virtual sites out of the region"
                )  # fmt: skip
        if system.usesPeriodicBoundaryConditions() and not self.flagged and self.card.frame == "invariant":
            raise UnsupportedError(
                "System", "a periodic force that was added after the neural one",
                        "periodic forces that are added before it",
                        "add the neural force last, or call its setUsesPeriodicBoundaryConditions(True)"
            )  # fmt: skip

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError(
            "force", "a force of the engine on PythonForce", "one of the native engine, to copy or write it",
                    _NATIVE
        )  # fmt: skip


class PythonNeuralForce(openmm.PythonForce):  # type: ignore[misc]
    """A neural potential as an `openmm.PythonForce`, with the methods of the native NeuralForce that it can have.

    Made by ``Potential.create_force``. When it is added to a System, it adopts the System's periodicity, and a force of
    zero-strength bonds is added that keeps the region's molecules what they are.

    Parameters
    ----------
    engine
        The potential and its atoms.
    """

    def __init__(self, engine: PythonEngine) -> None:
        parameters = dict(engine.card.parameters)
        if engine.scale is not None:
            parameters[engine.scale[0]] = engine.scale[1]
        self._computation = _Computation(engine)
        super().__init__(self._computation, parameters)
        self.setParticles(list(engine.listed))
        self.setName("NeuralForce")
        super().setUsesPeriodicBoundaryConditions(engine.periodic)
        self._staged: tuple[ModelCard, ModuleRunner] | None = None
        self._data = engine.data
        self._sha256 = engine.sha256

    @property
    def thisown(self) -> bool:
        """Whether Python owns the C++ object; a System that the force is added to takes it over."""
        return bool(self.this.own())

    @thisown.setter
    def thisown(self, value: bool) -> None:
        self.this.own(value)
        if not value:
            # OpenMM tells a force nothing about the System that it is added to, and passes no box to a force that does
            # not ask for it. This is the one place to learn it: System.addForce has just handed the force over.
            caller = sys._getframe(1)
            system = caller.f_locals.get("self")
            if caller.f_code.co_name == "addForce" and isinstance(system, openmm.System):
                self._adopt(system)

    def _adopt(self, system: Any) -> None:
        self._computation.system = weakref.ref(system)
        engine = self._computation.engine
        count = system.getNumParticles()
        beyond = [particle for particle in engine.listed if particle >= count]
        if beyond:
            # PythonForce does not check its particles and would read memory that is not its own. It is given all of
            # them, and the first evaluation says what is wrong.
            self._computation.beyond = f"{beyond[0]}, in a System of {count} particles"
            self.setParticles([])
            for link in engine.links:
                if link[1] == beyond[0]:
                    self._computation.refuse_particles()
            return
        if system.usesPeriodicBoundaryConditions():
            if engine.card.frame == "invariant" or engine.periodic:
                self.setUsesPeriodicBoundaryConditions(True)
            else:
                # An absolute frame needs positions as they are. On GPU platforms PythonForce moves those of a subset
                # into the box, but not those of all particles.
                self._computation.chosen = list(engine.listed)
                self.setParticles([])
        pairs = [*engine.bonds, *((link[0], link[1]) for link in engine.links)]
        if pairs:
            bonds = openmm.HarmonicBondForce()
            bonds.setName("bonds of the region, without strength")
            bonds.setForceGroup(self.getForceGroup())
            bonds.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
            for first, second in pairs:
                bonds.addBond(first, second, 0.0, 0.0)
            system.addForce(bonds)

    def setUsesPeriodicBoundaryConditions(self, periodic: bool) -> None:
        """Say whether the System is periodic, so that a cluster can be made whole.

        Parameters
        ----------
        periodic
            Whether it is.
        """
        super().setUsesPeriodicBoundaryConditions(periodic)
        self._computation.flagged = periodic

    def getModel(self) -> bytes:
        """Return the bytes of the model's file; empty for a callable."""
        return self._data or b""

    def getCard(self) -> str:
        """Return the card as JSON."""
        return self._computation.engine.card.to_json()

    def getModelHash(self) -> str:
        """Return the sha256 of the model's bytes; empty for a callable."""
        return self._sha256

    def setModel(self, model: bytes, card: str) -> None:
        """Replace the model; `updateModelInContext` hands it over.

        Parameters
        ----------
        model
            Bytes of a TorchScript file or a package.
        card
            Its card as JSON.
        """
        new = ModelCard.from_json(card)
        runner = self._computation.runner
        precision = {"torch.float32": "single", "torch.float64": "double"}[str(runner.dtype)]
        self._staged = (new, make_runner(model, new, device=str(runner.device), precision=precision))
        self._data = model
        self._sha256 = hashlib.sha256(model).hexdigest()

    def updateModelInContext(self, context: Any) -> None:
        """Hand the current model over to the Contexts made from this force.

        Parameters
        ----------
        context
            One of them; all take the model, since they share this force's function.
        """
        if self._staged is not None:
            self._computation.replace(*self._staged)
            self._staged = None

    def getMemberEnergies(self, context: Any) -> tuple[float, ...]:
        """Return the energy of every committee member at the positions of a Context.

        Parameters
        ----------
        context
            The Context.

        Returns
        -------
        tuple of float
            kJ/mol.
        """
        return tuple(self._evaluate(context, members=False).member_energies.tolist())

    def getForceStd(self, context: Any) -> tuple[float, ...]:
        """Return the standard deviation of the members' forces on every atom that the model sees.

        Parameters
        ----------
        context
            The Context.

        Returns
        -------
        tuple of float
            kJ/mol/nm.
        """
        std = self._evaluate(context, members=True).forces_std
        if std is None:
            raise UnsupportedError(
                "getForceStd", "a potential of one member", "committees of two or more", "use a committee"
            )
        return tuple(std.tolist())

    def getStatistics(self, context: Any) -> dict[str, int]:
        """Return counts of evaluations, atoms, edges and bytes since the force was made.

        Parameters
        ----------
        context
            A Context; on this engine the counts are of all Contexts together.
        """
        return self._computation.statistics()

    def _evaluate(self, context: Any, *, members: bool) -> EngineResult:
        state = context.getState(positions=True, parameters=True)
        positions = np.asarray(state.getPositions(asNumpy=True)._value, dtype=np.float64)
        listed = self._computation.engine.listed
        box = as_box(state.getPeriodicBoxVectors(asNumpy=True)._value) if self._computation.flagged else None
        chosen = positions[list(listed)] if listed else positions
        return self._computation.evaluate(chosen, box, state.getParameters(), members=members)

    def addEnergyParameterDerivative(self, name: str) -> NoReturn:
        """Refuse: this engine has no derivatives by parameters.

        Parameters
        ----------
        name
            The parameter.
        """
        raise UnsupportedError(
            "addEnergyParameterDerivative", f"{name!r} on the engine of PythonForce", "the native engine", _NATIVE
        )

    def setScaleParameter(self, name: str, default: float) -> NoReturn:
        """Refuse: on this engine the parameters are fixed when the force is made.

        Parameters
        ----------
        name
            The parameter.
        default
            Its value.
        """
        raise UnsupportedError(
            "setScaleParameter", f"{name!r} on the engine of PythonForce", "the native engine", _NATIVE
        )
