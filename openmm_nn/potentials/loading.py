"""load_potential: the one place that knows all formats."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CardError, ModelError
from ..model.card import ModelCard
from ..model.modelfile import check_callable, check_script, pack, read_card, unpack
from ..model.package import check_package, is_package, read_package
from ..model.torchscript import quiet_torchscript
from ..model.trust import remember_hash, trust_hash
from .formats import Format, find_format, find_object_format, formats, unavailable_formats
from .formats.committee import compose_committee
from .potential import Potential

__all__ = ["AvailablePotential", "available_potentials", "load_potential", "trust_hash"]

_BUNDLED = Path(__file__).with_name("bundled")
_PREFIX = "openmm-nn/"


def load_potential(
    source: Any, *, card: ModelCard | None = None, device: str | None = None, trust: bool = False
) -> Potential:
    """Load a potential.

    Parameters
    ----------
    source
        A path; a name, see `available_potentials`; a ``torch.jit.ScriptModule``; a ``torch.nn.Module`` or another
        callable, an ASE calculator or an ``openmmml.MLPotential``, which run in this process only and are taken as they
        are now; or a list of these or of potentials, which becomes a committee with as many members.
    card
        What a file without a card, a module or a callable needs; by default the contract of openmm-torch's TorchForce,
        ``ModelCard.torchforce()``.
    device
        A torch device; by default that of the Context, and the CPU outside of OpenMM.
    trust
        Whether code inside a foreign checkpoint may run while it is read.

    Notes
    -----
    A ``.pt2`` is a program: machine code, which does what its author wanted, with your rights. Nothing of it runs while
    it is loaded, so that its card and hash can be looked at; it runs when the potential is evaluated or a Context is
    made. Naming the file is taken as your word that it may, as naming a program on the command line is: its hash is
    trusted from then on, in this process. A package inside somebody's XML has been named by nobody, and is run only
    after `trust_hash`. Only files named ``.pt2`` are taken for packages, so that no other file surprises.

    Returns
    -------
    Potential
        The potential.

    Raises
    ------
    ModelError
        If the file is missing, no model, or damaged, or the name is unknown.
    CardError
        If the card contradicts the module.
    MissingDependencyError
        If the package that a name needs is not installed.

    Examples
    --------
    >>> from openmm_nn import load_potential
    >>> potential = load_potential(lambda positions: (positions**2).sum())
    >>> potential.card.format
    'callable'
    """
    potential = _load(source, card, device, trust)
    if potential.sha256 is not None:
        remember_hash(potential.sha256)
    return potential


def _load(source: Any, card: ModelCard | None, device: str | None, trust: bool) -> Potential:
    if card is not None and not isinstance(card, ModelCard):
        raise CardError("card", f"a {type(card).__name__}", "a ModelCard", "make one with ModelCard(...) or from_json")
    if isinstance(source, str | os.PathLike):
        return _load_text(source, card, device, trust)
    if isinstance(source, list | tuple):
        members = [
            member if isinstance(member, Potential) else load_potential(member, card=card, device=device, trust=trust)
            for member in source
        ]
        return _load_object(*compose_committee(members), device)
    family = find_object_format(source)
    if family is not None:
        return _load_object(*family.load_object(source, card=card), device)
    if callable(source):
        return _load_object(source, card, device)
    raise ModelError(
        "source", f"a {type(source).__name__}",
                "a path, a name, a torch module, a callable, an ASE calculator, an MLPotential, or a list of these",
                "give one of these"
    )  # fmt: skip


def _load_text(source: str | os.PathLike[str], card: ModelCard | None, device: str | None, trust: bool) -> Potential:
    text = os.fspath(source)
    path = Path(text)
    if isinstance(source, str):
        bundled = _bundled().get(text)
        if bundled is not None:
            return _load_file(bundled, card, device)
        family = find_format(text)
        if family is not None and not path.is_file():
            return _load_foreign(family, text, card, device, trust)
    if not path.is_file():
        raise _not_found(text, path)
    family = find_format(text)
    if family is not None:
        return _load_foreign(family, text, card, device, trust)
    return _load_file(path, card, device)


def _not_found(text: str, path: Path) -> ModelError:
    if path.is_dir():
        return ModelError("source", f"the directory {text}", "a file or a name", "give the file inside it")
    known = [entry.name for entry in available_potentials()]
    reasons = "; ".join(f"{name}: {why}" for name, why in unavailable_formats().items())
    other = f" (not available: {reasons})" if reasons else ""
    close = similar_names(text, known)
    # A family can have dozens of names: one of each is enough here.
    first = {name.partition("/")[0]: name for name in reversed(known)}
    shown = ", ".join(name for name in known if name in first.values())
    remedy = f"did you mean {' or '.join(close)}?" if close else "correct the path or the name"
    return ModelError(
        "source", f"{text!r}, which is neither a file nor a name that is known",
                f"a file that exists, or a name such as {shown}; `openmm-nn models --all` has all {len(known)}{other}",
                remedy
    )  # fmt: skip


def similar_names(text: str, known: Iterable[str]) -> list[str]:
    """Return at most two names that may have been meant, whatever their case and without what comes before a slash.

    Examples
    --------
    >>> from openmm_nn.potentials.loading import similar_names
    >>> similar_names("HCNO-1", ["openmm-nn/hcno-1", "ani2x"]), similar_names("ANI-2x", ["ani2x"])
    (['openmm-nn/hcno-1'], ['ani2x'])
    """
    by_name: dict[str, str] = {}
    for name in known:
        by_name.setdefault(name.lower(), name)
        by_name.setdefault(name.lower().rpartition("/")[2], name)
    close = difflib.get_close_matches(text.lower(), by_name, 2)
    return list(dict.fromkeys(by_name[name] for name in close))


def _load_file(path: Path, card: ModelCard | None, device: str | None) -> Potential:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            "source", f"{path}, which cannot be read ({error})", "a file that can", "check its permissions"
        ) from error
    if is_package(data):
        return _load_package(path, data, card, device)
    module, inside = unpack(data, str(path))
    _check_card(path, card, inside)
    chosen = inside or card or ModelCard.torchforce()
    try:
        check_script(module, chosen)
    except CardError as error:
        raise error.rename(f"{path}: {error.argument}") from error
    return Potential(chosen, data=data, module=module, device=device)


def _check_card(path: Path, given: ModelCard | None, inside: ModelCard | None) -> None:
    if inside is not None and given is not None and given != inside:
        raise CardError(
            "card", f"a card for {path}, which has another one inside", "the card inside the file",
                    "leave card out, or export the module again with the card that is right"
        )  # fmt: skip


def _load_package(path: Path, data: bytes, card: ModelCard | None, device: str | None) -> Potential:
    if path.suffix != ".pt2":
        raise ModelError(
            f"file {path}", "a compiled package, which holds machine code", "the ending .pt2, which says so",
                    "rename it if you trust it; else do not run it"
        )  # fmt: skip
    info = read_package(data, str(path))
    _check_card(path, card, info.card)
    chosen = info.card or card
    if chosen is None:
        raise CardError(
            "card", "None", f"a ModelCard: {path} was not written by export_potential and has none inside",
                    "give card=ModelCard(...), which lists inputs and outputs of the code in order, forces included"
        )  # fmt: skip
    chosen = dataclasses.replace(chosen, format="aotinductor")
    check_package(info, chosen, str(path))
    return _trusted(chosen, data, device)


def _trusted(card: ModelCard, data: bytes, device: str | None) -> Potential:
    """Make the potential of a package. Whoever names a program wants it run: see the notes of load_potential."""
    trust_hash(hashlib.sha256(data).hexdigest())
    return Potential(card, data=data, device=device)


def _load_foreign(family: Format, source: str, card: ModelCard | None, device: str | None, trust: bool) -> Potential:
    if card is not None:
        raise CardError("card", f"a card for {source!r}, which brings its own", "None", "leave card out")
    module, made = family.load(source, device=None, trust=trust)
    if isinstance(module, bytes):
        return _trusted(made, module, device)
    return _load_object(module, made, device)


def _load_object(module: Any, card: ModelCard | None, device: str | None) -> Potential:
    import torch

    chosen = ModelCard.torchforce() if card is None else card
    if isinstance(module, torch.jit.ScriptModule) and chosen.format != "callable":
        chosen = dataclasses.replace(chosen, format="torchscript")
        with quiet_torchscript():
            return Potential(chosen, data=pack(module, chosen), device=device)
    if isinstance(module, torch.jit.ScriptModule):
        check_script(module, chosen)
    else:
        check_callable(module, chosen)
    return Potential(dataclasses.replace(chosen, format="callable"), module=module, device=device)


@dataclass(frozen=True)
class AvailablePotential:
    """A potential that can be loaded by its name.

    Parameters
    ----------
    name
        What ``load_potential`` takes.
    description
        What it is.
    card
        Its card, where that can be had without loading it.
    missing
        What is missing to load it, with the command that installs it; empty if nothing is.

    Examples
    --------
    >>> from openmm_nn import available_potentials
    >>> all(entry.name for entry in available_potentials())
    True
    """

    name: str
    description: str
    card: ModelCard | None = None
    missing: str = ""


def available_potentials() -> list[AvailablePotential]:
    """List the potentials that have names.

    Returns
    -------
    list of AvailablePotential
        Bundled ones first, then those of the registered formats.

    Examples
    --------
    >>> from openmm_nn import available_potentials
    >>> isinstance(available_potentials(), list)
    True
    """
    found = []
    for name, path in _bundled().items():
        card = read_card(path.read_bytes())
        found.append(AvailablePotential(name, "" if card is None else card.description, card))
    for family in formats().values():
        missing = family.missing()
        found += [AvailablePotential(name, text, None, missing) for name, text in family.names().items()]
    return found


def _bundled() -> dict[str, Path]:
    """Return the files that ship with the package, by name."""
    return {f"{_PREFIX}{path.stem}": path for path in sorted(_BUNDLED.glob("*.pt"))}
