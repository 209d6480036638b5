"""ModuleRunner: calls a torch module or a Python callable as its card says."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..errors import ModelError, ParameterError, UnsupportedError
from ..model.card import ModelCard
from ..model.scriptcheck import check_kinds
from ..model.torchscript import quiet_torchscript, read_script, write_script

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["PRECISIONS", "ModuleRunner", "RunnerResult"]

PRECISIONS = ("model", "single", "double")
"""Allowed values of the property ``precision``."""

RunnerResult = tuple["NDArray[np.float64]", "NDArray[np.float64] | None", dict[str, float]]

_WARM_UP_RUNS = 3
_INTEGER_INPUTS = ("atomic_numbers", "edge_index")


def _describe(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype} on {value.device}"
    return f"a {type(value).__name__}"


def _stops_gradients(graph: Any) -> bool:
    """Whether an inlined graph detaches tensors: freezing drops that, and silently changes the gradients."""
    text = str(graph)
    return "aten::detach" in text or "prim::data" in text


class ModuleRunner:
    """Evaluate a module for arrays in its own units, and check everything that it returns.

    Parameters
    ----------
    module
        A ``torch.nn.Module``, a ``torch.jit.ScriptModule`` or any callable. Modules are copied, put into evaluation
        mode and converted to the dtype; other callables are called as they are.
    card
        Its card.
    device
        A torch device.
    precision
        ``"model"`` for the card's dtype (``platform`` means float64 here), ``"single"`` or ``"double"``.

    Attributes
    ----------
    evaluations, warmup_evaluations : int
        How often the module has been called, and how often only to warm up.

    Raises
    ------
    ParameterError
        If precision or device are not known.
    ModelError
        If the module cannot be copied or converted.

    Examples
    --------
    >>> import numpy as np
    >>> from openmm_nn.model.card import ModelCard
    >>> from openmm_nn.engine.module_runner import ModuleRunner
    >>> runner = ModuleRunner(lambda positions: (positions**2).sum(), ModelCard.torchforce())
    >>> energies, forces, _ = runner({"positions": np.ones((1, 3))}, True, [], False)
    >>> float(energies[0]), forces[0].tolist()
    (3.0, [[-2.0, -2.0, -2.0]])
    """

    def __init__(self, module: Any, card: ModelCard, *, device: str = "cpu", precision: str = "model") -> None:
        import torch

        if precision not in PRECISIONS:
            allowed = ", ".join(map(repr, PRECISIONS))
            raise ParameterError("precision", repr(precision), allowed, "leave it out to follow the card")
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ParameterError(
                "device", f"{device!r} ({reason})", "a device that this torch can use", "use 'cpu'"
            ) from error
        self.card = card
        single = precision == "single" or (precision == "model" and card.dtype == "float32")
        self.dtype = torch.float32 if single else torch.float64
        self.evaluations = 0
        self.warmup_evaluations = 0
        self._warm_up_runs = 0
        self._call = self._prepare(module)

    def _prepare(self, module: Any) -> Any:
        import torch

        if not isinstance(module, torch.nn.Module):
            return module
        scripted = isinstance(module, torch.jit.ScriptModule)
        try:
            own = read_script(write_script(module)) if scripted else copy.deepcopy(module)
        except (RuntimeError, TypeError) as error:
            raise ModelError(
                "module", f"one that cannot be copied ({error})", "a module that copy.deepcopy copies",
                        "detach the tensors that it keeps"
            ) from error  # fmt: skip
        own.eval()
        own.to(device=self.device, dtype=self.dtype)
        for parameter in own.parameters():
            parameter.requires_grad_(False)
        if scripted:
            self._warm_up_runs = _WARM_UP_RUNS
            # The message of an error names the methods that were inlined. torch.jit.freeze destroys those that it
            # inlines, and the first error would look for names in freed memory: they are inlined before, and kept.
            self._methods = cast(Any, own)
            graph = self._methods._c._get_method("forward").graph
            torch._C._jit_pass_inline(graph)
            check_kinds(graph, own, f"potential {self.card.name!r}")
            if _stops_gradients(graph):
                return own
            with quiet_torchscript():
                try:
                    return torch.jit.freeze(own)
                except RuntimeError as error:
                    raise ModelError(
                        "model", f"a TorchScript module that cannot be frozen ({error})",
                                "one whose submodules and buffers do not change", "correct the module and export again"
                    ) from error  # fmt: skip
        return own

    def __call__(
        self, inputs: Mapping[str, Any], forces: bool, derivatives: Sequence[str], members: bool
    ) -> RunnerResult:
        """Evaluate the module.

        Parameters
        ----------
        inputs
            Array or number of every input of the card: positions (N,3), box (3,3), edge_shifts (E,3) float64 in the
            card's length unit; atomic_numbers (N,) and edge_index (2,E) int64; charge, multiplicity and parameters.
        forces
            Whether forces are needed.
        derivatives
            Names of the parameters whose derivative is needed.
        members
            Whether the forces of every committee member are needed instead of the mean.

        Returns
        -------
        energies : numpy.ndarray
            (K,) float64, card's energy unit; atomic energies are summed in double.
        forces : numpy.ndarray or None
            (1,N,3), or (K,N,3) if `members`; float64, energy unit per length unit.
        derivatives : dict
            dE/dparameter of the mean energy, energy unit per unit of the parameter.

        Raises
        ------
        ModelError
            If the module fails, or returns something that its card does not say.
        """
        while self._warm_up_runs:
            self._warm_up_runs -= 1
            self.warmup_evaluations += 1
            self._evaluate(inputs, forces, derivatives, members)
        self.evaluations += 1
        return self._evaluate(inputs, forces, derivatives, members)

    def _evaluate(
        self, inputs: Mapping[str, Any], forces: bool, derivatives: Sequence[str], members: bool
    ) -> RunnerResult:
        import torch

        own_forces = self.card.returns_forces
        if members and forces and own_forces and self.card.committee_size > 1:
            raise UnsupportedError(
                "forces of the members", f"a potential, {self.card.name!r}, that returns the mean force itself",
                        "potentials whose forces are the gradient", "export it without its forces output"
            )  # fmt: skip
        tensors = {name: self.tensor(name, inputs[name]) for name in self.card.inputs}
        positions = tensors["positions"]
        if not own_forces:
            positions.requires_grad_(True)
        for name in derivatives:
            tensors[name].requires_grad_(True)
        # The graph is recorded even if only an energy is asked for, so that it is the same number to the last bit.
        with torch.enable_grad():
            energy, returned = self._read(self._forward(list(tensors.values())), positions.shape[0])
            energies = self._to_numpy(energy.detach().to(torch.float64).sum(dim=1))
            result = None
            if forces and own_forces:
                result = self._to_numpy(returned)[None]
            variables = [tensors[name] for name in derivatives]
            per_member = forces and members and not own_forces
            mean_forces = forces and not own_forces and not members
            if mean_forces:
                variables.insert(0, positions)
            gradients: list[torch.Tensor] = []
            if variables:
                weights = torch.full_like(energy, 1.0 / energy.shape[0])
                gradients = self._gradient(energy, weights, variables, keep=per_member)
            if mean_forces:
                result = -self._to_numpy(gradients.pop(0))[None]
            values = {name: float(gradient) for name, gradient in zip(derivatives, gradients, strict=True)}
            if per_member:
                result = self._member_forces(energy, positions)
        return energies, result, values

    def _member_forces(self, energy: torch.Tensor, positions: torch.Tensor) -> NDArray[np.float64]:
        import torch

        count = energy.shape[0]
        rows = []
        for member in range(count):
            weights = torch.zeros_like(energy)
            weights[member] = 1.0
            rows.append(-self._to_numpy(self._gradient(energy, weights, [positions], keep=member + 1 < count)[0]))
        return np.stack(rows)

    def _gradient(
        self, energy: Any, weights: torch.Tensor, variables: list[torch.Tensor], *, keep: bool
    ) -> list[torch.Tensor]:
        import torch

        if not energy.requires_grad:
            raise ModelError(
                f"output {self.card.outputs[0]!r}", "an energy that does not require grad",
                        "one that torch can differentiate by its inputs, or forces among the outputs",
                        "remove detach() and no_grad() from the model, or return forces and list them in the card"
            )  # fmt: skip
        # Those by what the energy does not depend on are None, whatever torch's annotation says.
        gradients: Any = torch.autograd.grad([energy], variables, [weights], retain_graph=keep, allow_unused=True)
        return [torch.zeros_like(v) if g is None else g for g, v in zip(gradients, variables, strict=True)]

    def tensor(self, name: str, value: Any) -> torch.Tensor:
        """Return one input as the model takes it, with its dtype and on its device."""
        import torch

        dtype = torch.int64 if name in _INTEGER_INPUTS else self.dtype
        # A copy: the caller's memory may be read-only or reused.
        return torch.tensor(np.asarray(value), dtype=dtype, device=self.device)

    def _to_numpy(self, tensor: Any) -> NDArray[np.float64]:
        import torch

        array: NDArray[np.float64] = tensor.detach().to("cpu", torch.float64).contiguous().numpy()
        return array

    def _forward(self, arguments: list[torch.Tensor]) -> Sequence[Any]:
        try:
            returned = self._call(*arguments)
        except (RuntimeError, TypeError) as error:
            raise ModelError(
                f"potential {self.card.name!r}", f"an error while it ran: {error}",
                        f"a module that takes {', '.join(self.card.inputs)}", "correct the module or its card"
            ) from error  # fmt: skip
        outputs: Sequence[Any] = returned if isinstance(returned, tuple | list) else (returned,)
        if len(outputs) != len(self._expected_outputs()):
            raise ModelError(
                "outputs of the model", f"{len(outputs)} of them",
                        f"those of its card: {tuple(self._expected_outputs())}",
                        "correct the model or the outputs in its card"
            )  # fmt: skip
        return outputs

    def _expected_outputs(self) -> Sequence[str]:
        return self.card.outputs

    def _read(self, outputs: Sequence[Any], atoms: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the energy as (K, terms of a member) and the forces (N,3), checked."""
        energy = self._read_energy(outputs[0], atoms)
        return energy, self._read_forces(outputs[1], atoms) if self.card.returns_forces else None

    def _read_energy(self, value: Any, atoms: int) -> torch.Tensor:
        name, members = self.card.outputs[0], self.card.committee_size
        energy = self._floating(value, name)
        shape = tuple(energy.shape)
        shapes: tuple[tuple[int, ...], ...]
        if name == "energy":
            shapes = ((), (1,), (1, 1))
        elif name == "energies":
            shapes = ((members,), ()) if members == 1 else ((members,),)
        else:
            shapes = ((atoms,), (1, atoms), (atoms, 1)) if members == 1 else ((members, atoms),)
        if shape not in shapes:
            allowed = f"shape {' or '.join(map(str, shapes))} for {members} members and {atoms} atoms"
            raise self._wrong(name, energy, allowed, "correct the model, or outputs and committee_size in its card")
        return energy.reshape(members if name != "energy" else 1, -1)

    def _read_forces(self, value: Any, atoms: int) -> torch.Tensor:
        forces = self._floating(value, "forces")
        if tuple(forces.shape) != (atoms, 3):
            raise self._wrong("forces", forces, f"shape {(atoms, 3)}", "return one force vector for every atom")
        return forces

    def _floating(self, value: Any, name: str) -> torch.Tensor:
        import torch

        # A model may sum in double what it computed in single precision.
        allowed = (torch.float32, torch.float64)
        if not isinstance(value, torch.Tensor) or value.dtype not in allowed:
            names = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
            raise self._wrong(name, value, f"a {names} tensor", "return it with the dtype of the positions")
        if value.device.type != self.device.type:
            raise self._wrong(name, value, f"a tensor on {self.device}", "return it on the device of the positions")
        return value

    def _wrong(self, name: str, value: Any, allowed: str, remedy: str) -> ModelError:
        argument = f"output {name!r} of potential {self.card.name!r}"
        return ModelError(argument, _describe(value), allowed, remedy)
