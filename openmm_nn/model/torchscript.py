"""TorchScript files: reading, writing, and calling torch.jit without its warnings."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


__all__ = ["quiet_torchscript", "read_script", "write_script"]


@contextlib.contextmanager
def quiet_torchscript() -> Iterator[None]:
    """Silence the deprecation warnings of ``torch.jit``: the one place where that is done.

    TorchScript stays readable and runnable in torch; the warnings address authors of models, and would otherwise reach
    everyone who runs one.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=UserWarning)
        yield


def read_script(data: bytes, extra_files: dict[str, Any] | None = None) -> Any:
    """Read a TorchScript module from the bytes of its file.

    Parameters
    ----------
    data
        The file's content.
    extra_files
        Names of extra files, whose contents are filled in.

    Returns
    -------
    torch.jit.ScriptModule
        On the CPU.

    Raises
    ------
    RuntimeError
        If these are no such bytes.
    """
    import torch

    with quiet_torchscript():
        load: Any = torch.jit.load
        return load(io.BytesIO(data), map_location="cpu", _extra_files=extra_files)


def write_script(module: Any, extra_files: Mapping[str, str] | None = None) -> bytes:
    """Write a TorchScript module into bytes.

    Parameters
    ----------
    module
        A ``torch.jit.ScriptModule``, not frozen.
    extra_files
        Contents of extra files by name.

    Returns
    -------
    bytes
        The content of a file.
    """
    import torch

    buffer = io.BytesIO()
    with quiet_torchscript():
        save: Any = torch.jit.save
        save(module, buffer, _extra_files=dict(extra_files or {}))
    return buffer.getvalue()
