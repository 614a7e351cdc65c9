"""`fabnet embed`: what becomes of bad inputs and useless tracks."""

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from clip_files import write_sound
from inference_files import write_colours, write_model

from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.inference import embed as embed_module
from fabnet.inference.embed import embed
from fabnet.model import load
from fabnet.video.crop import Box
from fabnet.video.faces import Face, Track, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Cropped


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def params(model):
    return params_of(model.recipe, model.size, workers=1)


def test_bad_inputs_among_good_ones_are_listed(model, params, tmp_path):
    good = write_colours(tmp_path / "good.mp4", 8)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "image.jpg").write_text("no image")
    (tmp_path / "empty").mkdir()
    sound = write_sound(tmp_path / "sound.mp4")
    missing = tmp_path / "missing.mp4"
    inputs = [missing, tmp_path / "text.mp4", good, tmp_path / "empty", tmp_path / "image.jpg", sound]
    done = embed(inputs, model, tmp_path / "out.parquet", params)
    assert (done.faces, done.inputs) == (2, 1)
    reasons = {Path(each.name).name: each.reason for each in done.bad}
    assert reasons["missing.mp4"] == "does not exist"
    assert reasons["empty"] == "holds no videos and no images"
    assert reasons["text.mp4"].startswith("unreadable: ")
    assert reasons["image.jpg"].startswith("unreadable: ")
    assert reasons["sound.mp4"].startswith("no_video_stream: ")
    assert len(reasons) == 5
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["good.mp4", "text.mp4", "image.jpg", "empty", "sound.mp4", "out.parquet"]
    )


def test_nothing_left_is_an_error_and_leaves_nothing(model, params, tmp_path):
    with pytest.raises(UserError, match=r"nothing to embed: .*missing: does not exist"):
        embed([tmp_path / "missing"], model, tmp_path / "out.parquet", params)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"no face in any input: .*text\.mp4: unreadable"):
        embed([tmp_path / "text.mp4"], model, tmp_path / "out.parquet", params)
    assert os.listdir(tmp_path) == ["text.mp4"]


def two_faces(monkeypatch, last):
    """Every sample shows two faces, the second by `last` at the end of the clip."""

    def find(_self, clip):
        def faces(frames):
            tracks = [Track("a", "", ""), Track("b", "", "")]
            for frame in frames:
                for number in frame.samples:
                    for track, left in zip(tracks, (0, 30), strict=True):
                        yield Face(track, number, frame.time_s, frame.image, Box(left, 2, left + 40, 42))
            yield from last(tracks[1])

        return faces

    monkeypatch.setattr(Cropped, "find", find)


def test_tracks_that_turn_out_useless_are_left_out(model, params, tmp_path, monkeypatch):
    clip = write_colours(tmp_path / "clip.mp4", 13)
    two_faces(monkeypatch, lambda track: [])
    assert embed([clip], model, tmp_path / "both.parquet", params).tracks == 2
    two_faces(monkeypatch, lambda track: [TrackEnd(track, Rejected("lost", "seldom seen"))])
    done = embed([clip], model, tmp_path / "one.parquet", params)
    both, one = (pq.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("both", "one"))
    assert (done.faces, done.tracks, done.bad) == (3, 1, [])
    assert both["track"].tolist() == [0, 1] * 3
    assert both["left"].tolist() == [0, 30] * 3
    pd.testing.assert_frame_equal(one, both[both["track"] == 0].reset_index(drop=True))


def test_a_video_that_breaks_off_gives_no_rows(model, params, tmp_path, monkeypatch):
    def broken(track):
        raise Rejected("truncated", "ends after 2.6 s")

    clips = [write_colours(tmp_path / f"{name}.mp4", 13) for name in "ab"]
    find = Cropped.find
    two_faces(monkeypatch, broken)
    with pytest.raises(UserError, match=r"a\.mp4: truncated: ends after 2\.6 s; .*b\.mp4: truncated"):
        embed(clips, model, tmp_path / "out.parquet", params)
    broken_find = Cropped.find
    monkeypatch.setattr(Cropped, "find", lambda self, clip: (broken_find if "a.mp4" in clip.name else find)(self, clip))
    done = embed(clips, model, tmp_path / "out.parquet", params)
    assert (done.faces, done.inputs, [each.reason for each in done.bad]) == (3, 1, ["truncated: ends after 2.6 s"])
    assert set(pq.read_table(tmp_path / "out.parquet")["input"].to_pylist()) == {clips[1].as_posix()}


def test_a_job_that_kills_its_process_loses_one_input(model, params, tmp_path, monkeypatch):
    """Images share a job; those beside the deadly one are embedded."""
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 40, 3), 90, np.uint8))

    def engine(function, jobs, workers):
        for number, job in enumerate(jobs):
            deadly = any(each.name.endswith("b.png") for each in job.inputs)
            if not deadly:
                function(job)
            yield number, deadly

    monkeypatch.setattr(embed_module, "open_engine", lambda name: engine)
    done = embed([tmp_path], model, tmp_path / "out.parquet", params)
    assert [Path(name).name for name in pq.read_table(tmp_path / "out.parquet")["input"].to_pylist()] == [
        "a.png",
        "c.png",
    ]
    assert [(Path(each.name).name, each.reason.partition(":")[0]) for each in done.bad] == [("b.png", "crashed")]
