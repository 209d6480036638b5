"""What a processor can do, and what a compiler made use of: names as the operating system gives them."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["BASELINES", "compiled_features", "missing_features", "processor_features"]

BASELINES: Mapping[str, str] = {"x86_64": "x86-64", "aarch64": "armv8-a"}
"""What ``-march`` means every processor of a kind, by the name of the kind."""

# What a compiler may use of its own accord in numerical code, by the macro that says so.
_FEATURES: Mapping[str, Mapping[str, str]] = {
    "x86_64": {
        "__SSE3__": "pni",
        "__SSSE3__": "ssse3",
        "__SSE4_1__": "sse4_1",
        "__SSE4_2__": "sse4_2",
        "__POPCNT__": "popcnt",
        "__MOVBE__": "movbe",
        "__LZCNT__": "abm",
        "__BMI__": "bmi1",
        "__BMI2__": "bmi2",
        "__F16C__": "f16c",
        "__FMA__": "fma",
        "__FMA4__": "fma4",
        "__AVX__": "avx",
        "__AVX2__": "avx2",
        "__AVXVNNI__": "avx_vnni",
        "__AVX512F__": "avx512f",
        "__AVX512CD__": "avx512cd",
        "__AVX512BW__": "avx512bw",
        "__AVX512DQ__": "avx512dq",
        "__AVX512VL__": "avx512vl",
        "__AVX512IFMA__": "avx512ifma",
        "__AVX512VBMI__": "avx512vbmi",
        "__AVX512VBMI2__": "avx512_vbmi2",
        "__AVX512VNNI__": "avx512_vnni",
        "__AVX512BITALG__": "avx512_bitalg",
        "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
        "__AVX512BF16__": "avx512_bf16",
        "__AVX512FP16__": "avx512_fp16",
        "__GFNI__": "gfni",
        "__AMX_TILE__": "amx_tile",
    },
    "aarch64": {
        "__ARM_FEATURE_ATOMICS": "atomics",
        "__ARM_FEATURE_DOTPROD": "asimddp",
        "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC": "asimdhp",
        "__ARM_FEATURE_BF16": "bf16",
        "__ARM_FEATURE_MATMUL_INT8": "i8mm",
        "__ARM_FEATURE_SVE": "sve",
        "__ARM_FEATURE_SVE2": "sve2",
    },
}


@functools.cache
def processor_features() -> frozenset[str]:
    """Return the features of this processor.

    Returns
    -------
    frozenset of str
        Such as ``avx2``; empty where the operating system does not say.

    Examples
    --------
    >>> from openmm_nn.model.processor import processor_features
    >>> isinstance(processor_features(), frozenset)
    True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


def missing_features(needed: Sequence[str]) -> list[str]:
    """Return those of the features needed that this processor does not have.

    Parameters
    ----------
    needed
        Names of features.

    Returns
    -------
    list of str
        Empty if it has all, or if the operating system does not say what it has.

    Examples
    --------
    >>> from openmm_nn.model.processor import missing_features
    >>> missing_features([])
    []
    """
    have = processor_features()
    return [feature for feature in needed if feature not in have] if have else []


def compiled_features(compiler: Sequence[str], march: str) -> tuple[str, ...]:
    """Return the features that a compiler makes use of.

    Parameters
    ----------
    compiler
        The command.
    march
        Its option ``-march``.

    Returns
    -------
    tuple of str
        Beyond those that every processor of this kind has.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        If the compiler does not run.
    """
    kind = platform.machine()

    def macros(target: str) -> set[str]:
        command = [*compiler, f"-march={target}", "-dM", "-E", "-x", "c++", "/dev/null"]
        output = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
        return {line.split()[1] for line in output.splitlines() if line.startswith("#define ")}

    known = _FEATURES.get(kind, {})
    used = macros(march)
    always = macros(BASELINES[kind]) if kind in BASELINES else set()
    return tuple(name for macro, name in known.items() if macro in used and macro not in always)
