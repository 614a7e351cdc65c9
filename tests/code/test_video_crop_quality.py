"""What the index keeps of a crop: its face's size, what the frame cuts off, and FaceMesh's readings."""

import math
from dataclasses import fields

import numpy as np
import pytest

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.frames.shards import INDEX, INDEX_SCHEMA
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of
from fabnet.video import crop_quality
from fabnet.video.clips import Clip, ClipList
from fabnet.video.crop import Box, crop, quality
from fabnet.video.crop_quality import QUALITIES, Quality, of_face, of_pixels
from fabnet.video.faces import Face, Track
from fabnet.video.mesh import read_face
from fabnet.video.unit import CLIPS, Unit, crop_of, run_unit

pytestmark = pytest.mark.usefixtures("one_opencv_thread")

TRACK = Track("ann/v/a/0", "ann", "v")


def params(**values):
    return ExtractParams.standalone(videos="v", image_size=64, **values)


@pytest.fixture(scope="module")
def picture():
    person, interview = interview_of(0, 2, 40)
    image = np.full((240, 320, 3), 110, np.uint8)
    image[20:220, 60:260] = render(person, interview(20.0), 200)
    return image


def measured(image, box, **values):
    wanted = params(**values)
    return of_face(Face(TRACK, 0, 0.0, image, box), crop(image, box, 64), wanted)


def unknown(found):
    return {name for name, value in zip(QUALITIES, found.row(), strict=True) if math.isnan(value)}


MESH = set(QUALITIES[4:])


def test_columns_are_those_of_the_index():
    assert tuple(INDEX_SCHEMA.names[-len(QUALITIES) :]) == QUALITIES == tuple(field.name for field in fields(Quality))
    assert Quality.of_row(range(len(QUALITIES))).row() == tuple(map(float, range(len(QUALITIES))))


def test_face_and_what_is_cut_off_by_hand(picture):
    # 40 wide with a margin of a half on each side; 10 of its 40 pixels leave the frame at the left, 20 at the bottom.
    box = Box(-30, 200, 50, 280)
    found = measured(picture, box, source="boxes", boxes="v/b.csv", margin=0.5)
    assert found.face_px == 40
    assert found.cut_off == pytest.approx(1 - 30 * 20 / 40**2)
    assert (found.sharpness, found.brightness) == quality(crop(picture, box, 64))
    assert unknown(found) == MESH
    inside = measured(picture, Box(0, 0, 40, 40), source="folder", mesh="off")
    assert (inside.face_px, inside.cut_off) == (40, 0)


def test_a_crop_of_others_has_no_known_face(picture):
    assert unknown(measured(picture, Box(0, 0, 240, 240), source="cropped")) == {"face_px", "cut_off", *MESH}
    read = measured(picture, Box(40, 0, 280, 240), source="cropped", mesh="on")
    assert unknown(read) == {"face_px", "cut_off"}
    assert read.presence > 0.99


@pytest.mark.parametrize(
    ("source", "mesh", "looked"),
    [("folder", "auto", True), ("folder", "off", False), ("cropped", "auto", False), ("cropped", "on", True)],
)
def test_which_crops_the_network_sees(picture, source, mesh, looked):
    found = measured(picture, Box(80, 50, 250, 220), source=source, mesh=mesh)
    assert math.isnan(found.presence) != looked


def test_readings_are_those_of_the_face_without_margin(picture):
    face = Box(80, 50, 240, 210)
    expected = read_face(picture, face)
    found = measured(picture, Box(40, 10, 280, 250), source="folder", margin=0.25)
    assert found.presence == expected.presence
    assert found.row()[5:] == (
        expected.roll_deg,
        expected.pitch_deg,
        expected.yaw_deg,
        expected.mouth_open,
        expected.eyes_open,
    )


def test_what_is_no_face_has_a_presence_and_no_readings(picture):
    grey = np.full_like(picture, 90)
    found = measured(grey, Box(80, 50, 250, 220), source="folder")
    assert found.presence < 0.5
    assert unknown(found) == MESH - {"presence"}


def test_other_commands_measure_pixels_alone(picture):
    face = Face(TRACK, 0, 0.0, picture, Box(80, 50, 250, 220))
    assert unknown(crop_of(face, params(source="folder")).quality) == {"face_px", "cut_off", *MESH}
    assert not unknown(crop_of(face, params(source="folder"), measured=True).quality)
    shown = crop(picture, face.box, 64)
    assert of_pixels(shown).row()[:2] == quality(shown)


def test_null_in_the_index_where_nothing_was_measured(tmp_path, picture, monkeypatch):
    """Through the buffer, the unit's file and the contract; twice the same."""

    class Source:
        def frames(self, clip, tally=None):
            return iter(())

        def find(self, clip):
            grey = np.full_like(picture, 90)
            images = (picture, grey, picture[:, ::-1])
            return lambda frames: (
                Face(TRACK, n, n / 2, np.ascontiguousarray(image), Box(70, 50, 240, 220))
                for n, image in enumerate(images)
            )

    monkeypatch.setattr("fabnet.video.unit.open_source", lambda *_: Source())
    indices = []
    for number in range(2):
        state = tmp_path / str(number)
        ClipList.write([Clip(tmp_path / "ann/a.mp4", "ann/a.mp4", "ann", "v")], state / CLIPS)
        work = Unit(params(source="folder"), state, 0, 1)
        run_unit(work)
        indices.append(tables.read(work.out / INDEX, tables.Index))
    index = indices[0]
    assert index.equals(indices[1])
    assert index["yaw_deg"].isna().tolist() == [False, True, False]
    assert index["presence"].notna().all()
    assert index["face_px"].tolist() == [170, 170, 170]
    # A mirrored face turns the other way.
    assert index["yaw_deg"][0] == pytest.approx(-index["yaw_deg"][2], abs=5)
    assert index["mouth_open"][0] == pytest.approx(index["mouth_open"][2], abs=0.1)


def test_a_face_beyond_the_frame_but_for_its_margin(picture):
    """The network has nothing to look at."""
    assert unknown(measured(picture, Box(-95, 10, 5, 110), source="folder", margin=0.5)) == MESH


def test_no_network_is_opened_without_need(picture, monkeypatch):
    monkeypatch.setattr(crop_quality, "read_face", lambda *_: pytest.fail("opened"))
    measured(picture, Box(0, 0, 240, 240), source="cropped")
