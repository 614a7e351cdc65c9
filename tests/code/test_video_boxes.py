"""Boxes of a track: interpolation against numpy, gaps, units, what leaves the frame; and the file of a table."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fabnet.errors import TableError
from fabnet.video import boxes
from fabnet.video.boxes import BoxFile, BoxTrack, Place, Reference, split_at_gaps
from fabnet.video.crop import Box
from fabnet.video.faces import Track
from fabnet.video.reject import Rejected

COLUMNS = ["clip", "time_s", "left", "top", "right", "bottom"]
GOOD = [["a/x.mp4", 0.0, 1, 2, 11, 12], ["a/x.mp4", 1.0, 3, 2, 13, 12], ["b/y.mp4", 0.5, 0, 0, 9, 9]]
TRACK = Track("ann/v/0", "ann", "v")
PIXELS, FRACTIONS = Reference(), Reference(1, 1)


def edges(box: Box | None) -> list[float]:
    assert box is not None
    return [box.left, box.top, box.right, box.bottom]


def track(rows, reach_s=0.0, reference=PIXELS, place=None) -> BoxTrack:
    return BoxTrack(TRACK, np.array(rows, dtype=np.float64), reach_s, reference, place)


def test_interpolation_is_linear():
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 10, 12))
    values = np.sort(rng.uniform(0, 100, (12, 4)), axis=1)
    boxes = track(np.column_stack([times, values]))
    for time in [*rng.uniform(times[0], times[-1], 50), *times]:
        expected = [np.interp(time, times, values[:, i]) for i in range(4)]
        np.testing.assert_allclose(edges(boxes.at(float(time), 100, 100)), expected)


def test_ends_reach_as_far_as_they_are_told():
    boxes = track([[2.0, 0, 0, 4, 4], [3.0, 1, 1, 5, 5]], reach_s=0.5)
    assert boxes.at(1.5, 9, 9) == Box(0, 0, 4, 4)
    assert boxes.at(3.5, 9, 9) == Box(1, 1, 5, 5)
    assert boxes.at(1.4, 9, 9) is None
    assert boxes.at(3.6, 9, 9) is None
    assert track([[2.0, 0, 0, 4, 4]], reach_s=0.5).at(2.4, 9, 9) == Box(0, 0, 4, 4)


def test_a_long_gap_begins_another_track():
    rng = np.random.default_rng(3)
    for _ in range(50):
        times = np.cumsum(rng.choice([0.04, 0.5, 1.0, 1.1, 7.0], 12))
        rows = np.column_stack([times, np.tile([0, 0, 4, 4], (12, 1))])
        parts = split_at_gaps(rows, lambda number: Track(str(number), "a", "v"), 1.0, 0.7, PIXELS, Place("a.txt", 8))
        assert [part.track.id for part in parts] == [str(number) for number in range(len(parts))]
        assert len(parts) == 1 + int((np.diff(times) > 1.0001).sum())
        assert sum(len(part) for part in parts) == len(rows)
        for one, other in pairwise(parts):
            assert one.end_s < other.start_s
        for time in np.linspace(0, times[-1] + 1, 200):
            assert sum(part.at(float(time), 9, 9) is not None for part in parts) <= 1


def test_line_of_a_box_after_a_gap():
    rows = np.array([[0.0, 0, 0, 4, 4], [9.0, 0, 0, 4, 4], [9.1, 70, 0, 74, 4]])
    _, second = split_at_gaps(rows, lambda number: TRACK, 1.0, 0.0, PIXELS, Place("txt/a.txt", 8))
    with pytest.raises(Rejected, match=r"txt/a\.txt line 10: \(70, 0, 74, 4\) at 9\.10 s in a frame of 64 x 48"):
        second.count_clamped(64, 48)


@pytest.mark.parametrize("reference", [PIXELS, FRACTIONS, Reference(height=24), Reference(128, 96)])
def test_boxes_are_cut_back_to_the_frame_and_counted(reference):
    """In every unit, against clipping in pixels."""
    rng = np.random.default_rng(4)
    corner, size = rng.uniform(-20, 40, (30, 2)), rng.uniform(21, 50, (30, 2))
    pixels = np.column_stack([corner, corner + size])
    clipped = np.clip(pixels, 0, [64, 48, 64, 48])
    across, down = reference.scale(64, 48)
    times = np.arange(30) / 4
    boxes = track(np.column_stack([times, pixels / [across, down, across, down]]), reference=reference)
    assert boxes.count_clamped(64, 48) == int((np.abs(clipped - pixels).max(axis=1) > 1e-6).sum()) > 0
    for time, expected in zip(times, clipped, strict=True):
        np.testing.assert_allclose(edges(boxes.at(time, 64, 48)), expected, atol=1e-9)


def test_rounded_fractions_that_sum_to_one_leave_no_frame():
    rows = [[0.0, 0.319, 0.1, 0.319 + 0.681, 0.9], [1.0, 0.7, 0.3, 0.7 + 0.3, 0.3 + 0.7000000000000001]]
    assert track(rows, reference=FRACTIONS).count_clamped(1920, 1080) == 0


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ([0.0, 64, 10, 80, 20], PIXELS),
        ([0.0, -9, 10, 0, 20], PIXELS),
        ([0.0, 10, 48, 20, 60], PIXELS),
        ([0.0, 10, -5, 20, -1], PIXELS),
        ([0.0, 1.0, 0.1, 1.2, 0.3], FRACTIONS),
        ([0.0, 10, 360, 20, 380], Reference(height=360)),
        ([0.0, -1e7, -1e7, 1e7, 1e7], PIXELS),
        ([0.0, 10, 10, 20, 20], Reference(640, 360)),  # of another shape
    ],
)
def test_boxes_outside_are_rejected(row, reference):
    boxes = track([[-1.0, *row[1:]], row], reference=reference)
    for look in (lambda: boxes.count_clamped(64, 48), lambda: boxes.at(0.0, 64, 48)):
        with pytest.raises(Rejected) as error:
            look()
        assert error.value.reason == "box_outside"


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
            "clip": rng.choice(["007", "NA", "c/d.mp4", "é l/ß.mp4"], 60),
            "time_s": rng.permutation(60) / 4,
            **{name: rng.uniform(0, 50, 60) for name in ("left", "top")},
        }
    )
    frame["right"], frame["bottom"] = frame["left"] + 5, frame["top"] + 7
    table = write(tmp_path / f"boxes{suffix}", frame.sample(frac=1, random_state=0))
    BoxFile.write(table, tmp_path / "boxes")
    found = BoxFile(tmp_path / "boxes")
    for clip in ("007", "NA", "absent", "c/d.mp4", "é l/ß.mp4"):
        expected = frame[frame["clip"] == clip].sort_values("time_s")
        np.testing.assert_allclose(found.rows(clip), expected[COLUMNS[1:]].to_numpy())
        assert (clip in found) == (clip != "absent")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([row[:-1] for row in GOOD], COLUMNS[:-1], "column bottom is missing"),
        ([[*row, 1] for row in GOOD], [*COLUMNS, "score"], "column score is unknown"),
        ([*GOOD, ["a/x.mp4", "soon", 1, 2, 3, 4]], COLUMNS, "time_s.*ROW 3.*soon"),
        ([*GOOD, ["a/x.mp4", -1.0, 1, 2, 3, 4]], COLUMNS, "time_s.*ROW 3"),
        ([*GOOD, ["a/x.mp4", 2.0, 5, 2, 3, 4]], COLUMNS, "box_has_area.*ROW 3"),
        ([*GOOD, ["a/x.mp4", 2.0, None, 2, 3, 4]], COLUMNS, "left.*ROW 3"),
        ([*GOOD, ["a/x.mp4", 2.0, 1, 2, np.inf, 4]], COLUMNS, "ROW 3"),
        ([*GOOD, ["a/x.mp4", np.inf, 1, 2, 3, 4]], COLUMNS, "infinite time_s.*ROW 3"),
        ([*GOOD, ["a/x.mp4", 1.0, 1, 2, 3, 4]], COLUMNS, "ROWS 1 and 3: clip a/x.mp4 has two boxes at time_s 1"),
        ([], COLUMNS, "holds no boxes"),
    ],
)
def test_bad_table_is_named(tmp_path, rows, columns, message, suffix):
    """Rows of a Parquet table are counted from 0; those of a CSV are its lines."""
    if suffix == ".parquet" and any("soon" in row for row in rows):
        rows = [[str(value) for value in row] for row in rows]
    if suffix == ".csv":
        message = message.replace("ROW 3", "line 5").replace("ROWS 1 and 3", "lines 3 and 5")
    message = message.replace("ROW", "row").replace("rowS", "rows")
    table = write(tmp_path / f"boxes{suffix}", rows, columns)
    with pytest.raises(TableError, match=rf"boxes\{suffix}: .*{message}") as error:
        BoxFile.write(table, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line", [2, 3])
def test_row_with_too_many_values(tmp_path, line):
    rows = ["clip,time_s,left,top,right,bottom", "a.mp4,0,1,1,2,2", "a.mp4,1,1,1,2,2"]
    rows[line - 1] += ",7"
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    with pytest.raises(TableError, match=rf"boxes\.csv: .*line {line}"):
        BoxFile.write(tmp_path / "boxes.csv", tmp_path / "out")


@pytest.mark.parametrize("name", ["boxes.csv", "boxes.parquet"])
def test_a_table_that_is_none(tmp_path, name):
    with pytest.raises(TableError, match=r"boxes.*no such table"):
        BoxFile.write(tmp_path / name, tmp_path / "out")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(TableError, match=r"boxes.*cannot be read"):
        BoxFile.write(tmp_path / name, tmp_path / "out")
