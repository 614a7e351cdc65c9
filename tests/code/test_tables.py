from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fabnet import tables
from fabnet.errors import TableError


def index() -> pd.DataFrame:
    """Two tracks of two identities, three frames each."""
    rows = [
        {
            "track_id": f"id{person}/v/c/0",
            "identity": f"id{person}",
            "video": "v",
            "clip": f"id{person}/v/c.mp4",
            "frame_no": frame,
            "time_s": float(frame),
            "shard": "tracks-00000.tar",
            "offset": 512 * (3 * person + frame),
            "size": 100,
            "left": 0.0,
            "top": 0.0,
            "right": 64.0,
            "bottom": 64.0,
            "sharpness": 10.0,
            "brightness": 128.0,
        }
        for person in range(2)
        for frame in range(3)
    ]
    return pd.DataFrame(rows)


def labels() -> pd.DataFrame:
    """A face of each split, with every label."""
    count = len(tables.SPLITS)
    points = np.arange(136, dtype=float)
    frame = pd.DataFrame({"face_id": [f"f{i}" for i in range(count)], "identity": [f"p{i}" for i in range(count)]})
    frame["split"] = list(tables.SPLITS)
    frame["image"] = frame["face_id"] + ".jpg"
    for column, value in {"left": 0.0, "top": 0.0, "right": 64.0, "bottom": 64.0}.items():
        frame[column] = value
    frame["landmarks68"] = pd.Series([points] * count, dtype=object)
    frame["landmarks5"] = pd.Series([points[:10]] * count, dtype=object)
    for column in tables.ANGLE_COLUMNS:
        frame[column] = 12.5
    frame["expression"] = "happy"
    for column in tables.UNIT_COLUMNS:
        frame[column] = 0.5
    return frame


def splits() -> pd.DataFrame:
    return pd.DataFrame({"identity": ["a", "b", "c"], "split": list(tables.SPLITS)})


def predictions() -> pd.DataFrame:
    row = {"encoder": "fabnet", "probe": "torch", "task": "pose", "seed": 0, "identity": "p", "target": [1.0, 2.0, 3.0]}
    return pd.DataFrame([row | {"face_id": face, "prediction": [1.5, 2.5, 3.5]} for face in ("f0", "f1")])


def history() -> pd.DataFrame:
    row = {"step": 1, "samples": 32, "loss": 0.5, "learning_rate": 0.002}
    return pd.DataFrame([row | {"split": split} for split in ("train", "validation")])


def rejects() -> pd.DataFrame:
    return pd.DataFrame({"clip": ["a.mp4"], "track_id": [""], "reason": ["truncated"], "detail": [""]})


def ledger() -> pd.DataFrame:
    counts = {"unit": [0, 3], "clips": [3, 2], "tracks": [4, 0], "frames": [9, 0], "rejected_clips": [0, 2]}
    others = {
        "rejected_tracks": [1, 0],
        "boxes_clamped": [7, 0],
        "samples_damaged": [2, 0],
        "files_ignored": [1, 0],
        "clips_crowded": [0, 1],
    }
    return pd.DataFrame(counts | others | {"bytes": [1000, 0]})


def shards() -> pd.DataFrame:
    rows = {"shard": ["tracks-00000.tar", "tracks-00001.tar"], "frames": [9, 0], "bytes": [20480, 1024]}
    return pd.DataFrame(rows | {"sha256": ["0" * 64, "f" * 64]})


def curriculum() -> pd.DataFrame:
    row = {"samples": 1600, "window": 1, "low": 10, "high": 60, "threshold": 0.4, "kept": 800, "loss": 0.3}
    return pd.DataFrame([{"step": step} | row for step in (50, 100)])


LEGAL = {
    tables.Curriculum: curriculum,
    tables.Index: index,
    tables.Ledger: ledger,
    tables.Labels: labels,
    tables.Shards: shards,
    tables.Splits: splits,
    tables.Predictions: predictions,
    tables.History: history,
    tables.Rejects: rejects,
}


@pytest.mark.parametrize("contract", LEGAL, ids=lambda contract: contract.__name__)
def test_legal_table_round_trips(tmp_path: Path, contract: type[tables.Table]):
    frame = LEGAL[contract]()
    tables.write(frame, tmp_path / "t.parquet", contract)
    back = tables.read(tmp_path / "t.parquet", contract)
    pd.testing.assert_frame_equal(back, frame, check_column_type=False)


@pytest.mark.parametrize("contract", [*LEGAL, tables.EmbeddingIds], ids=lambda contract: contract.__name__)
def test_empty_table_is_legal(tmp_path: Path, contract: type[tables.Table]):
    frame = contract.empty_frame()
    tables.write(frame, tmp_path / "t.parquet", contract)
    assert list(tables.read(tmp_path / "t.parquet", contract).columns) == list(frame.columns)


@pytest.mark.parametrize("contract", LEGAL, ids=lambda contract: contract.__name__)
def test_missing_and_unknown_columns_are_named(contract: type[tables.Table]):
    frame = LEGAL[contract]()
    first = frame.columns[0]
    with pytest.raises(TableError, match=rf"^here: .*column {first} is missing"):
        tables.check(frame.drop(columns=first), contract, "here")
    with pytest.raises(TableError, match="column misspelt is unknown"):
        tables.check(frame.assign(misspelt=1), contract, "here")


BROKEN: list[tuple[Any, str, int, Any, str]] = [
    # contract, column, row, illegal value, what the message must say
    (tables.Index, "track_id", 1, "a b", "track_id: breaks str_matches"),
    (tables.Index, "shard", 1, "shard.tar", "shard: breaks str_matches"),
    (tables.Index, "size", 1, 0, "size: breaks greater_than(0)"),
    (tables.Index, "time_s", 1, -0.5, "time_s: breaks greater_than_or_equal_to(0)"),
    (tables.Index, "time_s", 1, float("nan"), "time_s: breaks not_nullable"),
    (tables.Index, "brightness", 1, 256.0, "brightness: breaks less_than_or_equal_to(255)"),
    (tables.Index, "right", 1, 0.0, "box_has_area"),
    (tables.Index, "identity", 1, "id9", "one_identity_per_track"),
    (tables.Index, "frame_no", 1, 0, "frames_of_a_track_contiguous_and_increasing"),
    (tables.Index, "frame_no", 1, 9, "frames_of_a_track_contiguous_and_increasing"),
    (tables.Splits, "split", 1, "dev", "split: breaks isin"),
    (tables.Splits, "identity", 1, "a", "identity: breaks field_uniqueness"),
    (tables.Rejects, "reason", 0, "ugly", "reason: breaks isin"),
    (tables.Labels, "yaw_deg", 1, 181.0, "yaw_deg: breaks less_than_or_equal_to(180)"),
    (tables.Labels, "au12", 1, 1.5, "au12: breaks less_than_or_equal_to(1)"),
    (tables.Labels, "expression", 1, "smug", "expression: breaks isin"),
    (tables.Labels, "landmarks68", 1, np.zeros(10), "landmarks68: breaks 68_points"),
    (tables.Labels, "landmarks5", 1, np.full(10, np.nan), "landmarks5: breaks 5_points"),
    (tables.Labels, "identity", 1, "p0", "one_split_per_identity"),
    (tables.Predictions, "task", 1, "age", "task: breaks isin"),
    (tables.Predictions, "face_id", 1, "f0", "unique"),
    (tables.History, "loss", 1, float("nan"), "loss: breaks not_nullable"),
    (tables.History, "loss", 1, float("inf"), "loss: breaks less_than(inf)"),
]


@pytest.mark.parametrize(
    ("contract", "column", "row", "value", "says"),
    BROKEN,
    ids=[f"{contract.__name__}-{column}-{says.split()[-1]}" for contract, column, _, _, says in BROKEN],
)
def test_illegal_value_is_refused_with_its_column_and_rule(
    tmp_path: Path, contract: type[tables.Table], column: str, row: int, value: Any, says: str
):
    frame = LEGAL[contract]()
    frame.at[row, column] = value
    path = tmp_path / "t.parquet"
    with pytest.raises(TableError) as caught:
        tables.write(frame, path, contract)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message
    assert not path.exists()


def test_track_that_is_taken_up_again_is_refused():
    frame = index().iloc[[0, 1, 3, 4, 5, 2]].reset_index(drop=True)
    with pytest.raises(TableError, match="contiguous"):
        tables.check(frame, tables.Index, "here")


def test_message_stays_short_however_many_rows_are_bad():
    frame = pd.concat([splits()] * 20_000, ignore_index=True)
    frame["split"] = "x" * 1000
    with pytest.raises(TableError) as caught:
        tables.check(frame, tables.Splits, "here")
    assert "60000 time(s)" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_boxes_are_read_from_csv_with_extra_columns(tmp_path: Path):
    path = tmp_path / "boxes.csv"
    path.write_text("clip,time_s,left,top,right,bottom,score\na.mp4,0,1,2,30,40,0.9\n")
    frame = tables.read(path, tables.Boxes)
    assert frame[["time_s", "left", "bottom"]].iloc[0].tolist() == [0.0, 1.0, 40.0]
    path.write_text("clip,time_s,left,top,right\na.mp4,0,1,2,30\n")
    with pytest.raises(TableError, match="column bottom is missing"):
        tables.read(path, tables.Boxes)
    path.write_text("clip,time_s,left,top,right,bottom\na.mp4,0,wide,2,30,40\n")
    with pytest.raises(TableError, match="left"):
        tables.read(path, tables.Boxes)


def test_file_that_is_no_table(tmp_path: Path):
    with pytest.raises(TableError, match="no such table"):
        tables.read(tmp_path / "absent.parquet", tables.Splits)
    path = tmp_path / "t.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(TableError, match=r"t\.parquet: cannot be read as a table"):
        tables.read(path, tables.Splits)
