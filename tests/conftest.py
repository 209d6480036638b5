"""Fixtures shared by all tests: platforms and precisions, engines, model files, the shared folder."""

import locale
import os
import pathlib
import sys
from collections.abc import Generator

os.environ.setdefault("TORCHANI_NO_WARN_EXTENSIONS", "1")
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import openmm as mm  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

import openmm_nn.native  # noqa: E402
from tests import SHARED  # noqa: E402
from tests.models import ModelSet  # noqa: E402
from tests.platforms import ENGINES, GPUS, PLATFORMS, PlatformCase, why_not  # noqa: E402

torch.set_num_threads(1)
GEOMETRY = ("test_links", "test_periodicity", "test_parameters", "test_bad_input")


@pytest.fixture(scope="session", autouse=True)
def data_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The hashes of models that a user has named are written to a folder of the tests."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


def pytest_report_header() -> list[str]:
    """Say what of the matrix runs here, so that nothing is left out in silence."""
    absent = "".join(f"; no {name}: {reason}" for name in GPUS if (reason := why_not(name)))
    native = "yes" if openmm_nn.native.available() else f"NO: {openmm_nn.native.reason()}"
    return [
        f"openmm {mm.Platform.getOpenMMVersion()}, torch {torch.__version__}; native extension: {native}",
        "platforms: " + ", ".join(str(case) for case in PLATFORMS) + absent,
        "engines: native on every platform; Python on Reference, CPU and, of GPUs, mixed precision",
        f"shared folder: {SHARED if SHARED.is_dir() else 'absent, tests that need it are skipped'}",
    ]


class ProcessWatch:
    """Refuses interpreters and compilers where tests with the marker `process` are left out: they take seconds each."""

    PROGRAMS = ("python", "cc", "c++", "gcc", "g++", "clang", "cmake", "ninja", "chrom")

    def __init__(self) -> None:
        self.refused = False
        sys.addaudithook(self.watch)

    def watch(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.refused and event == "subprocess.Popen":
            program = pathlib.Path(os.fsdecode(arguments[0] or "")).name  # type: ignore[arg-type]
            if program.startswith(self.PROGRAMS):
                raise RuntimeError(f"{program} is started by a test without pytest.mark.process")


WATCH = ProcessWatch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the processes of a test, its fixtures included."""
    WATCH.refused = "not process" in item.config.option.markexpr and item.get_closest_marker("process") is None
    try:
        return (yield)
    finally:
        WATCH.refused = False


def pytest_runtest_setup() -> None:
    """Take the locale of the environment again: PoCL sets the process's to C, and text would be ASCII from then on."""
    locale.setlocale(locale.LC_CTYPE, "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what other tests hold already.

    The Python engine has one precision of a GPU, since what differs between precisions is in the native kernels. Where
    the region's geometry is computed matters to the tests of geometry.
    """

    def superfluous(item: pytest.Item) -> bool:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        case = parameters.get("platform")
        if not isinstance(case, PlatformCase) or case.name not in GPUS:
            return False
        if case.geometry and (parameters.get("engine") == "python" or item.path.stem not in GEOMETRY):
            return True
        return parameters.get("engine") == "python" and case.precision != "mixed"

    for item in items:
        case = getattr(getattr(item, "callspec", None), "params", {}).get("platform")
        if isinstance(case, PlatformCase) and case.name in GPUS:
            item.add_marker(pytest.mark.gpu)
    dropped = [item for item in items if superfluous(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if not superfluous(item)]


@pytest.fixture(params=PLATFORMS, ids=str)
def platform(request: pytest.FixtureRequest) -> PlatformCase:
    """Every platform and precision of this machine, one at a time."""
    case: PlatformCase = request.param
    return case


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The native engine, then the one on OpenMM's PythonForce; a missing extension fails, it is not skipped."""
    return select_engine(str(request.param), monkeypatch)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> str:
    """For what only the native engine does."""
    return select_engine("native", monkeypatch)


@pytest.fixture
def python_engine(monkeypatch: pytest.MonkeyPatch) -> str:
    """For what is special to the engine on PythonForce."""
    return select_engine("python", monkeypatch)


def select_engine(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the forces created from here on use one engine."""
    if name == "python":
        monkeypatch.setenv("OPENMM_NN_ENGINE", "python")
    else:
        monkeypatch.delenv("OPENMM_NN_ENGINE", raising=False)
        if not openmm_nn.native.available():
            pytest.fail(f"the native extension is not there: {openmm_nn.native.reason()}")
    return name


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    """The analytic models, written once a session."""
    return ModelSet(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder beside the repository's root that holds structures and weights."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it holds the structures and the ANI-2x weights this test needs")
    return SHARED
