"""``models``, ``inspect``, ``export`` and ``preflight``: potentials before they run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from .console import fail, output, readable

_MANY = 4

__all__ = ["export", "inspect", "models", "preflight"]


def models(
    all_: Annotated[bool, typer.Option("--all", help="Every name, where a family has many.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the potentials that can be loaded by name, and what is missing for the others.

    A model file is loaded by its path: see `openmm-nn inspect FILE`.
    """
    with readable():
        from .. import available_potentials

        found = available_potentials()
        if as_json:
            rows = [
                {
                    "name": entry.name,
                    "description": entry.description,
                    "missing": entry.missing,
                    "card": None if entry.card is None else json.loads(entry.card.to_json()),
                }
                for entry in found
            ]
            output.out.print_json(json.dumps(rows))
            return
        table = Table("name", "what it is", "ready", box=box.SIMPLE, pad_edge=False)
        for name, entry in _families(found, all_):
            table.add_row(name, _wrap(entry), "yes" if not entry.missing else f"no: {entry.missing}")
        output.out.print(table)
        output.out.print("use one: `potential: {name: ...}` in a run file, or load_potential(name) in Python")


def _families(found: list[Any], everything: bool) -> list[tuple[str, Any]]:
    """Give one line to a family of many names, unless all are wanted."""
    families: dict[str, list[Any]] = {}
    for entry in found:
        prefix, slash, _ = entry.name.partition("/")
        families.setdefault(prefix if slash else entry.name + "/", []).append(entry)
    rows: list[tuple[str, Any]] = []
    for prefix, entries in families.items():
        if everything or len(entries) <= _MANY:
            rows += [(entry.name, entry) for entry in entries]
        else:
            first, last = entries[0].name, entries[-1].name
            rows.append((f"{first} ... {last} ({len(entries)} names of {prefix}; --all)", entries[0]))
    return rows


def _wrap(entry: Any) -> str:
    card = entry.card
    if card is None:
        return str(entry.description)
    extra = []
    if card.elements:
        extra.append(" ".join(card.elements))
    if card.committee_size > 1:
        extra.append(f"committee of {card.committee_size}")
    if card.level_of_theory:
        extra.append(card.level_of_theory)
    return f"{entry.description} [{'; '.join(extra)}]" if extra else str(entry.description)


def inspect(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A model file, or a name that `models` lists.")],
    as_json: Annotated[bool, typer.Option("--json", help="The card and the hash as JSON.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let code inside a foreign checkpoint, or a .pt2, run.")
    ] = False,
) -> None:
    """Show what a model file says of itself: card, hash, and the signature of its module.

    A file that contradicts its card is refused, with the reason.
    """
    with readable():
        from .. import load_potential

        potential = load_potential(source, trust=trust)
        card = json.loads(potential.card.to_json())
        if as_json:
            output.out.print_json(json.dumps({"card": card, "sha256": potential.sha256}))
            return
        table = Table(show_header=False, box=box.SIMPLE, pad_edge=False)
        for key, value in card.items():
            if value not in (None, "", {}, []):
                table.add_row(key.replace("_", " "), _show(value))
        output.out.print(table)
        output.out.print(f"sha256     {potential.sha256 or 'none: it lives in its own package'}", soft_wrap=True)
        if potential.data is not None:
            output.out.print(f"size       {len(potential.data) / 1e6:.2f} MB")
        output.out.print(f"signature  {_signature(potential)}", soft_wrap=True)


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item:.10g}" for key, item in value.items())
    return str(value)


def _signature(potential: Any) -> str:
    compiled = potential.card.format == "aotinductor"
    schema = None if compiled else getattr(getattr(potential.module, "forward", None), "schema", None)
    if schema is not None:
        return str(schema).replace("__torch__.", "")
    return f"forward({', '.join(potential.card.inputs)}) -> {', '.join(potential.card.outputs)}"


def export(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A model file, or a name that `models` lists.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write: .pt, or .pt2 for aotinductor.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="torchscript, aotinductor (machine code), or torchforce (for openmm-torch); by default as FILE ends.",
        ),
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", metavar="JSON", help="A card for a file that has none.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let code inside a foreign checkpoint, or a .pt2, run.")
    ] = False,
    portable: Annotated[
        bool, typer.Option("--portable", help="Machine code for any processor of this kind; slower.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="What machine code runs on: cpu, or cuda for GPUs like this machine's.")
    ] = "cpu",
) -> None:
    """Write a potential into one file, with its card inside, that runs without Python.

    openmm-nn export ani2x/0 ani2x-0.pt

    openmm-nn export model.pt model.pt2
    """
    with readable():
        from .. import ModelCard, export_potential, load_potential
        from ..errors import CardError

        given = None
        if card is not None:
            try:
                given = ModelCard.from_json(card.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
                raise CardError("--card", f"{str(card)!r}: {reason}", "a JSON file", "correct the path") from error
        if target.exists():
            fail(f"FILE: got {str(target)!r}, which exists; allowed: a new file. To fix: give another name.")
        if format_ is None and target.suffix not in (".pt", ".pt2"):
            fail(f"FILE: got {str(target)!r}; allowed: a name that ends in .pt (TorchScript) or .pt2 (AOTInductor). "
                 "To fix: give such a name, or --format.")  # fmt: skip
        potential = load_potential(source, card=given, trust=trust)
        if potential.card.format == "aotinductor":
            _copy_package(potential, target, format_, changed=portable or device != "cpu")
            return
        chosen = dataclasses.replace(potential.card, format="torchscript")
        format_ = format_ or ("aotinductor" if target.suffix == ".pt2" else "torchscript")
        written = export_potential(potential.module, target, chosen, format=format_, portable=portable, device=device)
        output.out.print(f"{target} is written, sha256 {written.sha256}", soft_wrap=True)


def _copy_package(potential: Any, target: Path, format_: str | None, *, changed: bool) -> None:
    """Write a compiled package as it is, with its card inside."""
    if (format_ or "aotinductor") != "aotinductor" or target.suffix != ".pt2" or changed:
        fail(f"SOURCE: got {potential.card.name!r}, compiled code, which stays what it is; allowed: FILE ending in "
             ".pt2, without --format, --portable and --device. To fix: export what it was compiled from.")  # fmt: skip
    potential.save(target)
    sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
    output.out.print(f"{target} is written, sha256 {sha256}", soft_wrap=True)


def _list_checks(wanted: bool) -> None:
    """Print the checks, which needs neither potential nor structure."""
    if not wanted:
        return
    from ..checks.preflight import available_checks

    table = Table("check", "what it does", box=box.SIMPLE, pad_edge=False)
    for name, text in available_checks().items():
        table.add_row(name, text)
    output.out.print(table)
    raise typer.Exit


def preflight(
    source: Annotated[str, typer.Argument(metavar="POTENTIAL", help="A model file, or a name that `models` lists.")],
    structure: Annotated[
        Path,
        typer.Argument(metavar="STRUCTURE", help="A PDB or PDBx/mmCIF file, as the simulation would start from it."),
    ],
    select: Annotated[
        str | None, typer.Option("--select", metavar="MDTRAJ", help="The atoms that the potential will describe.")
    ] = None,
    charge: Annotated[
        int | None, typer.Option("--charge", help="Of these atoms together, in e; by default what the bonds imply.")
    ] = None,
    multiplicity: Annotated[int, typer.Option("--multiplicity", min=1, help="Spin multiplicity.")] = 1,
    periodic: Annotated[bool, typer.Option("--periodic", help="Give the potential the box of the structure.")] = False,
    timestep: Annotated[float, typer.Option("--timestep", help="Of the simulation to come, in fs.")] = 0.5,
    temperature: Annotated[float, typer.Option("--temperature", help="Of the simulation to come, in K.")] = 300.0,
    check: Annotated[
        list[str] | None, typer.Option("--check", metavar="NAME", help="Only this check; may be given again.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", callback=_list_checks, is_eager=True, help="List the checks, and stop.")
    ] = False,
    report: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here too.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let code inside a foreign checkpoint, or a .pt2, run.")
    ] = False,
) -> None:
    """Examine a potential on a structure before it is believed; the status is 1 if a check fails.

    Forces against finite differences, symmetries, units, elements, noise of float32, drift, the largest stable time
    step and more, each with a number, a verdict and advice.

    openmm-nn preflight openmm-nn/hcno-1 ligand.pdb

    openmm-nn preflight model.pt complex.pdb --select "resname LIG"
    """
    with readable():
        from openmm import unit

        from .. import load_potential
        from ..checks.preflight import preflight as examine
        from ..runs.schema import STRUCTURE_KINDS
        from ..runs.structures import read_coordinates
        from ..selection import select_atoms

        if Path(source).suffix.lower() in STRUCTURE_KINDS and structure.suffix.lower() not in STRUCTURE_KINDS:
            fail(f"POTENTIAL: got {source!r}, a structure; allowed: a model file, or a name that `openmm-nn models` "
                 f"lists. To fix: give the potential first: openmm-nn preflight {structure} {source}")  # fmt: skip
        if report is not None and not report.resolve().parent.is_dir():
            fail(f"--json: got {str(report)!r}, whose folder does not exist; allowed: a folder that exists. "
                 "To fix: make it first.")  # fmt: skip
        topology, positions = read_coordinates(structure)
        atoms = list(topology.atoms())
        chosen = tuple(range(len(atoms))) if select is None else select_atoms(topology, select, argument="--select")
        bare = [atoms[index] for index in chosen if atoms[index].element is None]
        if bare:
            fail(f"STRUCTURE: atom {bare[0].name} (index {bare[0].index}) has no element; remove virtual sites.")
        vectors = topology.getPeriodicBoxVectors()
        if periodic and vectors is None:
            fail("--periodic: the structure has no box; leave it out, or give a structure with one.")
        result = examine(
            topology,
            load_potential(source, trust=trust),
            positions,
            None if select is None else chosen,
            box=vectors if periodic else None,
            charge=charge,
            multiplicity=multiplicity,
            checks=check or None,
            timestep=timestep * unit.femtosecond,
            temperature=temperature * unit.kelvin,
        )
        output.out.print(result.to_text(), markup=False, soft_wrap=True)
        if report is not None:
            report.write_text(result.to_json() + "\n", encoding="utf-8")
        if any(entry.verdict == "fail" for entry in result.checks):
            raise typer.Exit(1)
