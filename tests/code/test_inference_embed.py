"""`fabnet embed`: its table, in how little memory; bad inputs and useless tracks; resuming after an interruption."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import simplejpeg
from clip_files import write_sound
from inference_files import DIMENSION, SIZE, write_colours, write_model, write_random_heads, write_talk
from scipy.special import expit, softmax

from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.faces.found import FaceCrop
from fabnet.files import read_json
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.inference import embed as embed_module
from fabnet.inference.embed import embed, run_job
from fabnet.inference.formats import table
from fabnet.model import load
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.tables import UNIT_COLUMNS
from fabnet.video.crop import Box
from fabnet.video.detectors import open_detector
from fabnet.video.faces import Face, Track, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Cropped
from fabnet.video.tracker import Tracker


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def params(model):
    return params_of(model.recipe, model.size, workers=1)


def crops_by_hand(path, times, left, top, side):
    """The frames on display at `times`, cut, shrunk and compressed with nothing of ours."""
    with av.open(str(path)) as container:
        shown = [
            (float(frame.time), frame.to_ndarray(format="rgb24", interpolation=SAME_EVERYWHERE))
            for frame in container.decode(video=0)
        ]
    crops = []
    for time in times:
        image = [picture for at, picture in shown if at <= time + 1e-9][-1]
        cut = np.ascontiguousarray(image[top : top + side, left : left + side])
        small = cv2.resize(cut, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        jpeg = simplejpeg.encode_jpeg(small, quality=95, colorspace="RGB", colorsubsampling="444", fastdct=False)
        crops.append(simplejpeg.decode_jpeg(jpeg, "RGB"))
    return np.stack(crops)


def test_embeddings_are_those_of_crops_made_by_hand(model, params, tmp_path):
    clip = write_colours(tmp_path / "clip.mp4", 23)
    done = embed([clip], model, tmp_path / "out.parquet", params, batch_size=2)
    rows = pq.read_table(tmp_path / "out.parquet")
    assert (done.faces, done.tracks, done.inputs, done.bad) == (5, 1, 1, [])
    crops = crops_by_hand(clip, range(5), 8, 0, 64)
    (expected,) = embed_images(load_model(model.path)[0].encoder, [crops])
    embeddings = np.array(rows["embedding"].to_pylist(), np.float32)
    assert rows.schema.field("embedding").type.list_size == DIMENSION
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    assert np.ptp(embeddings, axis=0).max() > 1e-3  # frames differ
    frame = rows.drop_columns("embedding").to_pandas()
    assert frame["input"].tolist() == [clip.as_posix()] * 5
    assert frame["track"].tolist() == [0] * 5
    assert frame["frame"].tolist() == [0, 1, 2, 3, 4]
    assert frame["time_s"].tolist() == pytest.approx([0, 1, 2, 3, 4])
    assert (frame[["left", "top", "right", "bottom"]] == [8, 0, 72, 64]).all(axis=None)
    assert set(frame["recipe"]) == {model.recipe["hash"]}
    assert "score" not in frame  # nobody looked for the face


def test_the_file_says_what_it_was_made_with(model, params, tmp_path):
    clip = write_colours(tmp_path / "clip.mp4", 6)
    write_random_heads(tmp_path / "heads.npz", model.path)
    embed([clip], load(model.path, tmp_path / "heads.npz"), tmp_path / "out.parquet", params)
    about = {key.decode(): value.decode() for key, value in pq.read_schema(tmp_path / "out.parquet").metadata.items()}
    assert about["weights_sha256"] == model.weights_sha256
    assert json.loads(about["recipe"]) == model.recipe
    assert json.loads(about["heads"])["set"] == "faces"


def test_heads_read_what_their_probes_predict(model, params, tmp_path):
    probes = {p.task: p for p in write_random_heads(tmp_path / "heads.npz", model.path)}
    clip = write_colours(tmp_path / "clip.mp4", 23)
    embed([clip], load(model.path, tmp_path / "heads.npz"), tmp_path / "out.parquet", params)
    rows = pq.read_table(tmp_path / "out.parquet").to_pandas()
    embeddings = np.stack(rows["embedding"].tolist())
    # Probe.predict of classes normalises, which softmax undoes.
    mean = {task: probe.predict(embeddings, np.arange(5)).mean(axis=0) for task, probe in probes.items()}
    np.testing.assert_allclose(rows[["roll_deg", "pitch_deg", "yaw_deg"]], mean["pose"], atol=1e-5)
    np.testing.assert_allclose(rows[list(UNIT_COLUMNS)], expit(mean["units"]), atol=1e-5)
    for task, points in (("landmarks68", 68), ("landmarks5", 5)):
        # The crop is the square from (8, 0) to (72, 64).
        expected = [8, 0] + (mean[task].reshape(5, points, 2) + 1) * 32
        np.testing.assert_allclose(np.stack(rows[task].tolist()).reshape(5, points, 2), expected, atol=1e-4)
    probabilities = rows.filter(regex="^expression_")
    np.testing.assert_allclose(probabilities, softmax(mean["expression"], axis=1), atol=1e-5)
    best = probabilities.columns[probabilities.to_numpy().argmax(axis=1)].str.removeprefix("expression_")
    assert rows["expression"].tolist() == best.tolist()


def test_videos_images_and_folders_with_any_name(model, params, tmp_path):
    folder = tmp_path / "Gesichter ü 顔"
    video = write_colours(folder / "b/ein Clip.mp4", 8)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    (folder / "a").mkdir()
    (folder / "a/ein Bild.jpg").write_bytes(simplejpeg.encode_jpeg(image, quality=100, colorsubsampling="444"))
    cv2.imwrite(str(folder / "c.png"), image[..., ::-1])
    (folder / "notes.txt").write_text("passed over")
    (folder / ".hidden.mp4").write_bytes(b"")
    done = embed([folder, video], model, tmp_path / "out ü.parquet", params)
    rows = pq.read_table(tmp_path / "out ü.parquet").to_pandas()
    assert (done.faces, done.inputs, done.bad) == (4, 3, [])
    names = [f"{folder.as_posix()}/{name}" for name in ("c.png", "a/ein Bild.jpg", "b/ein Clip.mp4")]
    assert rows["input"].tolist() == [names[0], names[1], names[2], names[2]]
    # The PNG holds the image exactly, and its crop is its middle.
    crop = cv2.resize(image[:, 10:50], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    jpeg = simplejpeg.encode_jpeg(crop, quality=95, colorspace="RGB", colorsubsampling="444", fastdct=False)
    (expected,) = embed_images(load_model(model.path)[0].encoder, [simplejpeg.decode_jpeg(jpeg, "RGB")[None]])
    np.testing.assert_allclose(rows["embedding"][0], expected[0], atol=1e-5)


def test_the_table_holds_what_training_would_read(model, params, tmp_path):
    """Embeddings of a clip are those of the crops that `extract` makes of it."""
    from fabnet.frames.store import FrameStore
    from fabnet.video.extract import extract

    clip = write_colours(tmp_path / "videos/person/clip.mp4", 23)
    extract(params.model_copy(update={"videos": tmp_path / "videos"}), tmp_path / "frames", tmp_path / "work")
    store = FrameStore(tmp_path / "frames")
    (expected,) = embed_images(load_model(model.path)[0].encoder, [store.decode(range(5))])
    embed([clip], model, tmp_path / "out.parquet", params)
    rows = pq.read_table(tmp_path / "out.parquet")
    np.testing.assert_allclose(np.array(rows["embedding"].to_pylist()), expected, atol=1e-6)
    assert rows["recipe"][0].as_py() == read_json(tmp_path / "frames/crop.json")["hash"]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A clip of a face, and a model whose faces are looked for."""
    folder = tmp_path_factory.mktemp("talk")
    return write_talk(folder / "talk.mp4"), load(write_model(folder / "found", source="folder"))


def test_faces_of_a_video_have_the_score_of_the_looks_around(talk, tmp_path, monkeypatch):
    clip, found = talk
    looks, look = [], Tracker.look

    def noted(self, time_s, detections, view=None):
        looks.extend((time_s, each.score) for each in detections)
        return look(self, time_s, detections, view)

    monkeypatch.setattr(Tracker, "look", noted)
    embed([clip], found, tmp_path / "out.parquet", found.face_params(fps=5, workers=1))
    rows = pq.read_table(tmp_path / "out.parquet").to_pandas()
    times, scores = zip(*looks, strict=True)
    assert len(set(times)) == len(times) < len(rows) == 15
    assert np.ptp(scores) > 0.001
    np.testing.assert_allclose(rows["score"], np.interp(rows["time_s"], times, scores), atol=1e-6)
    assert rows["score"].between(0.5, 1).all()
    pd.testing.assert_frame_equal(found.predict(clip, found.face_params(fps=5)), rows)


def test_a_face_of_an_image_has_the_score_of_the_detector(talk, tmp_path):
    clip, found = talk
    with av.open(str(clip)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    cv2.imwrite(str(tmp_path / "face.png"), image)
    params = found.face_params(workers=1)
    (seen,) = open_detector(params.detection).find(np.ascontiguousarray(image[..., ::-1]))
    embed([tmp_path / "face.png"], found, tmp_path / "out.parquet", params)
    rows = pq.read_table(tmp_path / "out.parquet")
    assert rows["score"].to_pylist() == [pytest.approx(seen.score)]
    # A cascade's count is none.
    params = found.face_params("detect", force=True, workers=1, detection={"detector": "haar"})
    assert embed([tmp_path / "face.png", clip], found, tmp_path / "out.parquet", params).inputs == 2
    assert pq.read_schema(tmp_path / "out.parquet").names == found.columns().names


_PEAK = """
import sys
from pathlib import Path
from benchmarks._memory import peak_mb
from fabnet.inference.embed import embed
from fabnet.inference.formats import table
from fabnet.model import load
table.ROWS = 512
model = load(Path(sys.argv[1]))
for clip in sys.argv[3:]:
    done = embed([clip], model, Path(sys.argv[2]), model.face_params(fps=25, workers=1))
    print(done.faces, peak_mb())
"""


def test_memory_is_flat_in_the_length_of_a_video(model, tmp_path):
    clips = [write_colours(tmp_path / f"{frames}.mp4", frames, 25, 32, 32) for frames in (500, 6000)]
    command = [sys.executable, "-c", _PEAK, model.path, tmp_path / "out.parquet", *clips]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, cwd=Path(__file__).parents[2]
    )
    (short, before), (long, after) = (map(float, line.split()) for line in done.stdout.splitlines())
    assert (short, long) == (500, 6000)
    assert after - before < 10  # MB; the crops alone are 18


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


def count_jobs(monkeypatch, stop_after=None):
    """The inputs whose jobs run from now on; ends the run as Ctrl-C does after some."""
    done = []

    def counted(job):
        if stop_after is not None and len(done) == stop_after:
            raise KeyboardInterrupt
        run_job(job)
        done.append(job.inputs[0].name)

    monkeypatch.setattr(embed_module, "run_job", counted)
    return done


def test_strict_refuses_bad_inputs_and_keeps_what_was_done(model, params, tmp_path, monkeypatch):
    good = write_colours(tmp_path / "good.mp4", 8)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(UserError, match=r"--strict: .*missing: does not exist"):
        embed([good, tmp_path / "missing"], model, tmp_path / "out.parquet", params, strict=True)
    with pytest.raises(UserError, match=r"--strict: .*text\.mp4: unreadable"):
        embed([good, text], model, tmp_path / "out.parquet", params, strict=True)
    assert not (tmp_path / "out.parquet").exists()
    done = count_jobs(monkeypatch)
    write_colours(text, 8)
    assert embed([good, text], model, tmp_path / "out.parquet", params, strict=True).faces == 4
    assert done == [text.as_posix()]


def test_an_interrupted_run_goes_on_to_the_same_bytes(model, params, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS", 4)  # row groups of faces of several inputs
    write_random_heads(tmp_path / "heads.npz", model.path)
    clips = [write_colours(tmp_path / f"{name}.mp4", frames) for name, frames in (("c", 17), ("a", 8), ("b", 31))]
    reading = load(model.path, tmp_path / "heads.npz")
    arguments = (reading, tmp_path / "out.parquet", params)
    first = count_jobs(monkeypatch, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        embed(clips, *arguments)
    assert first == [clip.as_posix() for clip in clips[:2]]
    assert not (tmp_path / "out.parquet").exists()
    rest = count_jobs(monkeypatch)
    embed(clips, *arguments)
    assert rest == [clips[2].as_posix()]
    whole = count_jobs(monkeypatch)
    embed(clips, reading, tmp_path / "whole.parquet", params)
    assert len(whole) == 3
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "out.parquet")
    counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert counts == [4, 4, 4, 1]


def test_parts_of_another_input_model_or_option_are_not_taken_over(model, params, tmp_path, monkeypatch):
    clips = [write_colours(tmp_path / f"{name}.mp4", 8) for name in "ab"]
    out = tmp_path / "out.parquet"

    def interrupted():
        count_jobs(monkeypatch, stop_after=1)
        with pytest.raises(KeyboardInterrupt):
            embed(clips, model, out, params)
        return count_jobs(monkeypatch)

    done = interrupted()
    embed(clips, model, out, params.model_copy(update={"fps": 2.0}))
    assert len(done) == 2
    done = interrupted()
    write_colours(clips[0], 11)
    embed(clips, model, out, params)
    assert len(done) == 2
    done = interrupted()
    embed(clips, load(write_model(tmp_path / "other", seed=1)), out, params)
    assert len(done) == 2
    done = interrupted()
    embed(clips, model, out, params)
    assert len(done) == 1
    assert not (tmp_path / "out.parquet.parts").exists()


def test_parts_of_before_faces_had_a_score_are_made_again(tmp_path, monkeypatch):
    found = load(write_model(tmp_path / "found", source="folder"))
    clips, out = [write_talk(tmp_path / f"{name}.mp4", 2) for name in "ab"], tmp_path / "out.parquet"
    params = found.face_params(fps=1, workers=1)
    with monkeypatch.context() as before:
        before.setattr(embed_module, "_VERSION", 1)
        before.setattr(embed_module, "are_scored", lambda params: False)
        before.setattr(embed_module, "FaceCrop", lambda *known: FaceCrop(*known[:6]))
        count_jobs(before, stop_after=1)
        with pytest.raises(KeyboardInterrupt):
            embed(clips, found, out, params)
    (part,) = (tmp_path / "out.parquet.parts").glob("part-*.parquet")
    assert "score" not in pq.read_schema(part).names
    done = count_jobs(monkeypatch)
    assert embed(clips, found, out, params).faces == 4
    assert len(done) == 2
    assert pq.read_table(out)["score"].null_count == 0
    assert not part.parent.exists()
