"""An index is written and read in memory that holds a few numbers per row: no Python object of each."""

import pytest

from benchmarks.index_scale import CROPS, cost, read_index, write_index
from fabnet.frames.store import FrameStore

ROWS = 10_000_000


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale") / "index"
    # A dict of a row takes more than a thousand bytes, and a name alone 60.
    assert cost(write_index, folder, ROWS).peak_mb < 250
    return folder


def test_memory_of_reading(index):
    small = index.parent / "small"
    write_index(small, ROWS // 10)
    # What Arrow takes for a batch does not grow; the store's own numbers and the names of the tracks do.
    grown = cost(read_index, index, ROWS).peak_mb - cost(read_index, small, ROWS // 10).peak_mb
    assert grown * 2**20 < 100 * (ROWS - ROWS // 10)


def test_rows_and_tracks(index):
    store = FrameStore(index)
    assert store.frame_count == ROWS
    assert store.tracks.names[12345].as_py() == "id0000061/video0012345/00001/0"
    assert store.tracks.start[12345] == 12345 * CROPS
    assert store.frame_no[12345 * CROPS + 5] == 5
