"""Writing files so that a program can die at any moment, and saying in words what the disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import RunError

__all__ = ["disk_errors", "sync_folder", "write_atomically"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a message that says what to do.

    Parameters
    ----------
    path
        What is being written.

    Raises
    ------
    RunError
        In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        what = "no space left on the disk" if full else (error.strerror or str(error))
        remedy = "free some space" if full else "look at the disk and at the permissions"
        raise RunError(
            str(path), f"an error when it was written: {what}", "a disk that takes it",
                    f"{remedy}, then go on from the last checkpoint with `openmm-nn continue {path.parent}`"
        ) from error  # fmt: skip


def sync_folder(folder: Path) -> None:
    """Make sure that names in a folder are on the disk."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file so that its name always means either the old content or the new.

    Parameters
    ----------
    path
        Of the file.
    data
        Its content.

    Raises
    ------
    RunError
        If the disk refuses.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.new")
    with disk_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
