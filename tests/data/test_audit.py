"""Every rule between the tables of the data stages is one that can be broken, and is then named."""

import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import simplejpeg

from fabnet import contract, tables
from fabnet.errors import TableError
from fabnet.frames.shards import TarWriter, member_name, merge, shard_name
from fabnet.quality import streaming
from fabnet.quality.frame_audit import audit_frames
from fabnet.quality.set_audit import audit_set

PEOPLE = {"ann": "train", "bob": "validation", "cy": "test"}


@pytest.fixture
def frames(tmp_path):
    part, out = tmp_path / "part", tmp_path / "frames"
    part.mkdir()
    out.mkdir()
    jpeg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    rows = []
    with open(part / shard_name(0), "wb") as file:
        tar = TarWriter(file)
        for track in ("ann/v/c/0", "ann/w/c/0", "bob/v/c/0", "cy/v/c/0"):
            person, video, _, _ = track.split("/")
            for frame in range(3):
                offset = tar.add(member_name(track, frame), jpeg)
                place = (frame, float(frame), shard_name(0), offset, len(jpeg), 0.0, 0.0, 8.0, 8.0, 1.0, 1.0)
                rows.append((track, person, video, f"{person}/{video}/c.mp4", *place))
        tar.close()
    columns = list(tables.Index.to_schema().columns)
    known = pd.DataFrame(rows, columns=columns[: len(rows[0])])  # all others may be unknown
    tables.write(known.reindex(columns=columns), part / "index.parquet", tables.Index)
    merge([part], out, 1)
    rejects = [("bob/x.mp4", "", "truncated", "ends early"), ("bob/v/c.mp4", "bob/v/c/1", "too_small", "12 pixels")]
    rejects = pd.DataFrame(rejects, columns=["clip", "track_id", "reason", "detail"])
    tables.write(rejects, out / "rejects.parquet", tables.Rejects)
    size = [6 * len(jpeg), 6 * len(jpeg)]
    counts = {"unit": [0, 3], "clips": [3, 2], "tracks": [2, 2], "frames": [6, 6], "rejected_clips": [1, 0]}
    counts |= {"rejected_tracks": [1, 0], "boxes_clamped": [2, 5], "samples_damaged": [0, 4], "files_ignored": [3, 0]}
    ledger = pd.DataFrame(counts | {"clips_crowded": [1, 1], "clips_swapped": [0, 1], "bytes": size})
    tables.write(ledger, out / "ledger.parquet", tables.Ledger)
    return out


@pytest.fixture
def splits(tmp_path):
    path = tmp_path / "splits.parquet"
    tables.write(pd.DataFrame({"identity": PEOPLE.keys(), "split": PEOPLE.values()}), path, tables.Splits)
    return path


def faces(people):
    count = len(people)
    box = {"left": np.zeros(count), "top": np.zeros(count), "right": np.ones(count), "bottom": np.ones(count)}
    names = [f"f{i}" for i in range(count)]
    split = (["train", "validation", "test"] * count)[:count]
    return pd.DataFrame({"face_id": names, "identity": people, "split": split, "image": names, **box})


@pytest.mark.parametrize("rows", [1, 2, 5, 1000])
def test_counts(frames, splits, monkeypatch, rows):
    monkeypatch.setattr(streaming, "_ROWS", rows)
    assert audit_frames(frames, splits) == {
        "index": {
            "rows": 12,
            "tracks": 4,
            "clips": 4,
            "identities": 3,
            "shards": 1,
            "bytes": int(pd.read_parquet(frames / "index.parquet")["size"].sum()),
            "frames_by_split": {"test": 3, "train": 6, "validation": 3},
            "tracks_by_split": {"test": 1, "train": 2, "validation": 1},
        },
        "rejects": {"rows": 2, "reasons": {"too_small": 1, "truncated": 1}},
        "ledger": {
            "units": 2,
            "clips": 5,
            "rejected_clips": 1,
            "rejected_tracks": 1,
            "boxes_clamped": 7,
            "samples_damaged": 4,
            "files_ignored": 3,
            "clips_crowded": 2,
            "clips_swapped": 1,
        },
        "shards": {"rows": 1, "bytes": (frames / shard_name(0)).stat().st_size},
        "splits": {"rows": 3, "identities": {"test": 1, "train": 1, "validation": 1}},
    }


def test_counts_of_a_set(splits):
    assert audit_set("faces", faces(["x", "y", "z"]), splits) == {
        "faces": 3,
        "faces_by_split": {"test": 1, "train": 1, "validation": 1},
        "identities_by_split": {"test": 1, "train": 1, "validation": 1},
    }


def broken(frames, splits):
    with pytest.raises(TableError) as error:
        audit_frames(frames, splits)
    assert "\n" not in str(error.value)
    return str(error.value)


def rewrite(frames, change):
    index = pd.read_parquet(frames / "index.parquet")
    change(index).to_parquet(frames / "index.parquet", index=False)


@pytest.mark.parametrize("rows", [2, 1000])
@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("size", 4, 0, "size.*row 4"),
        ("frame_no", 4, 0, "frames_of_a_track.*row 4|track_id.*row.*4"),
        ("identity", 4, "bob", "one_identity_per_track"),
        ("right", 4, -1.0, "box_has_area.*row 4"),
        ("shard", 4, "tracks-00007.tar", "row 4: its shard .*tracks-00007.tar does not exist"),
        ("offset", 4, 9, "row 4: no JPEG at bytes 9 to"),
        ("offset", 4, 10**9, "row 4: no JPEG at bytes 1000000000 to"),
        ("size", 4, 100, "row 4: no JPEG at bytes"),
        ("track_id", 11, "ann/a/c/0", "row 11: track ann/a/c/0 is out of order"),
    ],
)
def test_broken_index(frames, splits, monkeypatch, rows, column, row, value, message):
    monkeypatch.setattr(streaming, "_ROWS", rows)

    def change(index):
        index.loc[row, column] = value
        if column == "track_id":
            index.loc[row, "identity"] = "ann"
        return index

    rewrite(frames, change)
    assert pd.Series([broken(frames, splits)]).str.contains(message, regex=True).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("frames", 5, "column frames: sums to 11, but index.parquet holds 12"),
        ("tracks", 3, "column tracks: sums to 5, but index.parquet holds 4"),
        ("bytes", 0, "column bytes: sums to .*, but index.parquet holds"),
        ("rejected_clips", 0, "column rejected_clips: sums to 0, but rejects.parquet holds 1"),
        ("rejected_tracks", 2, "column rejected_tracks: sums to 2, but rejects.parquet holds 1"),
        ("rejected_clips", 4, "no_more_rejected_clips_than_clips"),
        ("clips", 4, "units_in_order_without_gaps"),
        ("boxes_clamped", -1, "boxes_clamped"),
        ("unit", 1, "units_in_order_without_gaps"),
    ],
)
def test_broken_ledger(frames, splits, column, value, message):
    ledger = pd.read_parquet(frames / "ledger.parquet")
    ledger.loc[0, column] = value
    ledger.to_parquet(frames / "ledger.parquet", index=False)
    assert pd.Series([broken(frames, splits)]).str.contains(message, regex=True).all()


def test_ledger_that_begins_late(frames, splits):
    ledger = pd.read_parquet(frames / "ledger.parquet")
    ledger["unit"] += 7
    ledger.to_parquet(frames / "ledger.parquet", index=False)
    assert "its first unit begins at clip 7, not at 0" in broken(frames, splits)


def test_index_without_rows(frames, splits):
    rewrite(frames, lambda index: index.iloc[:0])
    assert "holds no rows" in broken(frames, splits)


def test_overwritten_jpeg(frames, splits):
    offset = int(pd.read_parquet(frames / "index.parquet")["offset"][7])
    with open(frames / shard_name(0), "r+b") as file:
        file.seek(offset + 2)
        file.write(b"\0")
    assert "row 7: no JPEG" in broken(frames, splits)


def test_cut_shard(frames, splits):
    path = frames / shard_name(0)
    path.write_bytes(path.read_bytes()[:5000])
    assert "no JPEG at bytes" in broken(frames, splits)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "sha256",
            "0" * 64,
            "column sha256: 1 of 1 shards: tracks-00000.tar holds other bytes than were written; bring",
        ),
        ("bytes", 5, "column bytes: 1 of 1 shards: tracks-00000.tar has [0-9]+, not 5"),
        ("frames", 5, "column frames: 1 of 1 shards: tracks-00000.tar holds 5, index.parquet names 12"),
        (
            "shard",
            "tracks-00001.tar",
            "column shard: 1 of 1 shards: tracks-00000.tar is not there, but in index.parquet",
        ),
    ],
)
def test_shards_that_are_not_as_written(frames, splits, column, value, message):
    shards = pd.read_parquet(frames / "shards.parquet")
    shards.loc[0, column] = value
    shards.to_parquet(frames / "shards.parquet", index=False)
    assert re.search(message, broken(frames, splits))


def test_every_bit_of_a_shard_counts(frames, splits):
    """Those of headers and of padding, too, which no other rule looks at."""
    path = frames / shard_name(0)
    good = path.read_bytes()
    for place in range(0, len(good), 1171):
        bad = bytearray(good)
        bad[place] ^= 1
        path.write_bytes(bad)
        assert "no JPEG" in (message := broken(frames, splits)) or "column sha256" in message
    path.write_bytes(good)
    audit_frames(frames, splits)


def test_cases_of_shards_are_few(frames, splits):
    shards = pd.read_parquet(frames / "shards.parquet")
    more = [shards.assign(shard=shard_name(number), frames=0) for number in range(1, 40)]
    tables.write(pd.concat([shards, *more], ignore_index=True), frames / "shards.parquet", tables.Shards)
    assert "column shard: 39 of 40 shards: tracks-00001.tar does not exist" in (message := broken(frames, splits))
    assert message.count("does not exist") == 5


@pytest.mark.parametrize("name", ["index", "rejects", "ledger", "shards"])
def test_tables_of_a_later_version(frames, splits, name):
    path = frames / f"{name}.parquet"
    table = pq.read_table(path)
    later = f"{name.title()} 99".encode()
    pq.write_table(table.replace_schema_metadata({contract.WRITTEN_UNDER: later}), path)
    assert re.search(f"{name}.parquet: was written under version 99 of {name.title()}", broken(frames, splits))


@pytest.mark.parametrize("name", ["index", "rejects", "ledger", "shards"])
@pytest.mark.parametrize("kept", [0, 7, 0.5, -9])
def test_partial_tables(frames, splits, name, kept):
    path = frames / f"{name}.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    assert f"{name}.parquet: cannot be read as a table" in broken(frames, splits)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({"ann": "train", "bob": "test"}, "identity cy of .*index.parquet has no split"),
        (PEOPLE | {"dee": "test"}, "identity dee is not in .*index.parquet"),
    ],
)
def test_splits_of_other_identities(frames, splits, people, message):
    pd.DataFrame({"identity": people.keys(), "split": people.values()}).to_parquet(splits, index=False)
    assert pd.Series([broken(frames, splits)]).str.contains(message, regex=True).all()


def test_identity_in_two_splits(frames, splits):
    pd.DataFrame({"identity": ["ann", "ann"], "split": ["train", "test"]}).to_parquet(splits, index=False)
    assert "identity" in broken(frames, splits)


def test_labelled_identity_in_the_videos(splits):
    labels = faces(["x", "bob"])
    with pytest.raises(TableError, match="labelled set faces: identity bob also appears in the videos"):
        audit_set("faces", labels, splits)
    assert audit_set("faces", labels, None)["faces"] == 2


def test_illegal_labels(splits):
    with pytest.raises(TableError, match="labelled set faces: column split is missing"):
        audit_set("faces", faces(["x"]).drop(columns="split"), splits)
