"""A TorchScript file, examined before torch reads it: records, pickles, code, and the manifest if there is one."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import zipfile
from io import BytesIO
from typing import Any, NoReturn

from ..errors import ModelError
from .archive import Archive, glance, open_archive
from .card import CARD_FILE
from .pickles import check_pickle

__all__ = ["CARD_LIMIT", "MANIFEST_FILE", "add_manifest", "check_kinds", "check_script_archive", "is_script_archive"]

MANIFEST_FILE = "openmm_nn_manifest.json"
"""Name of the extra file with the SHA-256 of every record, written by ``export_potential``."""

CARD_LIMIT = 1 << 20
"""A card is at most a megabyte."""

_PICKLE_LIMIT = 1 << 28
_CODE_LIMIT = 1 << 25
_MANIFEST_LIMIT = 1 << 24
_SMALL = 4096
_DEPTH = 200
_LINE = 1 << 20
_CHAIN = 3000
_INDENT = 400
# What reads or writes files, of torch and of libraries that bring operators, in whatever way it is named: `torch.save`,
# `t = torch` and `t . save`, or a line that goes on after a backslash. Only a point or getattr reaches it. Between a
# point and a name torch writes nothing; a comment there is refused as well.
_FILES = r"_?(?:load|save)(?:_\w+)?|_?from_file"
_NAMED_FILES = re.compile(rf"\.(?:\s|\\\r?\n)*(#|{_FILES}\b)")
_GETATTR = re.compile(r"\bgetattr\b")
_NAME = re.compile(r', "([^"\\\n]*)"\)')
_OPERAND = re.compile(r'"[^"\\\n]*"|[\w. ]+|[()\[\]]|,')
# What torch writes for a method that is marked as unused: it can only raise.
_UNUSED_STATE = re.compile(
    r"^ *def __setstate__\(self: [\w.]+,\n *\w+: \w+\) -> NoneType:\n"
    r" *(_\d+) = uninitialized\(NoneType\)\n"
    r' *ops\.prim\.RaiseException\("Cannot call @unused methods", "builtins\.RuntimeError"\)\n'
    r" *return \1\n",
    re.MULTILINE,
)
_DEFINITION = re.compile(r"^[^\S\n]*def\b", re.MULTILINE)
_OPENING = re.compile(r"[^\S\n]+\w+\(")
_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*(?:"|\\?$)', re.MULTILINE)
_FINAL = re.compile(r"\bFinal\b(.*)")
# Types and values that are written out: no call but of these two, no operator but a sign, no loop.
_PLAIN = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|\b(?:annotate|torch\.device)\(|(?<=[=,(\[{])\(|(?<=[=,] )\(|\)'
    r"|(?!\b(?:for|if|lambda)\b)\w+|[.\[\]{}:,=\s+-]"
)
_UNARY = re.compile(r"(?:(?:-|~|\bnot\b|\*\*)\s*){64}")
_TOKENS = re.compile(r"[()\[\]{},\n]|[-+*/%<>=!&|^~@]+|\.(?=[A-Za-z_])|\b(?:and|or|not|if|in|is|lambda)\b")
_SAME_VALUE = ("prim::unchecked_cast", "prim::unchecked_unwrap_optional", "aten::_unwrap_optional")
_ANY_TIME = (1980, 1, 1, 0, 0, 0)


def is_script_archive(data: bytes) -> bool:
    """Say whether bytes look like a TorchScript file, without more than a glance.

    Parameters
    ----------
    data
        The file's content.

    Returns
    -------
    bool
        Whether it is an archive with the records of one.
    """
    return {"data.pkl", "constants.pkl"} <= (glance(data) or frozenset())


def check_script_archive(data: bytes, label: str) -> None:
    """Examine a TorchScript file.

    Parameters
    ----------
    data
        The file's content.
    label
        Its name, for messages.

    Raises
    ------
    ModelError
        If something in it is not what torch.jit.save writes, is damaged, or was changed after its manifest was written.
    """
    archive = open_archive(data, label)
    archive.verify()
    records = {record: entry.size for record, entry in archive.entries.items()}
    # Modules with operators of a newer version (gelu, for one) have the record at the second place.
    number = ".data/version" if ".data/version" in records else "version"
    for needed in ("data.pkl", "constants.pkl", number):
        if needed not in records:
            _refuse(label, f"no record {needed!r}", "the records that torch.jit.save writes")
    _check_manifest(archive, label)
    version = archive.read(number, _SMALL).strip()
    if not re.fullmatch(rb"[0-9]{1,4}", version):
        _refuse(label, f"the format version {version[:20]!r}", "a number")
    if "byteorder" in records and archive.read("byteorder", _SMALL).strip() not in (b"little", b"big"):
        _refuse(label, "an unknown order of bytes", "'little' or 'big'")
    if f"extra/{CARD_FILE}" in records:
        archive.read(f"extra/{CARD_FILE}", CARD_LIMIT)
    for record in records:
        if record in ("data.pkl", "constants.pkl"):
            folder = record.removesuffix(".pkl")
            check_pickle(archive.read(record, _PICKLE_LIMIT), f"file {label}, {record}", records, folder)
        elif record.startswith("code/") and record.endswith(".debug_pkl"):
            check_pickle(archive.read(record, _PICKLE_LIMIT), f"file {label}, {record}", records, "debug")
        elif record.startswith("code/"):
            _check_code(archive.read(record, _CODE_LIMIT), record, label)


def _check_code(code: bytes, record: str, label: str) -> None:
    """Look for code that reads or writes files, that runs while it is loaded, or that no compiler could follow."""
    try:
        text = code.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(label, f"code {record!r} that is no text", "TorchScript code")
    if "\0" in text:
        _refuse(label, f"code {record!r} that is no text", "TorchScript code")
    lines = text.split("\n")
    indent = max(len(line) - len(line.lstrip(" ")) for line in lines)
    if indent > _INDENT or max(map(len, lines)) > _LINE or _UNARY.search(text) or _nests_deeply(text):
        _refuse(label, f"code {record!r} that nests more than {_DEPTH} deep", "code as torch writes it")
    found = _names_files(text)
    if found:
        _refuse(label, f"code that names {found!r}, which may read or write files", "code that computes")
    found = _runs_while_loaded(text)
    if found:
        _refuse(label, f"code that runs while it is loaded ({found})", "code that runs when the model is called")


def _names_files(text: str) -> str | None:
    """Find what reads or writes files; a getattr that is not as torch writes it may name anything."""
    found = _NAMED_FILES.search(text)
    if found:
        return found.group(1)
    for match in _GETATTR.finditer(text):
        position, depth = match.end(), 0
        while (token := _OPERAND.match(text, position)) and not (token.group() == "," and depth == 1):
            depth += (token.group() in "([") - (token.group() in ")]")
            position = token.end()
            if depth < 1:
                break
        name = _NAME.match(text, position)
        if not name or re.fullmatch(_FILES, name.group(1)):
            return "getattr"
    return None


def _runs_while_loaded(text: str) -> str | None:
    """Find what torch evaluates as it reads code: __setstate__, default values of arguments, and constants."""
    if "__setstate__" in _UNUSED_STATE.sub("", text):
        return "__setstate__"
    for match in _DEFINITION.finditer(text):
        opening = _OPENING.match(text, match.end())
        position, depth = (opening.end(), 1) if opening else (0, 0)
        while depth and (token := _PLAIN.match(text, position)):
            depth += token.group().endswith("(") - (token.group() == ")")
            position = token.end()
        if not opening or depth:
            return "the default value of an argument"
    for match in _FINAL.finditer(_TEXT.sub('""', text)):
        position, depth = match.start(1), 0
        while position < match.end(1) and (token := _PLAIN.match(match.string, position)):
            depth += (token.group()[-1] in "([{") - (token.group() in ")]}")
            position = token.end()
        if position < match.end(1) or depth:
            return "the value of a constant"
    return None


def _nests_deeply(text: str) -> bool:
    """Whether brackets nest too deeply, or operators follow one another for too long: a compiler goes down for each."""
    chains = [0]
    total = 0
    for token in _TOKENS.findall(text):
        if token in "([{":
            # What is subscribed or called is an operand as well.
            chains[-1] += 1
            total += 1
            chains.append(0)
            if len(chains) > _DEPTH:
                return True
        elif token in ")]}":
            total -= chains.pop()
            chains = chains or [0]
        elif token in ",\n":
            total -= chains[-1]
            chains[-1] = 0
        else:
            chains[-1] += 1
            total += 1
            if total > _CHAIN:
                return True
    return False


def _check_manifest(archive: Archive, label: str) -> None:
    """Compare the hash of every record with the manifest, if there is one."""
    record = f"extra/{MANIFEST_FILE}"
    if record not in archive.entries:
        return
    try:
        manifest = json.loads(archive.read(record, _MANIFEST_LIMIT))
        listed = manifest["records"]
        good = manifest["version"] == 1 and isinstance(listed, dict)
    except (ValueError, TypeError, KeyError, RecursionError):
        good, listed = False, {}
    if not good:
        _refuse(label, "a manifest that cannot be read", "the manifest that export_potential writes")
    present = {name for name in archive.entries if name != record}
    for name in sorted(present ^ set(listed)):
        what = "was added" if name in present else "is missing"
        _refuse(label, f"a record {name!r} that {what} after the file was written", "the records of its manifest")
    for name, expected in listed.items():
        if hashlib.sha256(archive.read(name, archive.entries[name].size)).hexdigest() != expected:
            _refuse(label, f"a record {name!r} that was changed after the file was written", "an unchanged file")


def check_kinds(graph: Any, module: Any, label: str) -> None:
    """Refuse kinds of numbers (dtypes) that torch does not have, before anything runs.

    Code has them as integers. Torch does not look whether it has such a kind, and reads beyond its table of them: that
    ends the process, takes all memory, or does nothing, as the memory happens to lie. What code computes is not known.

    Parameters
    ----------
    graph
        Of one of the module's methods, inlined.
    module
        A ``torch.jit.ScriptModule``.
    label
        Its name, for messages.

    Raises
    ------
    ModelError
        If a constant or an attribute that is used as a kind of numbers is none.
    """
    import torch

    count = len({value for value in vars(torch).values() if isinstance(value, torch.dtype)})
    itself = next(iter(graph.inputs())).debugName()
    values: list[Any] = []
    blocks = [graph]
    while blocks:
        for node in blocks.pop().nodes():
            blocks.extend(node.blocks())
            places = _kind_places(node.schema())
            if places:
                operands = list(node.inputs())
                values += [operands[place] for place in places]
    seen = set()
    while values:
        value = values.pop()
        if value.debugName() in seen:
            continue
        seen.add(value.debugName())
        node = value.node()
        if node.kind() == "prim::If":
            place = [output.debugName() for output in node.outputs()].index(value.debugName())
            values += [list(block.outputs())[place] for block in node.blocks()]
        elif node.kind() in _SAME_VALUE:
            values += node.inputs()
        else:
            known = _known_value(value, itself, module)
            if isinstance(known, int) and not 0 <= known < count:
                raise ModelError(
                    label, f"code with a kind of numbers (dtype) {known}", f"those of torch, 0 to {count - 1}",
                            "do not use this file; get it again from whoever made it, or export it"
                )  # fmt: skip


@functools.cache
def _kind_places(schema: str) -> tuple[int, ...]:
    """Find which arguments of an operator are kinds of numbers."""
    import torch

    if "ScalarType" not in schema and "int? dtype" not in schema:
        return ()
    arguments = torch._C.parse_schema(schema).arguments
    return tuple(
        place
        for place, argument in enumerate(arguments)
        if "ScalarType" in str(argument.real_type) or (argument.name == "dtype" and "int" in str(argument.type))
    )


def _known_value(value: Any, itself: str, module: Any) -> Any:
    """Return what is known of a value before anything runs: a constant, or an attribute of the module."""
    names = []
    while value.node().kind() == "prim::GetAttr":
        names.append(value.node().s("name"))
        value = next(iter(value.node().inputs()))
    found = module if value.debugName() == itself else value.toIValue()
    for name in reversed(names):
        found = getattr(found, name, None)
    return found


def add_manifest(data: bytes) -> bytes:
    """Add the manifest to the bytes of a TorchScript file.

    Parameters
    ----------
    data
        As torch.jit.save wrote them.

    Returns
    -------
    bytes
        The same archive with one entry more.
    """
    buffer = BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        names = archive.namelist()
        folder = names[0].partition("/")[0]
        listed = {name.partition("/")[2]: hashlib.sha256(archive.read(name)).hexdigest() for name in names}
        text = json.dumps({"version": 1, "records": listed}, indent=0)
        archive.writestr(zipfile.ZipInfo(f"{folder}/extra/{MANIFEST_FILE}", _ANY_TIME), text)
    return buffer.getvalue()


def _refuse(label: str, got: str, allowed: str) -> NoReturn:
    raise ModelError(
        f"file {label}", got, allowed, "do not use this file; get it again from whoever made it, or export it"
    )
