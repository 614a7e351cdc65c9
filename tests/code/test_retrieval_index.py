"""An index on disk: what is written is read again, and what was changed since is refused in a line."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from fabnet.errors import UserError
from fabnet.retrieval import ann
from fabnet.retrieval.exact import Alike, search, unit
from fabnet.retrieval.index import ANN, FORMAT, read_index, write_index
from fabnet.tables import IndexRows

COUNT, DIMENSION = 500, 12


def table(count=COUNT):
    rows = {}
    for name, column in IndexRows.to_schema().columns.items():
        values = [None] * count if str(column.dtype) == "str" else np.full(count, np.nan)
        rows[name] = pd.Series(values, dtype=str(column.dtype))
    rows["id"] = pd.Series([f"f{i}" for i in range(count)], dtype="str")
    rows["identity"] = pd.Series([f"person {i // 10}" for i in range(count)], dtype="str")
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def array():
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, DIMENSION))
    return (centres[random.integers(0, 20, COUNT)] + random.normal(size=(COUNT, DIMENSION))).astype(np.float32)


@pytest.fixture
def written(tmp_path, array):
    return write_index(tmp_path / "i", array, table(), {"weights_sha256": "ab", "recipe_hash": "cd"}, "there")


@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_is_read(tmp_path, array, half):
    write_index(tmp_path / "i", array, table(), {"recipe_hash": "cd"}, "there", half)
    index = read_index(tmp_path / "i", whole=True)
    expected = unit(array).astype(np.float16 if half else np.float32)
    assert index.vectors.dtype == expected.dtype
    np.testing.assert_array_equal(index.vectors[0:COUNT], expected)
    assert index.origin == {"recipe_hash": "cd"}
    assert index.ann is None
    pd.testing.assert_frame_equal(index.take(np.array([7, 3])), table().iloc[[7, 3]], check_dtype=False)
    found = search(index.vectors, expected[:5].astype(np.float32), 1)
    np.testing.assert_array_equal(found.rows[:, 0], range(5))
    assert {path.name for path in (tmp_path / "i").iterdir()} == {"index.json", "vectors.npy", "ids.parquet"}


def test_rows_can_be_read_again_after_others(tmp_path):
    """Pages that were given back come again from the file."""
    array = np.random.default_rng(1).normal(size=(5000, DIMENSION)).astype(np.float32)
    index = write_index(tmp_path / "i", array, table(5000), {}, "there")
    held = index.vectors[0:10]
    for first in range(0, 5000, 100):
        np.testing.assert_array_equal(index.vectors[first : first + 100], unit(array[first : first + 100]))
    np.testing.assert_array_equal(held, unit(array[:10]))
    np.testing.assert_array_equal(index.vectors[0:5000], unit(array))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "row 7 (f7) holds a number that is not finite"),
        (np.inf, "row 7 (f7) holds a number that is not finite"),
        (0, "row 7 (f7) is zero, and has no direction"),
    ],
)
def test_embeddings_without_a_direction_are_refused(tmp_path, array, value, words):
    bad = array.copy()
    bad[7] = value
    with pytest.raises(UserError, match=re.escape(f"there: {words}")):
        write_index(tmp_path / "i", bad, table(), {}, "there")
    assert not list(tmp_path.iterdir())


def test_an_empty_gallery_is_refused(tmp_path, array):
    with pytest.raises(UserError, match="there: the gallery is empty"):
        write_index(tmp_path / "i", array[:0], table(0), {}, "there")


def test_only_an_index_is_replaced(tmp_path, array, written):
    write_index(written.directory, array[:10], table(10), {}, "there")
    assert len(read_index(written.directory).vectors) == 10
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="exists and is no index"):
        write_index(tmp_path / "other", array, table(), {}, "there")


@pytest.mark.parametrize("name", ["vectors.npy", "ids.parquet"])
def test_truncated_and_lost_files_are_noticed(written, name):
    path = written.directory / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"{name}: has \d+ bytes instead of \d+; it was cut short"):
        read_index(written.directory)
    path.unlink()
    with pytest.raises(UserError, match=f"{name}: no such file, but index.json names it"):
        read_index(written.directory)


@pytest.mark.parametrize("name", ["vectors.npy", "ids.parquet"])
def test_changed_bytes_are_noticed(written, name):
    path = written.directory / name
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{name}: is not the file that index.json describes"):
        read_index(written.directory, whole=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": FORMAT + 1}, f"is an index of format {FORMAT + 1}, this fabnet reads format {FORMAT}"),
        ({"count": 3}, "says float32 (3, 12), but vectors.npy holds float32 (500, 12)"),
        ({"files": {}}, "does not name vectors.npy and ids.parquet"),
    ],
)
def test_another_format_is_refused(written, change, words):
    path = written.directory / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=re.escape(words)):
        read_index(written.directory)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"format": 1}'])
def test_a_damaged_description_is_refused(written, text):
    (written.directory / "index.json").write_text(text)
    with pytest.raises(UserError, match=r"index.json: is damaged"):
        read_index(written.directory)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_the_approximate_part_finds_nearly_all(tmp_path, array, kind):
    pytest.importorskip("faiss")
    index = write_index(tmp_path / "i", array, table(), {}, "there", build_ann=ann.builder(kind))
    assert index.about["ann"]["kind"] == kind
    assert read_index(tmp_path / "i", whole=True).ann == tmp_path / "i" / ANN
    part = ann.read(index.ann, *index.vectors.shape)
    rows = np.arange(0, COUNT, 9)
    queries = unit(array[rows])
    assert ann.recall(part, index.vectors, rows, queries, 10) > (0.95 if kind == "hnsw" else 0.3)
    people = Alike(rows // 10, np.arange(COUNT) // 10)
    found = ann.search_ann(part, queries, 5, [people])
    assert (found.rows // 10 != rows[:, None] // 10).all()
    np.testing.assert_allclose(found.similarity, np.einsum("qd,qkd->qk", queries, unit(array)[found.rows]), atol=1e-5)
    assert (np.diff(found.similarity, axis=1) <= 0).all()
    with pytest.raises(UserError, match="501 neighbours asked for, but the gallery has 500 rows"):
        ann.search_ann(part, queries, 501)
    data = (tmp_path / "i" / ANN).read_bytes()
    (tmp_path / "half.faiss").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"half.faiss: is damaged"):
        ann.read(tmp_path / "half.faiss", *index.vectors.shape)
    with pytest.raises(UserError, match="holds 500 vectors of 12, not 499 of 12"):
        ann.read(index.ann, 499, DIMENSION)


def test_without_faiss_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(UserError, match=r"pip install 'fabnet\[ann\]'"):
        ann.builder("hnsw")
