"""Boxes from a table: interpolation against numpy, the table's errors, and its sorted file."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fabnet.errors import TableError
from fabnet.video import boxes
from fabnet.video.boxes import BoxFile, BoxTrack
from fabnet.video.crop import Box
from fabnet.video.reject import Rejected
from fabnet.video.sources import boxed

COLUMNS = ["clip", "time_s", "left", "top", "right", "bottom"]
GOOD = [["a/x.mp4", 0.0, 1, 2, 11, 12], ["a/x.mp4", 1.0, 3, 2, 13, 12], ["b/y.mp4", 0.5, 0, 0, 9, 9]]


def edges(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


def test_interpolation_is_linear():
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 10, 12))
    values = rng.uniform(0, 100, (12, 4))
    track = BoxTrack(np.column_stack([times, values]))
    for time in [*rng.uniform(times[0], times[-1], 50), *times]:
        expected = [np.interp(time, times, values[:, i]) for i in range(4)]
        box = track.at(float(time), 0.0)
        assert box is not None
        np.testing.assert_allclose(edges(box), expected)


def test_ends_reach_one_period():
    track = BoxTrack(np.array([[2.0, 0, 0, 4, 4], [3.0, 1, 1, 5, 5]]))
    assert track.at(1.5, 0.5) == Box(0, 0, 4, 4)
    assert track.at(3.5, 0.5) == Box(1, 1, 5, 5)
    assert track.at(1.4, 0.5) is None
    assert track.at(3.6, 0.5) is None
    assert BoxTrack(np.zeros((0, 5))).at(0, 1) is None


def write(path, rows, columns=COLUMNS):
    frame = pd.DataFrame(rows, columns=columns)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_file_groups_a_shuffled_table_by_clip_and_time(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(boxes, "_ROWS", 7)
    rng = np.random.default_rng(2)
    frame: Any = pd.DataFrame(
        {
            "clip": rng.choice(["007", "NA", "c/d.mp4", "elsewhere"], 60),
            "time_s": rng.permutation(60) / 4,
            **{name: rng.uniform(0, 50, 60) for name in ("left", "top")},
        }
    )
    frame["right"], frame["bottom"] = frame["left"] + 5, frame["top"] + 7
    table = write(tmp_path / f"boxes{suffix}", frame.sample(frac=1, random_state=0))
    clips = ["007", "NA", "absent", "c/d.mp4"]
    BoxFile.write(table, clips, tmp_path / "boxes")
    found = BoxFile(tmp_path / "boxes")
    for number, clip in enumerate(clips):
        expected = frame[frame["clip"] == clip].sort_values("time_s")
        track = found.track(number)
        assert len(track) == len(expected)
        for row in expected.itertuples():
            box = track.at(row.time_s, 0.0)
            assert box is not None
            np.testing.assert_allclose(edges(box), [row.left, row.top, row.right, row.bottom])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([row[:-1] for row in GOOD], COLUMNS[:-1], "column bottom is missing"),
        ([*GOOD, ["a/x.mp4", "soon", 1, 2, 3, 4]], COLUMNS, "time_s.*row 3.*soon"),
        ([*GOOD, ["a/x.mp4", -1.0, 1, 2, 3, 4]], COLUMNS, "time_s.*row 3"),
        ([*GOOD, ["a/x.mp4", 2.0, 5, 2, 3, 4]], COLUMNS, "box_has_area.*row 3"),
        ([*GOOD, ["a/x.mp4", 2.0, None, 2, 3, 4]], COLUMNS, "left.*row 3"),
        ([*GOOD, ["a/x.mp4", 2.0, 1, 2, np.inf, 4]], COLUMNS, "row 3 holds an infinite value"),
        ([*GOOD, ["a/x.mp4", 1.0, 1, 2, 3, 4]], COLUMNS, "a/x.mp4 has two boxes at time_s 1"),
        ([["z.mp4", 0.0, 1, 2, 3, 4]], COLUMNS, "no row names a clip"),
    ],
)
def test_bad_table_is_named(tmp_path, rows, columns, message, suffix):
    if suffix == ".parquet" and any("soon" in row for row in rows):
        rows = [[str(value) for value in row] for row in rows]
    table = write(tmp_path / f"boxes{suffix}", rows, columns)
    with pytest.raises(TableError, match=rf"boxes\{suffix}: .*{message}") as error:
        BoxFile.write(table, ["a/x.mp4", "b/y.mp4"], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["boxes.csv", "boxes.parquet"])
def test_a_table_that_is_none(tmp_path, name):
    with pytest.raises(TableError, match=r"boxes.*no such table"):
        BoxFile.write(tmp_path / name, ["a"], tmp_path / "out")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(TableError, match=r"boxes.*cannot be read"):
        BoxFile.write(tmp_path / name, ["a"], tmp_path / "out")


def test_boxed_source():
    track = BoxTrack(np.array([[0.0, 10, 10, 30, 20], [1.0, 500, 0, 520, 20]]))
    face = boxed(track, margin=0.25, reach_s=1.0)
    assert face(0.0, 64, 48) == Box(5, 0, 35, 30)
    assert face(5.0, 64, 48) is None
    with pytest.raises(Rejected) as error:
        face(1.0, 64, 48)
    assert error.value.reason == "box_outside"
    with pytest.raises(Rejected) as error:
        boxed(BoxTrack(np.zeros((0, 5))), 0.0, 1.0)
    assert error.value.reason == "no_boxes"


def test_a_box_of_many_frames_is_rejected():
    face = boxed(BoxTrack(np.array([[0.0, -1e7, -1e7, 1e7, 1e7]])), margin=0.0, reach_s=1.0)
    with pytest.raises(Rejected) as error:
        face(0.0, 64, 48)
    assert error.value.reason == "box_outside"
