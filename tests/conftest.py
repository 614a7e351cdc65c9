"""What every test starts from."""

import gc
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fabnet import log

# Seeded: a run shows what the run before showed.
settings.register_profile("seeded", derandomize=True)
settings.load_profile("seeded")

# As the programs do that tests run in their own process.
log.set_up()

# What tests import stays: it is not searched for garbage again and again.
gc.set_threshold(10_000, 20, 20)


#: Files that last longest, which begin first: no worker is left with one of them at the end.
_LONGEST = (
    "test_pipeline.py",
    "test_tracking_server.py",
    "test_benchmarks.py",
    "test_contracts.py",
    "test_training_parallel.py",
    "test_ray.py",
    "test_serve.py",
    "test_dvc.py",
    "test_faults.py",
    "test_app_page.py",
    "test_registry_promote.py",
    "test_tracking_sync.py",
    "test_training_killed.py",
    "test_supervised_stage.py",
    "test_probing_stages.py",
    "test_same_bytes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not sys.modules["torch"].cuda.is_available():
        pytest.skip("needs a GPU")


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(autouse=True)
def _denormals_as_ieee_has_them() -> Iterator[None]:
    """Training flushes denormals for the whole process; hypothesis rightly refuses to draw floats then."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="module")
def one_opencv_thread() -> Iterator[None]:
    """Workers of a test run share the cores, and OpenCV's threads would wait for each other."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def blank_figures() -> Iterator[None]:
    """Figures are files without a picture: drawing one takes longer than all that a store of runs does with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda _figure, path, **_: Path(path).touch())
        yield


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Data in which all is in order; they take seconds to make, so all files read, or change copies of, the same."""
    from tests.data import good_data

    return good_data.make(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser of this machine, without a window, as Playwright drives it."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser on PATH: {', '.join(names)}")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path)
        yield started
        started.close()
