# Run before the examples of every page: a folder of their own, with the structure that they read.
import os as _os
import shutil as _shutil
import tempfile as _tempfile
from pathlib import Path as _Path

_home = _os.getcwd()
_folder = _tempfile.TemporaryDirectory(prefix="openmm_nn-docs-")
_root = next(folder for folder in (_Path(_home), *_Path(_home).parents) if (folder / "examples" / "data").is_dir())
for _file in (_root / "examples" / "data").glob("*.pdb"):
    _shutil.copy(_file, _folder.name)
_os.chdir(_folder.name)


def _leave():
    _os.chdir(_home)
    _folder.cleanup()


def _data(name):
    """The folder of a test system of openmmtools, which is optional: what needs it is left out without it."""
    import importlib.util

    found = importlib.util.find_spec("openmmtools")
    folder = None if found is None else _Path(found.origin).parent / "data" / name
    return folder if folder is not None and folder.is_dir() else None


t4_lysozyme = _data("T4-lysozyme-L99A-implicit")
