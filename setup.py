"""The build step of the native extension; everything else about the package is in pyproject.toml."""

import importlib.util
import logging
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SKIP_VARIABLE = "OPENMM_NN_NO_NATIVE"
PREBUILT_VARIABLE = "OPENMM_NN_PREBUILT"
"""Environment variable: a prefix that `openmm_nn.native.build` made, to be put into the wheel as it is."""

logger = logging.getLogger("openmm_nn.setup")


def load_builder() -> ModuleType:
    """Load openmm_nn/native/build.py by its path: importing openmm_nn needs packages that may not be there yet."""
    name = "_openmm_nn_native_build"
    spec = importlib.util.spec_from_file_location(name, ROOT / "openmm_nn" / "native" / "build.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{ROOT}: openmm_nn/native/build.py is missing; get the complete sources of openmm_nn")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class BuildNative(build_ext):
    """Run CMake against the torch and OpenMM of this environment, where they are."""

    editable_mode = False

    def run(self) -> None:
        builder = load_builder()
        if os.environ.get(SKIP_VARIABLE, "0") not in ("", "0"):
            self.skip(f"{SKIP_VARIABLE} is set")
            return
        prefix = Path(self.build_lib).resolve() / "openmm_nn" / "native" / "build"
        if prebuilt := os.environ.get(PREBUILT_VARIABLE):
            shutil.copytree(prebuilt, prefix, dirs_exist_ok=True)
            return
        missing = builder.missing_packages()
        if missing:
            self.skip(f"{', '.join(missing)} cannot be imported by {sys.executable}")
            return
        if self.editable_mode or self.inplace:
            builder.build(prefix=builder.package_prefix())
        else:
            builder.build(prefix=prefix)

    def skip(self, reason: str) -> None:
        logger.warning(
            "the native extension is not built: %s. openmm_nn works without it on the slower engine in Python; "
            "to build it once torch, openmm and vesin are installed, run: python -m openmm_nn.native.build",
            reason,
        )

    # The outputs are CMake's, already in place; setuptools has no part in them.
    def get_outputs(self) -> list[str]:
        prefix = Path(self.build_lib) / "openmm_nn" / "native" / "build"
        return [] if self.editable_mode else [str(path) for path in sorted(prefix.rglob("*")) if path.is_file()]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return []


logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
setup(
    # Named so that the wheel is tagged for this platform and `build_ext` runs.
    ext_modules=[Extension("openmm_nn.native._openmm_nn_native", sources=[])],
    cmdclass={"build_ext": BuildNative},
)
