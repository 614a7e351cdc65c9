"""The tar format, the join of parts, and the reader, against Python's own tarfile."""

import hashlib
import io
import tarfile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from fabnet import contract, tables
from fabnet.errors import UserError
from fabnet.files import write_json
from fabnet.frames.shards import (
    INDEX_SCHEMA,
    SHARDS_SCHEMA,
    TarWriter,
    member_name,
    merge,
    run_starts,
    shard_count,
    shard_name,
    shard_number,
    shard_of,
)
from fabnet.frames.store import FrameStore
from fabnet.video.unit import LEDGER_SCHEMA, REJECTS_SCHEMA
from tests.code.travelling import sent

SIZE = 16
LONG = "p/" + "v" * 150


def picture(track: str, frame: int) -> np.ndarray:
    """A plain colour that tells frames apart through JPEG."""
    rng = np.random.default_rng([frame, *track.encode()])
    return np.full((SIZE, SIZE, 3), rng.integers(0, 256, 3), np.uint8)


def write_part(directory, lengths):
    """A part whose tracks are `lengths`, in their order, frame numbers 3, 5, 7 ..."""
    directory.mkdir()
    rows = []
    with open(directory / shard_name(0), "wb") as file:
        tar = TarWriter(file)
        for track, length in lengths.items():
            for frame in range(3, 3 + 2 * length, 2):
                jpeg = simplejpeg.encode_jpeg(picture(track, frame), quality=95)
                offset = tar.add(member_name(track, frame), jpeg)
                identity = track.split("/")[0]
                place = (frame, frame / 2, shard_name(0), offset, len(jpeg))
                rows.append((track, identity, "v", f"{track}.mp4", *place, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0, *[None] * 8))
        tar.close()
    index = pa.Table.from_pandas(pd.DataFrame(rows, columns=INDEX_SCHEMA.names), INDEX_SCHEMA).to_pandas()
    tables.write(index, directory / "index.parquet", tables.Index)
    return directory


PARTS = [
    {"b/x/0": 3, "a/y/0": 2, LONG: 4},
    {"c/é/0": 2, "a/x/0": 5, "a/x/10": 2, "a/x/2": 1},
    {"d/z/0": 2},
]
LENGTHS = {track: length for part in PARTS for track, length in part.items()}


@pytest.fixture
def parts(tmp_path):
    return [write_part(tmp_path / f"part{i}", part) for i, part in enumerate(PARTS)]


def joined(parts, out, monkeypatch, shards=1):
    out.mkdir()
    monkeypatch.setattr("fabnet.frames.shards.shard_count", lambda total, mb: shards)
    merge(parts, out, 1)
    write_json(out / "crop.json", {"size": SIZE})
    return out


def test_tar_is_what_tarfile_reads():
    contents = {"a/0.jpg": b"x" * 511, "b/1.jpg": b"y" * 512, f"{LONG}/2.jpg": b"z", "c/é.jpg": b""}
    file = io.BytesIO()
    tar = TarWriter(file)
    offsets = [tar.add(name, content) for name, content in contents.items()]
    position = tar.position
    tar.add("forgotten", b"bytes")
    tar.roll_back(position)
    tar.close()
    file.seek(0)
    with tarfile.open(fileobj=file) as read:
        members = read.getmembers()
        assert [member.name for member in members] == list(contents)
        assert [member.offset_data for member in members] == offsets
        assert [file.getvalue()[m.offset_data : m.offset_data + m.size] for m in members] == list(contents.values())
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("shards", [1, 4, 16])
def test_joined_index_against_tarfile(tmp_path, parts, monkeypatch, shards):
    out = joined(parts, tmp_path / "out", monkeypatch, shards)
    index: Any = tables.read(out / "index.parquet", tables.Index)
    assert sorted(LENGTHS) == index["track_id"].drop_duplicates().tolist()
    assert index.groupby("track_id").size().to_dict() == LENGTHS
    for number in range(shards):
        with tarfile.open(out / shard_name(number)) as tar:
            members = tar.getmembers()
            mine = index[index["shard"] == shard_name(number)]
            assert [m.name for m in members] == [member_name(r.track_id, r.frame_no) for r in mine.itertuples()]
            for member, row in zip(members, mine.itertuples(), strict=True):
                assert (member.offset_data, member.size) == (row.offset, row.size)
                assert shard_of(row.track_id, shards) == number
                raw = (out / row.shard).read_bytes()[row.offset : row.offset + row.size]
                decoded = simplejpeg.decode_jpeg(raw, "RGB")
                assert np.abs(decoded - picture(row.track_id, row.frame_no).astype(int)).max() <= 3


def test_parts_and_their_order_do_not_matter(tmp_path, parts, monkeypatch):
    one = joined(parts, tmp_path / "one", monkeypatch, 4)
    two = joined(parts[::-1], tmp_path / "two", monkeypatch, 4)
    three = joined([write_part(tmp_path / "whole", LENGTHS)], tmp_path / "three", monkeypatch, 4)
    for other in (two, three):
        assert sorted(p.name for p in other.iterdir()) == sorted(p.name for p in one.iterdir())
        for path in one.iterdir():
            assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_an_added_track_changes_one_shard(tmp_path, parts, monkeypatch):
    before = joined(parts, tmp_path / "before", monkeypatch, 8)
    more = write_part(tmp_path / "more", {"zoe/v/0": 2})
    after = joined([*parts, more], tmp_path / "after", monkeypatch, 8)
    changed = [p.name for p in before.glob("*.tar") if p.read_bytes() != (after / p.name).read_bytes()]
    assert changed == [shard_name(shard_of("zoe/v/0", 8))]


def test_a_track_in_two_parts_is_an_error(tmp_path, parts, monkeypatch):
    twin = write_part(tmp_path / "twin", {"d/z/0": 1})
    with pytest.raises(ValueError, match="several parts"):
        joined([*parts, twin], tmp_path / "out", monkeypatch)


def test_index_rows_are_written_in_groups(tmp_path, parts, monkeypatch):
    monkeypatch.setattr("fabnet.frames.shards._ROWS_PER_GROUP", 5)
    out = joined(parts, tmp_path / "out", monkeypatch)
    assert pq.read_metadata(out / "index.parquet").num_row_groups > 2
    store = FrameStore(out)
    assert store.tracks.length.tolist() == [LENGTHS[track] for track in sorted(LENGTHS)]


def test_shard_count():
    assert [shard_count(size, 1) for size in (0, 1, 10**6, 10**6 + 1, 5 * 10**6)] == [1, 1, 1, 2, 8]


def test_shards_are_evenly_filled():
    counts = np.bincount([shard_of(f"id{i}/v/{i}/0", 16) for i in range(16000)], minlength=16)
    assert abs(counts - 1000).max() < 160  # five standard deviations
    assert [shard_of("a/b/0", 32) % 16 for _ in range(2)] == [shard_of("a/b/0", 16)] * 2


def test_shard_names():
    assert shard_number(shard_name(123)) == 123


def test_run_starts():
    values = pa.chunked_array([["a", "a", "b"], ["b", "a"]])
    assert run_starts(values).tolist() == [0, 2, 4]
    assert run_starts(values.slice(0, 0)).tolist() == []


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (INDEX_SCHEMA, tables.Index),
        (SHARDS_SCHEMA, tables.Shards),
        (REJECTS_SCHEMA, tables.Rejects),
        (LEDGER_SCHEMA, tables.Ledger),
    ],
)
def test_schema_is_the_contract(schema, form):
    kinds = {"int64": "int64", "float64": "double"}
    columns = form.to_schema().columns
    expected = [(name, kinds.get(str(column.dtype), "string")) for name, column in columns.items()]
    assert [(field.name, str(field.type)) for field in schema] == expected


@pytest.mark.parametrize("shards", [1, 4, 16])
def test_shards_are_told_of_as_they_are(tmp_path, parts, monkeypatch, shards):
    out = joined(parts, tmp_path / "out", monkeypatch, shards)
    table = tables.read(out / "shards.parquet", tables.Shards)
    index = tables.read(out / "index.parquet", tables.Index)
    files = sorted(out.glob("*.tar"))
    assert table["shard"].tolist() == [path.name for path in files] == [shard_name(number) for number in range(shards)]
    assert table["bytes"].tolist() == [path.stat().st_size for path in files]
    assert table["sha256"].tolist() == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert table["frames"].tolist() == [(index["shard"] == path.name).sum() for path in files]
    for name, form in (("index", tables.Index), ("shards", tables.Shards)):
        marks = pq.read_schema(out / f"{name}.parquet").metadata
        assert marks == {contract.WRITTEN_UNDER: f"{form.__name__} {contract.version(form)}".encode()}


@pytest.fixture
def store(tmp_path, parts, monkeypatch):
    return FrameStore(joined(parts, tmp_path / "store", monkeypatch, 4))


def test_store_decodes_every_row(store):
    index = pd.read_parquet(store.directory / "index.parquet")
    rows = np.random.default_rng(0).permutation(store.frame_count)
    images = store.decode(rows)
    assert images.shape == (sum(LENGTHS.values()), SIZE, SIZE, 3)
    for image, row in zip(images, rows, strict=True):
        expected = picture(index["track_id"][row], int(index["frame_no"][row]))
        assert np.abs(image - expected.astype(int)).max() <= 3
        np.testing.assert_array_equal(simplejpeg.decode_jpeg(store.read(int(row)), "RGB"), image)
    assert store.frame_no.tolist() == index["frame_no"].tolist()
    assert store.decode([]).shape == (0, SIZE, SIZE, 3)


def test_store_tracks(store):
    tracks = store.tracks
    assert tracks.names.to_pylist() == sorted(LENGTHS)
    assert tracks.length.tolist() == [LENGTHS[name] for name in sorted(LENGTHS)]
    assert tracks.start.tolist() == [0, *np.cumsum(tracks.length)[:-1].tolist()]
    assert tracks.identities == ("a", "b", "c", "d", "p")
    owners = [tracks.identities[i] for i in tracks.identity]
    assert owners == [name.split("/")[0] for name in sorted(LENGTHS)]
    assert store.select(["p", "a", "nobody"]).tolist() == [i for i, owner in enumerate(owners) if owner in "pa"]
    assert store.select([]).tolist() == []


def test_store_reads_an_index_in_batches_that_cut_tracks(store, monkeypatch):
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda self, columns: batches(self, 2, columns=columns))
    again = FrameStore(store.directory)
    for name in ("start", "length", "identity"):
        assert getattr(again.tracks, name).tolist() == getattr(store.tracks, name).tolist()
    np.testing.assert_array_equal(again.decode([0, 9, 4]), store.decode([0, 9, 4]))


def test_store_travels_without_its_maps(store):
    expected = store.decode([1, 2])
    other = sent(store)
    assert store._maps
    assert not other._maps
    np.testing.assert_array_equal(other.decode([1, 2]), expected)


def test_store_errors(tmp_path, store):
    with pytest.raises(UserError, match=r"index\.parquet: no such file; run the stage"):
        FrameStore(tmp_path)
    store.size = 32
    with pytest.raises(UserError, match="16 x 16 pixels, not 32 x 32"):
        store.decode([0])
    (store.directory / shard_name(0)).rename(store.directory / "gone")
    fresh = FrameStore(store.directory)
    row = int(np.flatnonzero(fresh._shard == 0)[0])
    with pytest.raises(UserError, match=r"tracks-00000\.tar: no such shard"):
        fresh.read(row)
