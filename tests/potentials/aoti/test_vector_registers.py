"""Nothing of a compiled model's wide vectors stays in the processor: SSE code, as OpenMM's, would crawl for it."""

import ctypes
import pathlib
import platform as host
import subprocess

import openmm as mm
import pytest

from tests.potentials.aoti.packages import NUMBERS, Packages

pytestmark = pytest.mark.process

IN_USE = """
#include <cpuid.h>
int supported() {
    unsigned a, b, c, d;
    return __get_cpuid_count(13, 1, &a, &b, &c, &d) ? (a >> 2) & 1 : 0;
}
int upper_halves() {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return (low >> 2) & 1;
}
void use_them() {
    __asm__ volatile("vpcmpeqd %ymm6, %ymm6, %ymm6");
}
void clear_them() {
    __asm__ volatile("vzeroupper");
}
"""


@pytest.mark.skipif(host.machine() not in ("x86_64", "AMD64"), reason="registers of another kind of processor")
def test_the_upper_halves_are_clear(native: str, packages: Packages, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in_use.c").write_text(IN_USE)
    subprocess.run(["cc", "-mavx2", "-shared", "-fPIC", "-o", "in_use.so", "in_use.c"], cwd=tmp_path, check=True)
    registers = ctypes.CDLL(str(tmp_path / "in_use.so"))
    if not registers.supported():
        pytest.skip("this processor does not tell which registers are in use")
    potential = packages("committee")
    system = mm.System()
    for _ in NUMBERS:
        system.addParticle(12.0)
    system.addForce(potential.create_force(atomic_numbers=NUMBERS))
    integrator = mm.VerletIntegrator(0.0001)
    registers.use_them()
    assert registers.upper_halves()
    registers.clear_them()
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    assert not registers.upper_halves()
    context.setPositions([mm.Vec3(0.15 * index, 0.1 * (index % 2), 0.0) for index in range(len(NUMBERS))])
    integrator.step(2)
    assert not registers.upper_halves()
