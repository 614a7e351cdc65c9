"""Benchmarks at small sizes: they run, and what they record is what they measured."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import probe, search
from benchmarks.index_scale import CROPS, cost, read_index, write_index
from fabnet.frames.store import FrameStore

ROOT = Path(__file__).parents[2]


def test_the_benchmark_of_probes_runs_and_both_learn_the_same(monkeypatch, capsys):
    """One contestant in a process of its own, as all are when it is run; the others here, which have imported all."""

    def in_turn(step, folder, tasks, schedule):
        return alone(step, folder, tasks, schedule) if tasks == ("points",) else step(folder, tasks, schedule)

    alone = probe.alone
    monkeypatch.setattr(probe, "alone", in_turn)
    results = probe.main(6000, probe.Schedule(epochs=6, batch=256))
    assert len(results) == 5
    assert all(result.seconds > 0 and result.peak_mb > 50 for result in results.values())
    ours, theirs = results["ours, classes"], results["sklearn, classes"]
    assert ours.classes == pytest.approx(theirs.classes, abs=4)  # few rows are noisy
    assert 60 < theirs.classes < 99
    assert results["ours, all at once"].classes == pytest.approx(ours.classes, abs=0.5)
    assert "times the embeddings" in capsys.readouterr().out


def test_data_of_probes_are_as_told(tmp_path):
    probe.write_data(tmp_path, 4000)
    embeddings = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert embeddings.shape == (4000, 256)
    assert embeddings.dtype == np.float32
    assert set(np.load(tmp_path / "classes.npy")) == set(range(8))
    assert 0.01 < np.load(tmp_path / "units.npy").mean() < 0.3
    train, validation, test = probe.splits(4000)
    assert len(np.unique(np.concatenate([train, validation, test]))) == 4000


def test_the_benchmark_of_searching_records_what_it_measured(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(search, "apart", lambda step, *arguments: step(*arguments))
    monkeypatch.setattr(search, "BATCHES", (1, 100))
    monkeypatch.setattr(search, "EFFORTS", (16, 512))
    monkeypatch.setattr(search, "THREADS", 1)
    text = search.record(400, 600)
    assert "## Exact search, 400 rows in float32" in text
    assert "## 600 rows in float16, mapped" in text
    assert re.search(r"^\| 100 \| \d\.\d+ \| \d\.\d+ \| \d+\.\d\d \| [\d,]+ \| 100\.00 % \|$", text, re.MULTILINE)
    assert re.search(r"^\| peak memory of the search, MB \| [\d,]+ \|$", text, re.MULTILINE)


def test_rows_to_search_do_not_depend_on_how_they_are_read():
    mixture = search.Mixture(40_000)
    np.testing.assert_array_equal(mixture[16_000:17_000], mixture[0:40_000][16_000:17_000])
    assert mixture[39_990:50_000].shape == (10, search.DIMENSION)


ROWS = 500_000


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale") / "index"
    # A dict of a row takes more than a thousand bytes, and a name alone 60.
    assert cost(write_index, folder, ROWS).peak_mb < 250
    return folder


def test_memory_of_reading_an_index(index):
    small = index.parent / "small"
    write_index(small, ROWS // 10)
    # What Arrow takes for a batch does not grow; the store's own numbers and the names of the tracks do.
    # How far threads of Arrow read ahead differs from time to time, and only adds to what reading needs.
    peaks = [
        min(cost(read_index, folder, rows).peak_mb for _ in range(5))
        for folder, rows in ((index, ROWS), (small, ROWS // 10))
    ]
    grown = peaks[0] - peaks[1]
    assert grown * 2**20 < 100 * (ROWS - ROWS // 10)


def test_rows_and_tracks_of_a_large_index(index):
    store = FrameStore(index)
    assert store.frame_count == ROWS
    assert store.tracks.names[12345].as_py() == "id0000061/video0012345/00001/0"
    assert store.tracks.start[12345] == 12345 * CROPS
    assert store.frame_no[12345 * CROPS + 5] == 5
