"""Clips of one's own with a table of boxes, from the table to the faces."""

from pathlib import Path

import pandas as pd
import pytest

from fabnet.config import ExtractParams
from fabnet.errors import TableError
from fabnet.video.clips import Clip
from fabnet.video.crop import Box
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.open import open_source
from tests.code.clip_files import write_clip
from tests.code.travelling import sent

COLUMNS = ["clip", "time_s", "left", "top", "right", "bottom"]


def prepared(videos: Path, rows: list[tuple], **params):
    pd.DataFrame(rows, columns=COLUMNS).to_csv(videos / "boxes.csv", index=False)
    state = videos.parent / "state"
    tracking = {"max_gap_s": 1.5}
    options = {"fps": 4, "margin": 0.25, "tracking": tracking} | params
    source = open_source(
        ExtractParams.standalone(videos=videos, source="boxes", boxes=videos / "boxes.csv", **options), state
    )
    clips = {clip.name: clip for clip in source.list_clips()}
    source.prepare(state)
    source.prepare(state)
    return sent(source), clips


@pytest.fixture
def videos(tmp_path):
    for name in ("ann/a.mp4", "bob/b.mp4"):
        write_clip(tmp_path / "videos" / name, [250 * number for number in range(24)])
    return tmp_path / "videos"


def items_of(source, clip: Clip) -> list[Face | TrackEnd]:
    return list(source.find(clip)(source.frames(clip)))


def test_boxes_are_interpolated_squared_and_end_at_gaps(videos):
    rows = [
        ("ann/a.mp4", 1.0, 10, 10, 30, 20),
        ("ann/a.mp4", 2.0, 14, 10, 34, 20),
        ("ann/a.mp4", 4.0, 20, 20, 30, 30),
        ("elsewhere.mp4", 4.0, 20, 20, 30, 30),
    ]
    source, clips = prepared(videos, rows)
    items = items_of(source, clips["ann/a.mp4"])
    faces = [(face.track.id, face.number, face.box) for face in items if isinstance(face, Face)]
    # One sample, 0.25 s, beyond the ends. The middle moves 4 px in 1 s; 20 px become 20 * 1.5 = 30 px.
    lefts = [5, 5, 6, 7, 8, 9, 9]
    first = [("ann/a/a/0", number, Box(left, 0, left + 30, 30)) for number, left in enumerate(lefts, start=3)]
    second = [("ann/a/a/1", number, Box(18, 18, 33, 33)) for number in (15, 16, 17)]
    assert faces == first + second
    ends = [(end.track.id, end.rejected, end.clamped) for end in items if isinstance(end, TrackEnd)]
    assert ends == [("ann/a/a/0", None, 0), ("ann/a/a/1", None, 0)]


def test_clip_without_boxes(videos):
    source, clips = prepared(videos, [("ann/a.mp4", 1.0, 10, 10, 30, 20)])
    with pytest.raises(Rejected) as error:
        items_of(source, clips["bob/b.mp4"])
    assert error.value.reason == "no_boxes"
    assert list(source.inputs()) == [videos / "boxes.csv"]


def test_box_outside(videos):
    source, clips = prepared(videos, [("ann/a.mp4", 1.0, 500, 0, 520, 20)])
    (end,) = items_of(source, clips["ann/a.mp4"])
    assert isinstance(end, TrackEnd)
    assert end.rejected is not None
    assert end.rejected.reason == "box_outside"
    assert end.rejected.detail == "(500, 0, 520, 20) at 1.00 s in a frame of 64 x 48"


def test_table_about_other_clips(videos):
    with pytest.raises(TableError, match=r"boxes\.csv: column clip: no row names a clip of .*, such as bob/b\.mp4"):
        prepared(videos, [("z.mp4", 1.0, 10, 10, 30, 20)])


def test_missing_table(videos):
    params = ExtractParams.standalone(videos=videos, source="boxes", boxes=videos / "boxes.csv")
    with pytest.raises(TableError, match=r"boxes\.csv: no such table"):
        open_source(params, videos.parent).prepare(videos.parent)
