"""What every test starts from."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Seeded: a run shows what the run before showed.
settings.register_profile("seeded", derandomize=True)
settings.load_profile("seeded")


@pytest.fixture(autouse=True)
def _denormals_as_ieee_has_them() -> Iterator[None]:
    """Training flushes denormals for the whole process; hypothesis rightly refuses to draw floats then."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
