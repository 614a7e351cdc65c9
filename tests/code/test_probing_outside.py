"""Embeddings that others made: every form that is read, and every damage that is refused with its file and row."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fabnet.errors import UserError
from fabnet.inference.formats.table import open_plain_parquet
from fabnet.model import Model
from fabnet.probing import outside
from fabnet.probing.embeddings import (
    read_embeddings,
    require_comparable,
    require_set,
    require_weights,
    write_embeddings,
)
from fabnet.probing.outside import open_outside, write_outside

IDS = list("abcde")
VALUES = np.random.default_rng(0).normal(size=(5, 3))


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def refused(path, scratch, ids=None, faces=IDS):
    with pytest.raises(UserError) as error:
        write_outside(open_outside(path, scratch, ids), scratch / "out", faces, {})
    assert not (scratch / "out").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("name", ["rival.txt", "rival.csv", "rival.parquet", "ids.txt"])
def test_arrays_with_ids_beside_them(tmp_path, scratch, monkeypatch, dtype, name):
    monkeypatch.setattr(outside, "_BLOCK", 6)  # two faces at a time
    np.save(tmp_path / "rival.npy", np.asfortranarray(VALUES.astype(dtype)))
    table = pd.DataFrame({"note": range(5), "face_id": IDS})
    if name.endswith(".txt"):
        (tmp_path / name).write_text("\n".join(IDS) + "\n\n")
    elif name.endswith(".csv"):
        table.to_csv(tmp_path / name, index=False)
    else:
        table.to_parquet(tmp_path / name)
    opened = open_outside(tmp_path / "rival.npy", scratch)
    assert opened.origin == {}
    write_outside(opened, scratch / "out", ["d", "a", "e"], {"encoder": "rival"})
    ids, array, meta = read_embeddings(scratch / "out")
    assert ids == ["d", "a", "e"]
    np.testing.assert_array_equal(array, VALUES.astype(dtype).astype(np.float32)[[3, 0, 4]])
    assert meta == {"encoder": "rival", "dimension": 3}


def test_a_folder_of_ours_tells_where_it_comes_from(tmp_path, scratch):
    origin = {"encoder": "fabnet", "set": "mine", "weights_sha256": "ab" * 32, "recipe_hash": "cd" * 8}
    write_embeddings(tmp_path / "e", IDS, [VALUES], 3, 5, {**origin, "more": 1})
    opened = open_outside(tmp_path / "e", scratch)
    assert (opened.ids, opened.origin) == (IDS, origin)
    (tmp_path / "e/meta.json").write_text(json.dumps({**origin, "dimension": 4}))
    assert "meta.json: says 4 dimensions, but the array beside it has 3" in refused(tmp_path / "e", scratch)
    (tmp_path / "e/meta.json").write_text(json.dumps({"weights_sha256": 7}))
    assert "meta.json: weights_sha256 is 7, not text" in refused(tmp_path / "e", scratch)
    (tmp_path / "e/meta.json").write_text("[1")
    assert "meta.json: is damaged" in refused(tmp_path / "e", scratch)


def test_the_table_of_fabnet_embed(tmp_path, scratch):
    """As `fabnet embed` writes it: images by their name, faces of a video by track and frame."""
    columns = (
        Model(Path(), "m", "fabnet", 32, 3, {}, "")
        .columns()
        .with_metadata({"model": "fabnet", "weights_sha256": "ab", "recipe": json.dumps({"hash": "cd", "fps": 1})})
    )
    rows = {
        "input": ["x.png", "talk.mp4", "talk.mp4"],
        "track": [0, 0, 1],
        "frame": [0, 4, 4],
        "time_s": [0.0] * 3,
        **{edge: [0.0] * 3 for edge in ("left", "top", "right", "bottom")},
        "embedding": VALUES[:3].astype(np.float32).tolist(),
        "recipe": ["cd"] * 3,
    }
    with open_plain_parquet(tmp_path / "faces.parquet", columns) as writer:
        writer.add(pa.table(rows, schema=columns))
    opened = open_outside(tmp_path / "faces.parquet", scratch)
    assert opened.ids == ["x.png", "talk.mp4#0#4", "talk.mp4#1#4"]
    assert opened.origin == {"encoder": "fabnet", "weights_sha256": "ab", "recipe_hash": "cd"}
    np.testing.assert_array_equal(opened.array, VALUES[:3].astype(np.float32))
    assert isinstance(opened.array, np.memmap)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"face_id": ["a", "b"], "embedding": [[1.0, 2.0], [1.0]]}, "row 1: an embedding of 1 numbers, not 2"),
        ({"face_id": ["a", "b"], "embedding": [[1.0, 2.0], None]}, "row 1: an embedding of 0 numbers, not 2"),
        ({"face_id": ["a", "b"], "embedding": [[1, 2], [3, 4]]}, "embedding is list<"),
        ({"face_id": ["a", "a"], "embedding": [[1.0], [2.0]]}, "rows 0 and 1: a comes twice"),
        ({"face_id": ["a", None], "embedding": [[1.0], [2.0]]}, "row 1: the id is empty"),
        ({"face_id": ["a", "b"], "features": [[1.0], [2.0]]}, "has no columns embedding and face_id; it has face_id"),
        ({"face_id": pa.array([], "string"), "embedding": pa.array([], pa.list_(pa.float32()))}, "has no rows"),
    ],
)
def test_tables_that_are_refused(tmp_path, scratch, rows, said):
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    told = refused(tmp_path / "t.parquet", scratch, faces=["a"])
    assert "t.parquet" in told
    assert said in told
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    assert "t.parquet: cannot be read as Parquet" in refused(tmp_path / "t.parquet", scratch)


def write_pickle(path):
    with open(path, "wb") as file:
        pickle.dump(VALUES, file)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: np.save(path, np.array([1, "a"], dtype=object)), "a pickle, which is not read"),
        (write_pickle, "a pickle, which is not read"),
        (lambda path: path.write_bytes(b""), "is damaged: No data left"),
        (lambda path: (np.save(path, VALUES), path.write_bytes(path.read_bytes()[:-8])), "is damaged"),
        (lambda path: (np.save(path, VALUES), path.write_bytes(path.read_bytes()[:20])), "is damaged"),
        (lambda path: np.save(path, VALUES[0]), "has shape (3,)"),
        (lambda path: np.save(path, VALUES[None]), "has shape (1, 5, 3)"),
        (lambda path: np.save(path, VALUES[:, :0]), "has shape (5, 0)"),
        (lambda path: np.save(path, VALUES[:0]), "has shape (0, 3)"),
        (lambda path: np.save(path, VALUES.astype(int)), "holds int64, not floating-point numbers"),
        (lambda path: np.save(path, VALUES[:4]), "has 4 rows, but"),
        (lambda path: np.save(path, np.where(np.arange(5)[:, None] == 2, np.inf, VALUES)), "row 2 (face c): holds inf"),
        (lambda path: np.save(path, np.where(np.arange(5)[:, None] == 3, 1e39, VALUES)), "row 3 (face d): holds 1e+39"),
    ],
)
def test_arrays_that_are_refused(tmp_path, scratch, write, said):
    (tmp_path / "rival.txt").write_text("\n".join(IDS))
    write(tmp_path / "rival.npy")
    told = refused(tmp_path / "rival.npy", scratch)
    assert told.startswith(f"{tmp_path / 'rival.npy'}")
    assert said in told


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rival.txt", "a\nb\n\nc\nd", "line 3: the id is empty"),
        ("rival.txt", "a\nb\nc\na\ne", "rows 1 and 4: a comes twice"),
        ("rival.csv", "face_id,x\na,1\nb\n", "line 3 has 1 fields, not 2"),
        ("rival.csv", "name,x\na,1\n", "has no column face_id or image; it has name, x"),
        ("rival.csv", "", "has no column face_id or image; it is empty"),
        ("rival.parquet", "not parquet", "cannot be read"),
        ("rival.txt", b"\xff\xfe\xff", "cannot be read"),
    ],
)
def test_ids_that_are_refused(tmp_path, scratch, name, text, said):
    np.save(tmp_path / "rival.npy", VALUES)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    told = refused(tmp_path / "rival.npy", scratch)
    assert name in told
    assert said in told


def test_rows_that_nothing_names_and_faces_without_embedding(tmp_path, scratch):
    np.save(tmp_path / "rival.npy", VALUES)
    assert "nothing names its rows; put rival.parquet, rival.csv, rival.txt beside it" in refused(
        tmp_path / "rival.npy", scratch
    )
    (tmp_path / "rival.txt").write_text("\n".join(IDS))
    said = refused(tmp_path / "rival.npy", scratch, faces=["a", "z", "y"])
    assert "rival.npy: 2 of 3 labelled faces have no embedding (first: z)" in said
    assert "absent.txt: no such file" in refused(tmp_path / "rival.npy", scratch, ids=tmp_path / "absent.txt")


def test_memory_stays_flat(tmp_path, scratch, monkeypatch):
    """40 MB of float64 on disk are copied with a few MB at a time."""
    import tracemalloc

    monkeypatch.setattr(outside, "_BLOCK", 1 << 18)
    count = 20_000
    array = np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.float64, shape=(count, 256))
    array[:, 0] = np.arange(count)
    array.flush()
    del array
    names = [str(number) for number in range(count)]
    (tmp_path / "big.txt").write_text("\n".join(names))
    opened = open_outside(tmp_path / "big.npy", scratch)
    tracemalloc.start()
    try:
        write_outside(opened, scratch / "out", names[::-1], {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15e6  # a block as float64 and float32 is 3 MB, the ids a few
    np.testing.assert_array_equal(np.load(scratch / "out/embeddings.npy", mmap_mode="r")[:, 0], np.arange(count)[::-1])


def test_origins_that_do_not_fit():
    known = {"set": "mine", "weights_sha256": "ab" * 32, "recipe_hash": "cd" * 8}
    require_set(known, "mine", "e")
    require_set({}, "mine", "e")
    with pytest.raises(UserError, match="e: embeddings of the labelled set mine, not of other"):
        require_set(known, "other", "e")
    require_weights(known, "ab" * 32, "cd" * 8, "e", "model")
    require_weights(known, "ab" * 32, None, "e", "model")
    with pytest.raises(UserError, match=r"e: its embeddings were made with weights abab.*, but model has weights efef"):
        require_weights(known, "ef" * 32, "cd" * 8, "e", "model")
    with pytest.raises(UserError, match=r"were made with crop recipe cdcd.*, but model has crop recipe efef"):
        require_weights(known, "ab" * 32, "ef" * 8, "e", "model")
    with pytest.raises(UserError, match="e: its embeddings do not say what weights they were made with"):
        require_weights({}, "ab" * 32, None, "e", "model")
    require_comparable({"a": known, "b": {}, "c": {**known, "weights_sha256": "other"}})
    with pytest.raises(UserError, match="a and c have different values of labelled set: mine and other"):
        require_comparable({"a": known, "b": {}, "c": {**known, "set": "other"}})
