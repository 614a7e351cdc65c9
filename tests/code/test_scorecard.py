"""`fabnet scorecard`: drawn people, what FaceMesh reads of them, and the page with scores of probes against it."""

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import simplejpeg
from commands import run_fabnet
from inference_files import write_colours, write_model, write_talk

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.found import find_faces
from fabnet.faces.inputs import find_input
from fabnet.files import read_json
from fabnet.inference.scorecard import encoders, face_set, make, teacher
from fabnet.inference.scorecard.face_set import FEWEST
from fabnet.inference.scorecard.teacher import Spaced, in_crop
from fabnet.probing.predictions import read_predictions
from fabnet.video.crop import Box, turned_crop
from fabnet.video.mesh import FaceReading, read_face

pytestmark = pytest.mark.usefixtures("one_opencv_thread")

ROOT = Path(__file__).parents[2]
PEOPLE = ("ann", "ben", "cat")
FAST = ("--workers", 1, "--bootstrap", 100, "--device", "cpu")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three people of two seconds each, 10 frames; a clip without a face beside those of the last one; two models."""
    folder = tmp_path_factory.mktemp("scorecard")
    for number, name in enumerate(PEOPLE):
        write_talk(folder / "videos" / name / "a.mp4", 2, number)
    write_colours(folder / "videos/cat/none.mp4", 10)
    write_model(folder / "first", 0, source="folder", margin=0.3)
    write_model(folder / "second", 1)
    return folder


@pytest.fixture
def fabnet(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    return partial(run_fabnet, monkeypatch, capsys)


@pytest.fixture
def card(fabnet, project):
    """The folder of a scorecard of the first model; made once."""
    if not (project / "card").is_dir():
        code, out, err = fabnet("scorecard", "videos", "--model", "first", "--out", "card", *FAST, "--fps", 5)
        assert code == 0, err
        (project / "said.txt").write_text("\n".join(out))
    return project / "card"


def test_what_was_seen_is_counted(card, project):
    told = read_json(card / "scorecard.json")
    counts, people = told["counts"], {each["name"]: each for each in told["people"]}
    assert (counts["people"], counts["people_scored"], counts["videos"], counts["samples"]) == (3, 3, 4, 40)
    assert (people["cat"]["videos"], people["cat"]["samples"]) == (2, 20)
    assert people["cat"]["without_face"] == 20 - people["cat"]["looked_at"] >= 10
    assert people["ann"]["without_face"] + people["ann"]["looked_at"] == people["ann"]["samples"] == 10
    labels = tables.read(card / "faces/labels.parquet", tables.Labels)
    assert labels.groupby("identity").size().to_dict() == {name: people[name]["used"] for name in PEOPLE}
    assert len(labels) == counts["looked_at"] - counts["unsure"] == counts["faces_scored"] > 20
    assert labels.groupby("identity")["split"].nunique().eq(1).all()
    said = (project / "said.txt").read_text()
    assert f"40 frames of 4 videos; no face in {counts['without_face']}; of {counts['looked_at']} faces" in said
    assert "card/scorecard.html: 3 people" in said
    assert not (project / "card/faces.parts").exists()


def test_labels_are_what_the_mesh_reads_of_the_crop_itself(card):
    """Read again from the crop, which is another picture of the same face: turned back to its pixels, they agree."""
    labelled = face_set.FaceSet(card / "faces", 256, "", 5, 40, (), ()).labelled
    table = labelled.table()
    for row in list(table.itertuples())[::12]:
        image = labelled.crop(row, 256)
        inner = 256 * (1 - 1 / 1.6) / 2  # within the margin of 0.3
        again = read_face(image, Box(inner, inner, 256 - inner, 256 - inner))
        assert np.abs(again.landmarks68 - np.reshape(row.landmarks68, (68, 2))).mean() < 3
        for angle in ("roll_deg", "pitch_deg", "yaw_deg"):
            assert getattr(again, angle) == pytest.approx(getattr(row, angle), abs=3)
        assert again.mouth_open == pytest.approx(row.mouth_open, abs=0.06)


def test_scores_are_of_probes_that_never_saw_the_person(card):
    told = read_json(card / "scorecard.json")
    assert told["protocol"] | {"faces": 0} == {"scored": "folds", "folds": 3, "repeats": 3, "identities": 3, "faces": 0}
    assert list(told["scores"]) == sorted(["constant", "first", "random", "pca", "hog"])
    assert set(told["paired"]) == {"random", "pca", "hog"}
    metrics = {"yaw_mae_deg", "pitch_mae_deg", "roll_mae_deg", "pose_mae_deg", "landmarks68_nme_pct", "mouth_mae_pct"}
    assert all(set(row) == metrics for row in told["scores"].values())
    # With a fold for each person, the constant is the mean of all others.
    labels = pd.read_parquet(card / "faces/labels.parquet")
    mean = {name: labels.loc[labels["identity"] != name, "mouth_open"].mean() for name in PEOPLE}
    expected = 100 * (labels["mouth_open"] - labels["identity"].map(mean)).abs().mean()
    assert told["scores"]["constant"]["mouth_mae_pct"]["value"] == pytest.approx(expected, rel=1e-4)
    found = read_predictions(card / "probes/predictions.parquet", "first")
    assert set(found["probe"]) == {"regularised"}
    mouths = found[found["task"] == "mouth"]
    off = (mouths["prediction"].str[0] - mouths["target"].str[0]).abs()
    assert told["scores"]["first"]["mouth_mae_pct"]["value"] == pytest.approx(100 * off.mean(), rel=1e-4)


def test_the_page_is_one_file_that_says_what_the_teacher_is(card):
    page = (card / "scorecard.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"#]+)', page)
    assert len([each for each in sources if each.startswith("data:image/")]) == 2
    assert all(each.startswith("data:") for each in sources)
    assert "Not made" not in page
    measured = read_json(ROOT / "docs/results/mesh.json")["read"]["detector's"]["all"]
    assert f"<strong>{measured['yaw']['value']:.1f}</strong> [{measured['yaw']['low']:.1f}," in page
    told = read_json(card / "scorecard.json")
    score = told["scores"]["first"]["landmarks68_nme_pct"]
    assert f"<strong>{score['value']:.1f}</strong> [{score['low']:.1f}, {score['high']:.1f}]" in page
    for said in ("of another network", "presence is below 0.5", "<code>cat</code>", "constant"):
        assert said in page


def test_a_second_model_is_embedded_alone_and_nothing_is_read_again(card, fabnet, monkeypatch):
    before = (card / "embeddings/models/first/embeddings.npy").stat().st_mtime_ns
    with monkeypatch.context() as nothing:
        for module, name in ((face_set, "read_clip"), (encoders, "embed_features")):
            nothing.setattr(module, name, lambda *_: pytest.fail("made again"))
        nothing.setattr(make, "page", lambda *_: "drawn before")  # which takes seconds
        more = ("--model", "first", "--model", "other=second")
        code, out, err = fabnet("scorecard", "videos", *more, "--out", "card", *FAST, "--fps", 5)
    assert code == 0, err
    assert (card / "embeddings/models/first/embeddings.npy").stat().st_mtime_ns == before
    assert any(re.match(r"minus first +other +", line) for line in out)
    # The second learnt from crops of whole frames.
    assert any(line.startswith("other learnt from other crops (") and "source: cropped" in line for line in err)
    ids = pq.read_table(card / "embeddings/models/other/ids.parquet")["face_id"].to_pylist()
    assert ids == pd.read_parquet(card / "faces/labels.parquet")["face_id"].tolist()


def test_encoders_of_others_see_the_same_crops(card, fabnet, project):
    code = "import numpy as np\n\ndef mean(images):\n    return images.astype(np.float32).mean(axis=(1, 2)){}\n"
    (project / "anybodys.py").write_text(code.format(""))
    (project / "broken.py").write_text(code.format("[0]"))
    arguments = ("scorecard", "videos", "--model", "first", "--out", "card", *FAST, "--fps", 5)
    shown, said, _ = fabnet(*arguments, "--encoder", "{source: 'module:anybodys:mean', image_size: 8, saw: images}")
    assert shown == 0
    assert any("mean" in line and "first" in line for line in said)
    told = read_json(card / "scorecard.json")
    assert told["encoders"]["mean"]["saw"] == "images"
    assert {"first", "mean"} <= told["scores"].keys()
    assert np.load(card / "embeddings/models/mean/embeddings.npy").shape[1] == 3
    failed, _, err = fabnet(*arguments, "--encoder", "broken=module:broken:mean")
    assert failed == 1
    assert "module:broken:mean" in err[-1]
    failed, _, err = fabnet(*arguments, "--encoder", "first=module:anybodys:mean")
    assert failed == 1
    assert "first is taken" in err[-1]


def test_a_later_model_that_fails_leaves_the_others(card, fabnet, monkeypatch, project):
    shutil.copytree(card, project / "again")
    write = encoders.SetEmbedder.write

    def failing(self, encoder, batches, dimension, meta):
        if encoder == "other":
            raise UserError("second: fails on images")
        write(self, encoder, batches, dimension, meta)

    shutil.rmtree(project / "again/embeddings")
    monkeypatch.setattr(encoders.SetEmbedder, "write", failing)
    more = ("--model", "first", "--model", "other=second", "--out", "again", "--fps", 5)
    code, _, err = fabnet("scorecard", "videos", *more, *FAST)
    assert (code, err[-1]) == (1, "error: second: fails on images")
    assert (project / "again/embeddings/models/first/embeddings.npy").is_file()
    assert not list((project / "again").glob("scorecard.*"))  # no page beside other numbers


ERRORS = {
    ("nowhere",): "nowhere: no such folder; name one of videos",
    ("empty",): "holds no clips",
    ("empty", "--by", "file"): "empty: holds no videos",
    ("one",): "videos of 1 person (ann) in one: a scorecard learns from some people",
    ("videos/ann", "--by", "file"): "videos of 1 person (a.mp4) in videos/ann: ",
    ("videos", "--model", "absent"): "absent",
    ("videos", "--model", "first"): "first: is called first, as is first; say --model NAME=first",
    ("videos", "--model", "hog=second"): "second: hog is the name of a baseline",
    ("videos", "--margin", "9"): "margin",
}


@pytest.mark.parametrize("arguments", ERRORS)
def test_wrong_input_is_told_in_a_line(arguments, fabnet, project):
    (project / "empty").mkdir(exist_ok=True)
    if not (project / "one").is_dir():
        shutil.copytree(project / "videos/ann", project / "one/ann")
    code, _, err = fabnet("scorecard", *arguments, "--model", "first", "--out", "no", *FAST)
    assert code in (1, 2)
    assert len(err) == 1
    assert ERRORS[arguments] in err[0]
    assert not (project / "no/scorecard.html").exists()


def test_without_a_face_the_counts_are_told_and_kept(fabnet, project):
    for name in ("x", "y", "z"):
        write_colours(project / "faceless" / f"{name}.mp4", 5)
    options = ("--by", "file", "--model", "first", "--out", "none", *FAST)
    for attempt in range(2):
        code, _, err = fabnet("scorecard", "faceless", *options)
        assert code == 1
        assert "none: the teacher finds no face: of 6 sampled frames of 3 videos, 6 show none" in err[-1]
        assert attempt == 0 or not any(line.startswith("teacher:") for line in err)  # was kept
    assert read_json(project / "none/faces/faces.json")["people"][0]["without_face"] == 2


def test_people_without_a_face_are_too_few_to_score(fabnet, project):
    for number, name in enumerate(PEOPLE[: FEWEST - 1]):
        shutil.copytree(project / "videos" / name, project / "few" / name)
        assert number < FEWEST
    write_colours(project / "few/zoe/none.mp4", 5)
    code, _, err = fabnet("scorecard", "few", "--model", "first", "--out", "few_card", *FAST)
    assert code == 1
    assert err[-1].startswith("error: videos of 2 people (ann, ben) with at least 2 faces (")
    assert "at least 3" in err[-1]
    assert (project / "few_card/faces/labels.parquet").is_file()


def test_a_video_that_cannot_be_read_is_named(project, tmp_path):
    params = ExtractParams.standalone(videos=".", source="folder", image_size=64, fps=1, workers=1)
    shutil.copytree(project / "videos", tmp_path / "bad")
    (tmp_path / "bad/ann/broken.mp4").write_bytes(b"no video")
    found = face_set.read_faces(face_set.find_clips(tmp_path / "bad", "folder"), params, 3, 0, tmp_path / "faces")
    assert [bad.name for bad in found.rejected] == ["ann/broken.mp4"]
    assert found.rejected[0].reason.startswith("unreadable: ")
    assert (found.people[0].videos, found.people[0].used > 0) == (2, True)


def test_faces_of_a_person_are_bounded_and_evenly_spaced(card, project):
    params = ExtractParams.standalone(videos=".", source="folder", image_size=64, fps=5, workers=1)
    clips = face_set.find_clips(project / "videos", "folder")
    few = face_set.read_faces(clips, params, 3, 0, project / "bounded")
    labels = few.labelled.table()
    assert labels.groupby("identity").size().max() == 3
    assert [person.looked_at for person in few.people] == [3] * 3
    every = pd.read_parquet(card / "faces/labels.parquet")
    assert set(labels["face_id"]) < set(every["face_id"])


def test_spaced_keeps_a_bounded_number_at_equal_distances():
    made = []
    spaced: Spaced[int] = Spaced(4)
    for sample in range(100):
        spaced.offer(sample, 1.0, lambda n=sample: made.append(n) or n)
    # Doubled whenever there are more than 8: the distance ends at 16.
    assert spaced.items() == [0, 16, 32, 48, 64, 80, 96]
    assert len(made) < 40  # most are never made


def test_spaced_takes_the_largest_of_a_sample():
    spaced: Spaced[str] = Spaced(4)
    for sample, size, name in ((2, 5.0, "b"), (0, 9.0, "a"), (2, 7.0, "c"), (0, 8.0, "d")):
        spaced.offer(sample, size, lambda name=name: name)
    assert spaced.items() == ["a", "c"]


@pytest.mark.parametrize("roll", [0.0, 30.0, -75.0])
def test_points_of_a_turned_crop_lie_where_its_pixels_do(roll):
    """A dot in the frame is found in the crop where `in_crop` says."""
    image = np.zeros((200, 300, 3), np.uint8)
    dot, box = (170, 80), Box(90, 40, 210, 160)
    cv2.circle(image, dot, 3, (255, 255, 255), -1)
    crop = turned_crop(image, box, 60, roll)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    seen = columns.mean() + 0.5, rows.mean() + 0.5
    points = np.tile((dot[0] + 0.5, dot[1] + 0.5, 0.0), (468, 1))
    told = in_crop(FaceReading(points, 1.0, 0, 0, 0, 0, 0), box, roll, 60)
    assert told[0] == pytest.approx(seen, abs=0.6)


def test_an_aligned_crop_is_labelled_as_it_is_turned(card, project):
    """A face in a frame that is turned by 20 degrees: the mesh reads of the upright crop what the labels say of it."""
    params = ExtractParams.standalone(videos=".", source="folder", image_size=128, margin=0.3, crop="aligned", fps=1)
    clip = find_input(project / "videos/ann/a.mp4", "a clip")
    _, face = next(iter(find_faces(clip, params)))
    height, width = face.image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -20, 1)
    image = cv2.warpAffine(face.image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    x, y = (face.box.left + face.box.right) / 2, (face.box.top + face.box.bottom) / 2
    half = (face.box.right - face.box.left) // 2
    x, y = (turn @ (x, y, 1)).round()
    leaning = replace(face, image=image, box=Box(x - half, y - half, x + half, y + half))
    row = teacher.face_row(leaning, params)
    crop = simplejpeg.decode_jpeg(row["jpeg"])
    inner = 128 * (1 - 1 / 1.6) / 2
    again = read_face(crop, Box(inner, inner, 128 - inner, 128 - inner))
    assert again.roll_deg == pytest.approx(row["roll_deg"], abs=4)
    assert np.abs(again.landmarks68 - np.reshape(row["landmarks68"], (68, 2))).mean() < 2.5
    plain = teacher.face_row(leaning, params.model_copy(update={"crop": "upright"}))
    assert plain["roll_deg"] > row["roll_deg"] + 10
