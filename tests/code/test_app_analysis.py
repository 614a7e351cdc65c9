"""What the page knows of an upload, without the page."""

from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch
from app_files import write_bad, write_face
from inference_files import DIMENSION, SIZE, write_colours, write_model, write_random_heads, write_talk
from timeline_pages import data_of, unpacked

from fabnet import processes
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json, write_json
from fabnet.inference.app import faces, guard
from fabnet.inference.app.analysis import analyse, open_reader, warp
from fabnet.inference.app.pictures import of_clip
from fabnet.inference.timeline import timeline_of, timeline_page
from fabnet.model import load
from fabnet.networks.build import build, load_model
from fabnet.tables import EXPRESSIONS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    write_model(folder / "model")
    write_random_heads(folder / "heads.npz", folder / "model")
    write_face(folder / "face.jpg")
    write_talk(folder / "talk.mp4")
    return folder


@pytest.fixture(scope="module")
def reader(folder):
    return open_reader(load(folder / "model", folder / "heads.npz"))


def test_an_image_is_cropped_embedded_and_read(folder, reader):
    seen = analyse(folder / "face.jpg", reader)
    image = simplejpeg.decode_jpeg((folder / "face.jpg").read_bytes(), "RGB")
    crop = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert len(seen) == 1
    assert seen.note == ""
    assert np.abs(seen.faces.crops_NHWC[0].astype(int) - crop).mean() < 3  # a crop has been a JPEG
    np.testing.assert_array_equal(seen.faces.regions_N4, [[0, 0, 128, 128]])
    assert seen.faces.frame(0).shape == (128, 128, 3)

    network, _ = load_model(folder / "model")
    frame = torch.from_numpy(seen.faces.crops_NHWC).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        embedding = network.encoder(frame).numpy()
    np.testing.assert_allclose(seen.embeddings_ND, embedding, atol=1e-5)
    outputs = {head.task: embedding @ head.weight.T + head.bias for head in reader.model.probes.heads}
    np.testing.assert_allclose(seen.readings["pose"], outputs["pose"], atol=1e-3)
    np.testing.assert_allclose(seen.readings["units"], 1 / (1 + np.exp(-outputs["units"])), atol=1e-4)
    odds = np.exp(outputs["expression"])
    np.testing.assert_allclose(seen.readings["expression"], odds / odds.sum(), atol=1e-4)
    assert seen.readings["expression"].shape == (1, len(EXPRESSIONS))
    points = (outputs["landmarks68"].reshape(1, 68, 2) + 1) * SIZE / 2
    np.testing.assert_allclose(seen.readings["landmarks68"], points, atol=1e-3)


def test_a_clip_is_sampled_at_its_own_rate_and_its_track_is_one(folder, reader):
    seen = analyse(folder / "talk.mp4", reader)
    assert len(seen) == 15
    assert seen.tracks() == [0]
    np.testing.assert_allclose(seen.faces.times_N, np.arange(15) / 5)
    assert seen.embeddings_ND.shape == (15, DIMENSION)
    slow = write_colours(folder / "slow.mp4", frames=4, rate=2)
    np.testing.assert_allclose(analyse(slow, reader).faces.times_N, np.arange(4) / 2)


@pytest.mark.parametrize("way", ["cropped", "detect"])
def test_a_clip_has_the_timeline_of_the_command_and_a_picture_has_none(folder, reader, way):
    clip, params = folder / "talk.mp4", reader.ways[way].model_copy(update={"fps": 5.0})
    html = of_clip(reader, analyse(clip, reader, way), params, "talk.mp4")
    shown = data_of(unescape(html))
    data = data_of(timeline_page(timeline_of(clip, reader.model, params), []))
    assert [shown[key] for key in ("fps", "samples", "shots")] == [5.0, 15, []]
    assert [shown["lanes"][0][key] for key in ("tracks", "pictures")] == [
        data["lanes"][0][key] for key in ("tracks", "pictures")
    ]
    for ours, theirs, series, theirs_too in zip(
        shown["lanes"][0]["raw"], data["lanes"][0]["raw"], shown["series"], data["series"], strict=True
    ):
        step = (series["high"] - series["low"]) / 254
        np.testing.assert_allclose(unpacked(ours, series), unpacked(theirs, theirs_too), atol=step)
    names = [series["name"] for series in data["series"]]
    assert [series["name"] for series in shown["series"]] == names
    assert ("Detector's score" in names) == (way == "detect")
    assert of_clip(reader, analyse(folder / "face.jpg", reader), params, "face.jpg") == ""


def test_faces_that_are_looked_for_come_with_a_word_of_caution(folder, reader):
    seen = analyse(folder / "talk.mp4", reader, "detect")
    left, top, right, bottom = seen.faces.regions_N4.mean(axis=0)
    # The drawn face fills the right of the frame, 100 to 228 of 240 pixels.
    assert 110 < (left + right) / 2 < 218
    assert 40 < right - left < 128
    assert 20 < (top + bottom) / 2 < 148
    assert "source: cropped in the model's, detected here" in seen.note


def test_the_warp_moves_pixels_of_the_source_along_the_flow(folder, reader):
    crops = analyse(folder / "talk.mp4", reader).faces.crops_NHWC
    source, target = crops[0], crops[-1]
    made = warp(reader, source, target)
    assert made.flow_2HW.shape == (2, SIZE, SIZE)
    expected = np.empty_like(source, float)
    for y in range(SIZE):
        for x in range(SIZE):
            at = np.array([x, y]) + made.flow_2HW[:, y, x] * (SIZE - 1) / 2
            px, py = np.clip(at, 0, SIZE - 1)
            x0, y0 = min(int(px), SIZE - 2), min(int(py), SIZE - 2)
            fx, fy = px - x0, py - y0
            upper = source[y0, x0] * (1 - fx) + source[y0, x0 + 1] * fx
            lower = source[y0 + 1, x0] * (1 - fx) + source[y0 + 1, x0 + 1] * fx
            expected[y, x] = upper * (1 - fy) + lower * fy
    assert np.abs(made.generated - expected).max() <= 0.51


def test_an_autoencoder_says_that_it_cannot_warp(folder):
    directory = write_model(folder / "autoencoder")
    torch.save(build("autoencoder", SIZE, 4, DIMENSION).state_dict(), directory / "best.pt")
    changed = {"objective": "autoencoder", "weights_sha256": hash_file(directory / "best.pt")}
    write_json(directory / "model.json", read_json(directory / "model.json") | changed)
    reader = open_reader(load(directory))
    assert not reader.warps
    assert analyse(folder / "face.jpg", reader).readings == {}
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    with pytest.raises(UserError, match=r"is an autoencoder: .* cannot warp"):
        warp(reader, crop, crop)


def test_probes_of_another_model_are_refused(folder):
    write_model(folder / "other", seed=1)
    with pytest.raises(UserError, match=r"heads\.npz: the embeddings of its probes were made with weights"):
        load(folder / "other", folder / "heads.npz")


def test_bad_input_is_one_line_that_names_the_file(folder, reader, tmp_path):
    for name, expected in write_bad(tmp_path).items():
        with pytest.raises(UserError) as caught:
            analyse(tmp_path / name, reader)
        assert str(caught.value).startswith(f"{name}: ")
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
    blank = write_colours(tmp_path / "blank.mp4", frames=5)
    with pytest.raises(UserError, match=r"^blank\.mp4: no face in it: blazeface found no face"):
        analyse(blank, reader, "detect")


def test_a_file_beyond_the_limits_is_not_decoded(reader, tmp_path):
    with (tmp_path / "large.mp4").open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(UserError, match=r"large\.mp4: 67,108,865 bytes; at most 67,108,864 are taken"):
        analyse(tmp_path / "large.mp4", reader)


def test_the_page_and_its_documentation_name_the_same_limits():
    page = (Path(__file__).parents[2] / "docs/app.md").read_text()
    for words in (guard.MEGAPIXELS, guard.MEBIBYTES):
        assert words in guard.LIMITS
        assert words in page
    assert f"| a clip | {guard.MAX_SECONDS:g} s, at most {guard.FPS:g} frames per second of it; " in page
    assert f"; {guard.MAX_FACES} faces |" in page
    assert f"| work on one upload | {guard.LIMIT_S:g} s |" in page


def test_a_long_name_is_shortened_and_made_printable(tmp_path):
    assert faces.shown_name(tmp_path / ("a\nb" * 60)) == "a?b" * 13 + "a…" + "b" + "a?b" * 6


def test_an_upload_that_kills_its_decoder_is_one_line(folder, reader, monkeypatch):
    monkeypatch.setattr(processes, "run_isolated", lambda function, job, limit_s: False)
    with pytest.raises(UserError, match=r"face\.jpg: decoding it failed, or took more than 60 s"):
        analyse(folder / "face.jpg", reader)
