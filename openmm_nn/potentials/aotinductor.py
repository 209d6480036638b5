"""From a canonical module to an AOTInductor package: energy and gradient in one graph, compiled to machine code.

The steps: run the module as it is, for reference; trace energy and gradient with numbers of atoms and edges left open;
export the graph; compile it; pack it with its card; and compare what the code gives with the reference.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import importlib
import logging
import platform
import re
import shlex
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..engine.module_runner import ModuleRunner, RunnerResult
from ..engine.package_runner import PackageRunner
from ..errors import MissingDependencyError, ModelError, UnsupportedError
from ..model.card import CARD_FILE, ModelCard
from ..model.modelfile import check_callable
from ..model.package import DERIVATIVE_PREFIX, PARALLEL, SERIAL, WEIGHTS_INPUT
from ..model.processor import BASELINES, compiled_features
from ..model.trust import trust_hash
from ..native.build import links_own_runtime
from .example_inputs import example_inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["compile_package"]

logger = logging.getLogger(__name__)

_TORCHSCRIPT = "or export it with format='torchscript', which allows it"
_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError)
_SIZES = (1, 2, 12)  # numbers of atoms for which the code is compared with the module
_TRACED = 7
# A loop over the inside of a tile; those that only collect a vector are unrolled.
_TILED = re.compile(r"^(?!.*unroll).*\n\s*for \(long \w+_inner", re.MULTILINE)
# Larger than any rounding, smaller than any mistake.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-8}


def compile_package(
    module: Any, card: ModelCard, *, example: Mapping[str, ArrayLike] | None, portable: bool, device: str = "cpu"
) -> tuple[bytes, ModelCard]:
    """Compile a module and its gradient.

    Parameters
    ----------
    module
        A ``torch.nn.Module``.
    card
        Its card.
    example
        A value for every input, for which the code is compared with the module, beside made-up ones.
    portable
        Whether the code must run on every processor of this kind.
    device
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    data : bytes
        The package.
    card : ModelCard
        The one inside.

    Raises
    ------
    ModelError
        If the module cannot be exported, or the code does not do what the module does.
    MissingDependencyError
        If there is no C++ compiler.
    UnsupportedError
        If this torch cannot compile for the baseline.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule) or not isinstance(module, torch.nn.Module):
        raise ModelError(
            "module", f"a {type(module).__name__}", "a torch.nn.Module that is not scripted, to be compiled",
                    "give the module before torch.jit.script, or use format='torchscript'"
        )  # fmt: skip
    check_callable(module, card)
    card = dataclasses.replace(card, format="aotinductor", dtype="float64" if card.dtype == "platform" else card.dtype)
    options, features = _target(portable)
    reference = ModuleRunner(module, card, device=device)
    cases = [example_inputs(card, count) for count in _SIZES]
    if example is not None:
        cases.append({name: np.asarray(example[name]) for name in card.inputs})
    # A module that fails or breaks its card says so here, before anything is compiled.
    expected = [_reference(reference, case) for case in cases[1:]]
    with contextlib.suppress(ModelError):
        # Not every model can be asked for one atom.
        expected.insert(0, _reference(reference, cases[0]))
    cases = cases[-len(expected) :]
    own = copy.deepcopy(module).eval().to(dtype=reference.dtype, device=reference.device)
    own.requires_grad_(False)
    inputs = card.inputs + ((WEIGHTS_INPUT,) if _is_weighted(card) else ())
    outputs = _output_names(card)
    metadata = {
        CARD_FILE: card.to_json(),
        "openmm_nn_inputs": " ".join(inputs),
        "openmm_nn_outputs": " ".join(outputs),
        "openmm_nn_dtype": card.dtype,
        "openmm_nn_processor": " ".join(features),
        "openmm_nn_torch": torch.__version__,
    }
    if device != "cpu":
        metadata["openmm_nn_gpu"] = torch.cuda.get_device_name(reference.device)
    with _quiet():
        program = _trace(own, card, reference)
        data = _compile(program, options, metadata)
    # What has just been compiled from the user's own module is the user's own code.
    trust_hash(hashlib.sha256(data).hexdigest())
    _compare(PackageRunner(data, card, device=device), reference, card, cases, expected)
    return data, card


def _is_weighted(card: ModelCard) -> bool:
    """Whether the graph takes the weights of the members, so that it can give the forces of each."""
    return card.committee_size > 1 and not card.returns_forces


def _output_names(card: ModelCard) -> tuple[str, ...]:
    return (card.outputs[0], "forces", *(DERIVATIVE_PREFIX + name for name in card.inputs if name in card.parameters))


def _reference(runner: ModuleRunner, case: Mapping[str, Any]) -> RunnerResult:
    parameters = [name for name in runner.card.inputs if name in runner.card.parameters]
    return runner(case, True, parameters, False)


# Tracing


def _energy_and_gradient(module: Any, card: ModelCard) -> Callable[..., tuple[Any, ...]]:
    """Return the function that is compiled: the card's inputs, and weights, to energy, forces and derivatives."""
    import torch

    parameters = [name for name in card.inputs if name in card.parameters]
    weighted = _is_weighted(card)

    def function(*given: Any) -> tuple[Any, ...]:
        values = dict(zip(card.inputs, given, strict=False))
        variables = parameters if card.returns_forces else ["positions", *parameters]
        for name in variables:
            values[name] = values[name].detach().requires_grad_(True)
        with torch.enable_grad():
            returned = module(*(values[name] for name in card.inputs))
            found = returned if isinstance(returned, tuple | list) else (returned,)
            energy = found[0]
            members = energy.reshape(card.committee_size, -1).sum(1)
            total = (members * given[-1]).sum() if weighted else members.sum() / card.committee_size
            gradients: list[Any] = []
            if variables:
                gradients = list(torch.autograd.grad([total], [values[name] for name in variables], allow_unused=True))
        for index, name in enumerate(variables):
            if gradients[index] is None:
                gradients[index] = torch.zeros_like(values[name])
        forces = found[1] if card.returns_forces else -gradients.pop(0)
        return tuple(output.detach() for output in (energy, forces, *gradients))

    return function


def _dimensions(card: ModelCard) -> list[dict[int, str]]:
    """Return, for every input of the graph, which of its dimensions vary, and with what."""
    known = {
        "positions": {0: "atoms"},
        "atomic_numbers": {0: "atoms"},
        "edge_index": {1: "edges"},
        "edge_shifts": {0: "edges"},
    }
    return [known.get(name, {}) for name in card.inputs] + ([{}] if _is_weighted(card) else [])


def _trace(module: Any, card: ModelCard, runner: ModuleRunner) -> Any:
    """Return the exported program of energy and gradient, with numbers of atoms and edges left open."""
    import torch
    from torch._dispatch.python import enable_python_dispatcher
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    case = example_inputs(card, _TRACED)
    tensors = [runner.tensor(name, case[name]) for name in card.inputs]
    if _is_weighted(card):
        count = card.committee_size
        tensors.append(torch.full((count,), 1.0 / count, dtype=runner.dtype, device=runner.device))
    dimensions = _dimensions(card)
    shapes = ShapeEnv(duck_shape=False)
    symbols: dict[Any, str] = {}
    fakes = []
    # Tensors without values: whatever the graph does depends on the symbols of their shapes alone.
    with FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True) as mode:
        for tensor, varying in zip(tensors, dimensions, strict=True):
            sizes = [DimDynamic.DYNAMIC if d in varying else DimDynamic.STATIC for d in range(tensor.dim())]
            context: Any = StatelessSymbolicContext(dynamic_sizes=sizes)
            fake = mode.from_tensor(tensor, symbolic_context=context)
            for dimension, what in varying.items():
                size: Any = fake.shape[dimension]
                symbols[size.node.expr] = what
            fakes.append(fake)
    function = _energy_and_gradient(module, card)
    try:
        with enable_python_dispatcher(), mode:
            traced = make_fx(function, tracing_mode="real", _allow_non_fake_inputs=True)(*fakes)
    except _ERRORS as error:
        _explain(error, card)
    _check_guards(shapes, symbols)
    names = {"atoms": torch.export.Dim("atoms", min=2), "edges": torch.export.Dim("edges", min=2)}
    dynamic = tuple({d: names[what] for d, what in varying.items()} or None for varying in dimensions)
    try:
        return torch.export.export(traced, tuple(tensors), dynamic_shapes=dynamic, strict=False)
    except _ERRORS as error:
        _explain(error, card)


def _check_guards(shapes: Any, symbols: Mapping[Any, str]) -> None:
    """Refuse a module that took a path which other numbers of atoms or edges would not take."""
    for sizes in ({"atoms": 2, "edges": 2}, {"atoms": 5, "edges": 12}, {"atoms": 100_003, "edges": 7_000_003}):
        for guard in shapes.guards:
            if guard.expr.subs({symbol: sizes[what] for symbol, what in symbols.items()}) == False:  # noqa: E712
                text = str(guard.expr)
                for symbol, what in symbols.items():
                    text = text.replace(str(symbol), what)
                raise ModelError(
                    "module", f"one that does something else unless {text}",
                            "one that does the same for every number of atoms and edges",
                            "compute from tensors, without branches or loops over sizes (torch.cdist branches unless "
                            f"given compute_mode='donot_use_mm_for_euclid_dist'); {_TORCHSCRIPT}"
                )  # fmt: skip


def _explain(error: BaseException, card: ModelCard) -> NoReturn:
    """Raise the error that says in words why a module cannot be exported."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = " ".join(str(error).split())
    reason = text if len(text) < 200 else text[:200] + "..."
    if names & {"GuardOnDataDependentSymNode", "DataDependentOutputException"}:
        got = f"one that asks for a number inside a tensor ({reason})"
        remedy = (
            "replace if on values by torch.where, and remove .item(), int(), float() and bool() of tensors; "
            "a loop or a shape that depends on values cannot be compiled"
        )
    elif "DynamicOutputShapeException" in names or any(word in text for word in ("nonzero", "masked_select", "unique")):
        got = f"one with shapes that depend on values ({reason})"
        remedy = (
            "replace nonzero, unique and indexing by a mask: take edge_index among the inputs, which the engine finds, "
            "or multiply by the mask"
        )
    elif "UserError" in names or "ConstraintViolationError" in names:
        got = f"one that holds for the example's numbers of atoms and edges only ({reason})"
        remedy = "compute from tensors, without Python loops over atoms"
    else:
        got = f"one that torch cannot export ({type(error).__name__}: {reason})"
        remedy = "use operations of torch that torch.export knows"
    raise ModelError(
        f"module of {card.name!r}", got, "a module whose operations and shapes do not depend on values",
                f"{remedy}; {_TORCHSCRIPT}"
    ) from error  # fmt: skip


# Compiling


def _target(portable: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return inductor's options for this machine or for its kind, and the features that the code will need."""
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    kind = platform.machine()
    if portable and (kind not in BASELINES or not hasattr(config.cpp, "march")):
        raise UnsupportedError(
            "portable", f"True, on {kind}, with a torch that compiles for the machine that it runs on only",
                    f"processors of the kinds {', '.join(BASELINES)} and torch >= 2.13",
                    "leave it out, or export with format='torchscript'"
        )  # fmt: skip
    try:
        compiler = shlex.split(get_cpp_compiler())
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise MissingDependencyError(
            "format", "'aotinductor', but there is no C++ compiler", "a machine with g++ or clang++",
                    "apt-get install g++ (Debian, Ubuntu), or conda install -c conda-forge cxx-compiler, or set CXX"
        ) from error  # fmt: skip
    if links_own_runtime(compiler):
        raise MissingDependencyError(
            "format", f"'aotinductor', with {shlex.join(compiler)}, which puts a copy of libstdc++ into what "
                    "it links, beside that of torch", "a compiler that shares torch's, without -static-libstdc++",
                    "set CXX to another, /usr/bin/g++ for example"
        )  # fmt: skip
    options: dict[str, Any] = {}
    march = getattr(config.cpp, "march", None) or "native"
    if portable:
        march = BASELINES[kind]
        options = {"cpp.march": march, "cpp.simdlen": 1}
    try:
        return options, compiled_features(compiler, march)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingDependencyError(
            "format", f"'aotinductor', with a C++ compiler that does not run ({error})", "g++ or clang++",
                    "apt-get install g++ (Debian, Ubuntu), or set CXX to one that runs"
        ) from error  # fmt: skip


def _compile(program: Any, options: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    import torch

    torch_package: Any = importlib.import_module("torch._inductor.package")

    codes = {SERIAL: {"cpp.threads": 1}}
    if torch.get_num_threads() > 1 and "openmm_nn_gpu" not in metadata:
        codes[PARALLEL] = {"cpp.dynamic_threads": True}
    files: dict[str, Any] = {}
    arguments, _ = program.example_inputs
    try:
        with tempfile.TemporaryDirectory(prefix="openmm_nn-") as folder:
            for name, threads in codes.items():
                logger.info("compiling %s", name)
                # Codes for one thread and for several have files of the same name: each gets a place of its own.
                place = Path(folder) / name
                place.mkdir()
                settings = {
                    "aot_inductor.package": True,
                    "aot_inductor.output_path": str(place),
                    "aot_inductor.metadata": dict(metadata),
                    **options,
                    **threads,
                }
                files[name] = torch._inductor.aot_compile(program.module(), arguments, options=settings)
                if _adds_astray(files[name]):
                    logger.info("compiling %s again, without vectors", name)
                    settings["cpp.simdlen"] = 1
                    files[name] = torch._inductor.aot_compile(program.module(), arguments, options=settings)
            path = Path(folder) / "model.pt2"
            torch_package.package_aoti(str(path), files)
            return path.read_bytes()
    except _ERRORS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            "module", f"one whose graph cannot be compiled ({reason[:300]})",
                    "a module that AOTInductor compiles", f"read the message above; {_TORCHSCRIPT}"
        ) from error  # fmt: skip


def _adds_astray(files: Sequence[Any]) -> bool:
    """Return whether code adds to wrong places.

    Where loops are tiled in two directions, the code generator of torch 2.13 counts the place inside of a tile twice in
    the index of an atomic addition, which writes beyond the end.
    """
    sources = [Path(str(file)).read_text(encoding="utf-8") for file in files if str(file).endswith(".cpp")]
    functions = [function for source in sources for function in source.split('extern "C"')]
    return any("atomic_add_vec" in function and _TILED.search(function) for function in functions)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's notices about its own inner life from the user; what fails is explained by our errors."""
    torch_logger = logging.getLogger("torch")
    level = torch_logger.level
    torch_logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch_logger.setLevel(level)


# Comparing


def _compare(
    compiled: ModuleRunner,
    reference: ModuleRunner,
    card: ModelCard,
    cases: Sequence[Mapping[str, Any]],
    expected: Sequence[RunnerResult],
) -> None:
    for case, wanted in zip(cases, expected, strict=True):
        _agree(_reference(compiled, case), wanted, card, len(case["positions"]))
    if _is_weighted(card):
        last = cases[-1]
        _agree(compiled(last, True, [], True), reference(last, True, [], True), card, len(last["positions"]))


def _agree(found: RunnerResult, wanted: RunnerResult, card: ModelCard, atoms: int) -> None:
    pairs: list[tuple[str, Any, Any]] = [("energy", found[0], wanted[0]), ("forces", found[1], wanted[1])]
    pairs += [(f"the derivative by {name}", found[2][name], wanted[2][name]) for name in wanted[2]]
    for name, one, other in pairs:
        given, right = np.asarray(one), np.asarray(other)
        scale = max(1e-6, float(np.nanmax(np.abs(right), initial=0.0)))
        if given.shape != right.shape or not np.allclose(
            given, right, rtol=0.0, atol=_TOLERANCE[card.dtype] * scale, equal_nan=True
        ):
            raise ModelError(
                f"module of {card.name!r}", f"compiled code that gives another {name} for {atoms} atoms: "
                        f"{given.ravel()[:3]}, not {right.ravel()[:3]}", "code that does what the module does",
                        "keep state out of the module, and random numbers; or export it with format='torchscript'"
            )  # fmt: skip
