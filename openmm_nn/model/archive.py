"""Archives that models come in: bounds and structure, checked before anything inside is inflated or interpreted.

A model file is a ZIP archive, as torch writes it. Whoever made it may have meant harm, or a disk may have: names that
climb out of a folder, sizes that lie, entries that overlap or inflate without end, a checksum that is wrong. Here all
that is refused by name, in Python, so that libtorch reads only what is whole. Nothing is extracted.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ..errors import ModelError

__all__ = ["LIMITS", "ArchiveEntry", "Limits", "glance", "open_archive", "rewrite_archive"]


@dataclass(frozen=True)
class Limits:
    """What an archive may have at most.

    Parameters
    ----------
    entries
        Number of entries.
    name
        Length of a name in characters.
    inflated
        Sum of the sizes of compressed entries, in bytes.
    ratio
        Size of a compressed entry over its compressed size, where it is larger than a megabyte.
    """

    entries: int = 20_000
    name: int = 1024
    inflated: int = 1 << 30
    ratio: int = 200


LIMITS = Limits()

_STORED, _DEFLATED = 0, 8
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_ENCRYPTED = 0x1
_MEGABYTE = 1 << 20
_BLOCK = 1 << 20

# What zipfile raises for bytes that are no archive, or one that it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, OverflowError, NotImplementedError,
               EOFError, LookupError)  # fmt: skip


@dataclass(frozen=True)
class ArchiveEntry:
    """An entry of an archive.

    Parameters
    ----------
    name
        As it stands in the archive.
    record
        The name without the folder that all entries share.
    size
        Of the content, in bytes.
    """

    name: str
    record: str
    size: int


class Archive:
    """An archive whose structure has been checked; made by `open_archive`."""

    def __init__(self, file: zipfile.ZipFile, entries: dict[str, ArchiveEntry], label: str) -> None:
        self._file = file
        self.entries = entries
        self._label = label

    def read(self, record: str, largest: int) -> bytes:
        """Read an entry.

        Parameters
        ----------
        record
            Its name without the common folder.
        largest
            The size in bytes beyond which it is refused.

        Returns
        -------
        bytes
            Its content.

        Raises
        ------
        ModelError
            If it is larger, or damaged.
        """
        entry = self.entries[record]
        if entry.size > largest:
            _refuse(self._label, f"an entry {entry.name!r} of {entry.size} bytes", f"at most {largest} bytes for it")
        try:
            return self._file.read(entry.name)
        except _UNREADABLE as error:
            _damaged(self._label, f"entry {entry.name!r}: {error}")

    def verify(self) -> None:
        """Compare the checksum of every entry.

        Raises
        ------
        ModelError
            If one is wrong.
        """
        for entry in self.entries.values():
            try:
                with self._file.open(entry.name) as stream:
                    while stream.read(_BLOCK):
                        pass
            except _UNREADABLE as error:
                _damaged(self._label, f"entry {entry.name!r}: {error}")


def glance(data: bytes) -> frozenset[str] | None:
    """Return the names in an archive without the folder that its entries share; nothing is checked.

    Parameters
    ----------
    data
        The file's content.

    Returns
    -------
    frozenset of str or None
        None if it cannot be read as an archive.

    Examples
    --------
    >>> from openmm_nn.model.archive import glance
    >>> glance(b"no archive") is None
    True
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return frozenset(name.partition("/")[2] for name in file.namelist())
    except _UNREADABLE:
        return None


def open_archive(data: bytes, label: str, limits: Limits = LIMITS) -> Archive:
    """Open an archive in memory, and check its structure.

    Parameters
    ----------
    data
        The file's content.
    label
        Its name, for messages.
    limits
        What it may have at most.

    Returns
    -------
    Archive
        Its entries by record name; contents are not read yet.

    Raises
    ------
    ModelError
        If it is no archive, or breaks a rule; the message says which.
    """
    try:
        file = zipfile.ZipFile(io.BytesIO(data))
        infos = file.infolist()
    except _UNREADABLE as error:
        _damaged(label, str(error))
    if len(infos) > limits.entries:
        _refuse(label, f"an archive of {len(infos)} entries", f"at most {limits.entries}")
    names = [info.filename for info in infos]
    _check_names(label, names, limits)
    _check_sizes(label, infos, limits)
    _check_layout(label, data, infos)
    folder = names[0].partition("/")[0] if names else ""
    entries = {}
    for info in infos:
        top, _, record = info.filename.partition("/")
        if top != folder or not record:
            _refuse(label, f"an entry {info.filename!r} beside the folder {folder!r}", "one folder for all entries")
        entries[record] = ArchiveEntry(info.filename, record, info.file_size)
    return Archive(file, entries, label)


def rewrite_archive(data: bytes, edit: Callable[[str, bytes], bytes | None]) -> bytes:
    """Return an archive with other contents.

    Parameters
    ----------
    data
        An archive that has been checked.
    edit
        Given the name and the content of an entry, returns its content, or None to leave it out.

    Returns
    -------
    bytes
        The same for the same archive and edits, without compression.
    """
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            content = edit(entry.filename, old.read(entry))
            if content is not None:
                new.writestr(zipfile.ZipInfo(entry.filename, entry.date_time), content)
    return result.getvalue()


def _check_names(label: str, names: list[str], limits: Limits) -> None:
    allowed = "relative names of plain letters, each once"
    for name in names:
        parts = name.split("/")
        bad = (
            len(name) > limits.name
            or name.startswith("/")
            or "\\" in name
            or ".." in parts
            or "" in parts[:-1]
            or any(ord(c) < 32 or ord(c) == 127 for c in name)
        )
        if bad:
            _refuse(label, f"an entry named {name[:80]!r}", allowed)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(label, f"two entries named {twice[:80]!r}", allowed)


def _check_sizes(label: str, infos: list[zipfile.ZipInfo], limits: Limits) -> None:
    inflated = 0
    for info in infos:
        if info.compress_type not in (_STORED, _DEFLATED) or info.flag_bits & _ENCRYPTED:
            got = f"an entry {info.filename!r} that is encrypted or compressed in another way"
            _refuse(label, got, "entries that are stored or deflated")
        if info.compress_type == _STORED:
            if info.file_size != info.compress_size:
                _damaged(label, f"entry {info.filename!r} is stored, with two different sizes")
            continue
        inflated += info.file_size
        if info.file_size > _MEGABYTE and info.file_size > limits.ratio * max(info.compress_size, 1):
            got = f"an entry {info.filename!r} of {info.compress_size} bytes that claims to inflate to {info.file_size}"
            _refuse(label, got, f"at most {limits.ratio} times")
    if inflated > limits.inflated:
        _refuse(label, f"entries that claim to inflate to {inflated} bytes", f"at most {limits.inflated}")


def _check_layout(label: str, data: bytes, infos: list[zipfile.ZipInfo]) -> None:
    """Check that entries lie one after the other, and that what stands before each agrees with the directory."""
    end = 0
    for info in sorted(infos, key=lambda entry: entry.header_offset):
        start = info.header_offset
        if start < end or start + _LOCAL.size > len(data):
            _refuse(label, f"an entry {info.filename!r} that overlaps another or lies outside", "entries in a row")
        fields = _LOCAL.unpack_from(data, start)
        signature, flags, method, name_length, extra_length = fields[0], fields[3], fields[4], fields[10], fields[11]
        name = data[start + _LOCAL.size : start + _LOCAL.size + name_length]
        same = False
        with contextlib.suppress(UnicodeEncodeError):
            same = name in (info.filename.encode("utf-8"), info.filename.encode("cp437", "replace"))
        if signature != b"PK\x03\x04" or not same or method != info.compress_type or flags & _ENCRYPTED:
            _damaged(label, f"entry {info.filename!r} is called something else where it lies")
        end = start + _LOCAL.size + name_length + extra_length + info.compress_size
        if end > len(data):
            _damaged(label, f"entry {info.filename!r} ends beyond the file")


def _refuse(label: str, got: str, allowed: str) -> NoReturn:
    raise ModelError(
        f"file {label}", got, allowed, "do not use this file; get it again from whoever made it, or export it"
    )


def _damaged(label: str, reason: str) -> NoReturn:
    raise ModelError(
        f"file {label}", f"a file that is truncated or damaged ({reason[:200]})", "a whole model file",
                "get or export the file again"
    )  # fmt: skip
