"""`fabnet embed`: what is in its table, and in how little memory."""

import json
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
from inference_files import DIMENSION, SIZE, write_colours, write_model, write_random_heads, write_talk
from scipy.special import expit, softmax

from fabnet.faces.face_params import params_of
from fabnet.files import read_json
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.inference.embed import embed
from fabnet.model import load
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.tables import UNIT_COLUMNS
from fabnet.video.detectors import open_detector
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
