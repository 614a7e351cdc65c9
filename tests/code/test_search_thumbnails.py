"""How the rows of an index look on a page: frames of videos, images, frames of track shards, and what is gone."""

import base64
import re
import tarfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import pytest
import simplejpeg
from clip_files import write_clip
from commands import run_fabnet
from inference_files import write_model, write_talk
from small_shards import write_small_shards
from warping_models import drawn_face

from fabnet import tables
from fabnet.faces.face_params import params_of
from fabnet.frames.store import FrameStore
from fabnet.inference.embed import embed
from fabnet.inference.search import Thumbnails
from fabnet.model import load
from fabnet.video.decode import frames
from fabnet.video.images import still
from fabnet.video.reject import Rejected

EDGES = ("left", "top", "right", "bottom")


def rows_of(**columns):
    """fabnet.tables.IndexRows of what is told; the rest is not known."""
    count = len(next(iter(columns.values())))
    texts = {name: pd.Series([None] * count, dtype="str") for name in ("video", "track", "identity", "image")}
    rows = pd.DataFrame({**texts, **dict.fromkeys(("time_s", *EDGES), np.nan)}, index=range(count)).assign(**columns)
    return tables.check(rows[list(tables.IndexRows.to_schema().columns)], tables.IndexRows, "rows")


def pixels(jpeg):
    return simplejpeg.decode_jpeg(jpeg, colorspace="RGB").astype(int)


def test_a_row_of_a_video_shows_its_frame_at_its_time(tmp_path):
    path = write_talk(tmp_path / "talk.mp4", 3)
    shown = {frame.time_s: frame.image for frame in frames(path, 5.0)}
    times = [0.0, 0.8, 2.4]
    box = dict(zip(EDGES, (60.0, 10.0, 156.0, 106.0), strict=True))
    rows = rows_of(id=["a", "b", "c"], image=["talk.mp4"] * 3, time_s=times, **box)
    pictures = Thumbnails(rows, tmp_path, None)
    for number, time in enumerate(times):
        expected = shown[time][10:106, 60:156].astype(int)
        assert np.abs(pixels(pictures.jpeg(number)) - expected).mean() < 3
    assert np.abs(shown[0.0].astype(int) - shown[2.4]).mean() > 2  # else any frame would do


def test_frames_that_come_at_any_time_are_found_by_theirs(tmp_path):
    path = write_clip(tmp_path / "uneven.mp4", [0, 33, 67, 100, 333, 1001, 1042])
    shown = list(frames(path, 1000.0))
    assert len(shown) == 7
    for frame in shown:
        np.testing.assert_array_equal(still(path, frame.time_s), frame.image)
    np.testing.assert_array_equal(still(path, 0.9), shown[4].image)  # what is on display in between
    with pytest.raises(Rejected, match=r"shows nothing at 60\.000 s"):
        still(path, 60.0)


def test_the_tar_of_images_is_closed_again(tmp_path):
    jpeg = simplejpeg.encode_jpeg(np.full((64, 64, 3), 90, np.uint8))
    (tmp_path / "face.jpg").write_bytes(jpeg)
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        tar.add(tmp_path / "face.jpg", "face.jpg")

    def is_open() -> bool:
        return any(Path(file.path).name == "images.tar" for file in psutil.Process().open_files())

    with Thumbnails(rows_of(id=["a"], image=["face.jpg"]), tmp_path / "images.tar", None) as pictures:
        assert np.abs(pixels(pictures.jpeg(0)) - 90).max() < 5
        assert is_open()
    assert not is_open()


def test_images_shards_and_what_is_gone(tmp_path):
    folder = write_small_shards(tmp_path)
    cv2.imwrite(str(folder / "face.png"), drawn_face(0.0, 64)[..., ::-1])
    ids = ["face", "p1/v0/c/0/2", "p1/v0/c/0#3.jpg", "p1/v0/c/0/99", "gone", "cut"]
    (folder / "cut.mp4").write_bytes(write_talk(folder / "whole.mp4", 1).read_bytes()[:200])
    rows = rows_of(id=ids, image=["face.png", None, None, None, "gone.mp4", "cut.mp4"])
    pictures = Thumbnails(rows, folder, folder / "frames")
    assert np.abs(pixels(pictures.jpeg(0)) - drawn_face(0.0, 64)).mean() < 6
    store = FrameStore(folder / "frames")
    (track,) = (i for i, name in enumerate(store.tracks.names.to_pylist()) if name == "p1/v0/c/0")
    start = int(store.tracks.start[track])
    assert pictures.jpeg(1) == store.read(start + 2)
    assert pictures.jpeg(2) == store.read(start + 3)
    assert [pictures.jpeg(number) for number in (3, 4, 5)] == [b""] * 3


def test_a_page_shows_the_faces_of_an_embedded_video(tmp_path, monkeypatch, capsys):
    """From a video to the page: what `fabnet embed` noted of a frame is enough to show its face again."""
    monkeypatch.chdir(tmp_path)
    model = load(write_model(tmp_path / "models/fabnet"))
    write_talk(tmp_path / "talk.mp4", 2)
    embed(["talk.mp4"], model, tmp_path / "faces.parquet", params_of(model.recipe, model.size, workers=1, fps=5.0))
    fabnet = partial(run_fabnet, monkeypatch, capsys)
    assert fabnet("index", "build", "faces.parquet")[0] == 0
    keep = ("--same-video", "keep", "--same-track", "keep")
    code, _, err = fabnet(
        "search", "--index", "faces.index", "--query", "talk.mp4#0#3", "--k", "4", *keep, "--out", "like.html"
    )
    assert (code, err) == (0, [])
    page = (tmp_path / "like.html").read_text()
    found = [base64.b64decode(text) for text in re.findall(r"data:image/jpeg;base64,([^\"]+)", page)]
    assert len(found) == 5  # the query and its neighbours
    table = pd.read_parquet("faces.parquet").set_index("frame").loc[3]
    left, top, right, bottom = (int(table[edge]) for edge in EDGES)
    frame = {each.samples[0]: each.image for each in frames(tmp_path / "talk.mp4", 5.0)}[3]
    inside = frame[max(top, 0) : bottom, max(left, 0) : right]
    assert np.abs(cv2.resize(inside, (96, 96), interpolation=cv2.INTER_AREA) - pixels(found[0])).mean() < 15
