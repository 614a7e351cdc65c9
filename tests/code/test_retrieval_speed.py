"""The benchmark of searching runs, and its record says what it measured."""

import re

import numpy as np
import pytest

from benchmarks import search


def test_a_small_run(monkeypatch):
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


def test_rows_do_not_depend_on_how_they_are_read():
    mixture = search.Mixture(40_000)
    np.testing.assert_array_equal(mixture[16_000:17_000], mixture[0:40_000][16_000:17_000])
    assert mixture[39_990:50_000].shape == (10, search.DIMENSION)
