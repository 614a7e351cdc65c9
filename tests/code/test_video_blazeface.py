"""BlazeFace: what its outputs mean, its windows, its file, and frames of any shape."""

import hashlib
import shutil
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from scipy.io import loadmat

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of
from fabnet.video import blazeface, bundled
from fabnet.video.blazeface import (
    BlazeFaceDetector,
    Candidates,
    decode,
    roll_deg,
    roll_in,
    suppressed,
)
from fabnet.video.crop import Box, crop, square
from fabnet.video.faces import Face, Track
from fabnet.video.mesh import FaceMesh, box_of, window_of
from fabnet.video.unit import crop_of
from fabnet.video.window import Window, letterbox

STILLS = Path(__file__).parents[2] / ".." / "shared" / "aflw2000"


@pytest.fixture(scope="module")
def detector(one_opencv_thread):
    return BlazeFaceDetector(1920)


@pytest.fixture(scope="module")
def face():
    """A drawn face, (200, 200, 3)."""
    person, interview = interview_of(0, 2, 40)
    return render(person, interview(20.0), 200)


def placed(face, side, left, top, size, deg=0.0):
    """A face of a picture's side in a grey image of (width, height), turned anticlockwise."""
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    if deg:
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), deg, 1)
        small = cv2.warpAffine(small, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    image = np.full((size[1], size[0], 3), 110, np.uint8)
    image[top : top + side, left : left + side] = small
    return image


# -- outputs ------------------------------------------------------------------------------------------------------


def outputs(**anchors):
    """The network's outputs where the anchors a{number} have (logit, the 16 values)."""
    logits, values = np.full(2304, -9, np.float32), np.zeros((2304, 16), np.float32)
    for name, (logit, row) in anchors.items():
        logits[int(name[1:])], values[int(name[1:])] = logit, row
    return logits, values


def test_decoding_by_hand():
    # Anchor 50 is in row 1, column 2: its centre is at (10, 6) of 192 pixels.
    row = [2, -1, 20, 30, *range(12)]
    found = decode(*outputs(a50=(0.0, row)))
    assert found.scores.tolist() == [0.5]
    assert found.boxes[0] * 192 == pytest.approx([2, -10, 22, 20])
    assert found.points[0] * 192 == pytest.approx(np.arange(12).reshape(6, 2) + np.array([10, 6]))


def test_a_second_look_decides(detector, face, monkeypatch):
    image = placed(face, 200, 60, 60, (320, 320))
    (found,) = detector.find(image)
    first = blazeface._faces([detector._look(image, Window(0, 0, 320)), detector._look(image, Window(-160, -160, 640))])
    again = detector._upright(image, first[0])
    mean = Box(*((a + b) / 2 for a, b in zip(astuple(first[0].box), astuple(again.box), strict=True)))
    points, presence = FaceMesh().look(image, window_of(mean), again.roll_deg)
    assert presence > 0.99
    assert found.score == pytest.approx((first[0].score + again.score + presence) / 3)
    # The box lies around the points, and is about what both looks give of a frontal face.
    assert found.box == box_of(points)
    assert astuple(found.box) == pytest.approx(astuple(mean), abs=15)

    def decided(mean_score, log_odds):
        """What is found where both looks have a mean score and FaceMesh a presence."""
        weak = replace(again, score=2 * mean_score - first[0].score)
        monkeypatch.setattr(BlazeFaceDetector, "_upright", lambda *args: weak)
        monkeypatch.setattr(FaceMesh, "look", lambda *args: (points, 1 / (1 + np.exp(-log_odds))))
        return detector.find(image)

    # Mean score + log-odds / 60, of which 10 count at most, are 0.45 or more.
    assert decided(0.46, 0) != []
    assert decided(0.44, 0) == []
    assert decided(0.40, 4) != []
    assert decided(0.40, 2) == []
    assert decided(0.29, 50) != []
    assert decided(0.27, 50) == []
    assert decided(0.55, -7) == []
    (unseen,) = decided(0.62, -50)
    assert unseen.box == mean
    # What was expected is believed.
    assert detector.find(image, [first[0].box]) == [first[0]]


def test_a_second_look_is_the_same_at_any_roll(detector, face):
    image = placed(face, 200, 60, 60, (320, 320), -20)
    (found,) = blazeface._faces([detector._look(image, Window(0, 0, 320))])
    again = detector._upright(image, found)
    for edge in ("left", "top", "right", "bottom"):
        assert getattr(again.box, edge) == pytest.approx(getattr(found.box, edge), abs=15)
    assert again.roll_deg == pytest.approx(found.roll_deg, abs=8)


def test_scores_are_sigmoids_and_weak_or_empty_boxes_are_none():
    row = [0, 0, 20, 20, *[0] * 12]
    found = decode(*outputs(a0=(2.0, row), a1=(-3.0, row), a2=(500.0, row), a3=(3.0, [0, 0, -5, 20, *[0] * 12])))
    assert found.scores == pytest.approx([1 / (1 + np.exp(-2)), 1.0])


def test_suppression_averages_by_score_and_keeps_the_best_score():
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], float)
    points = np.stack([np.full((6, 2), value) for value in (0.0, 3.0, 9.0)])
    found = suppressed(Candidates(np.array([0.6, 0.9, 0.7]), boxes, points))
    assert found.scores.tolist() == [0.9, 0.7]
    # (0.9 * 2 + 0.6 * 0) / 1.5
    assert found.boxes == pytest.approx(np.array([[1.2, 0, 11.2, 10], [50, 50, 60, 60]]))
    assert found.points[0] == pytest.approx(np.full((6, 2), 1.8))
    assert len(suppressed(Candidates(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 6, 2)))).scores) == 0


def test_roll_is_positive_clockwise():
    eyes = np.zeros((6, 2))
    eyes[:2] = (0, 0), (10, 10)  # the eye at the right lies lower
    assert roll_deg(eyes) == pytest.approx(45)


# -- windows ------------------------------------------------------------------------------------------------------


def test_letterboxing_and_back():
    image = np.zeros((100, 400, 3), np.uint8)
    image[40:60, 300:340] = 255
    canvas, place = letterbox(image, Window(-50, -200, 500), 192)
    assert canvas.shape == (192, 192, 3)
    ys, xs = np.nonzero(canvas[..., 0] > 128)
    edges = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]]) / 192
    # A pixel of the input is 2.6 of the image.
    assert place.of(edges) == pytest.approx(np.array([[300, 40], [340, 60]]), abs=2.7)
    # The image's corners are where its part of the input ends, exactly.
    corners = (place.offset + np.array([[0, 0], [400, 100]]) * place.scale) / 192
    assert place.of(corners) == pytest.approx(np.array([[0, 0], [400, 100]]))


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (321, 90), (640, 360)])
def test_every_small_face_lies_in_a_tile_as_a_whole(size):
    windows = list(blazeface._windows(*size))
    rng = np.random.default_rng(0)
    for left, top in zip(rng.uniform(0, size[0] - 40, 200), rng.uniform(0, size[1] - 40, 200), strict=True):
        window = blazeface._best_window(windows, Box(left, top, left + 40, top + 40))
        assert window.side == 320


def test_small_images_are_not_enlarged():
    assert list(blazeface._windows(64, 48)) == [Window(-64, -72, 192)]


# -- faces --------------------------------------------------------------------------------------------------------


def test_a_drawn_face_wherever_it_is(detector, face):
    """The picture's face takes most of it: the box lies in the picture and holds its middle."""
    for side, left, top, size in ((200, 0, 0, (200, 200)), (90, 1500, 900, (1920, 1080)), (150, 20, 40, (300, 700))):
        (found,) = detector.find(placed(face, side, left, top, size))
        box = found.box
        assert left <= (box.left + box.right) / 2 <= left + side
        assert 0.4 * side < box.right - box.left < side
        assert abs((box.left + box.right) / 2 - left - side / 2) < 0.15 * side
        assert abs((box.top + box.bottom) / 2 - top - side / 2) < 0.25 * side


def test_the_roll_of_a_turned_face(detector, face):
    straight, turned = (detector.find(placed(face, 200, 60, 60, (320, 320), deg))[0] for deg in (0, -25))
    assert turned.roll_deg - straight.roll_deg == pytest.approx(25, abs=6)


def test_aligned_crops_are_upright(detector, face):
    straight = placed(face, 200, 60, 60, (320, 320))
    box = square(detector.find(straight)[0].box, 0.3)
    params = ExtractParams.standalone(videos="v", crop="aligned", image_size=128)
    track = Track("t", "a", "v")
    crops, turned = [], []
    for deg in (0, -20, 20):
        matrix = cv2.getRotationMatrix2D(((box.left + box.right) / 2, (box.top + box.bottom) / 2), deg, 1)
        image = cv2.warpAffine(straight, matrix, (320, 320), borderMode=cv2.BORDER_REPLICATE)
        shown = Face(track, 0, 0.0, image, box)
        crops.append(simplejpeg.decode_jpeg(crop_of(shown, params).jpeg, "RGB").astype(float))
        turned.append(crop(image, box, 128).astype(float))
    middle = np.s_[32:96, 32:96]
    for each, raw in zip(crops[1:], turned[1:], strict=True):
        assert abs(each - crops[0])[middle].mean() < 0.6 * abs(raw - turned[0])[middle].mean()
    rolls = [roll_in(straight, box), roll_in(np.zeros_like(straight), box)]
    assert rolls[0] == pytest.approx(detector.find(straight)[0].roll_deg, abs=5)
    assert rolls[1] is None


def test_a_quick_look_follows_a_small_face_that_a_glance_at_the_whole_misses(detector, face):
    image = placed(face, 64, 1000, 500, (1920, 1080))
    (thorough,) = detector.find(image)
    assert detector.find(image, thorough=False) == []
    (quick,) = detector.find(image, [thorough.box], thorough=False)
    assert quick.box.left == pytest.approx(thorough.box.left, abs=6)
    assert quick.box.right == pytest.approx(thorough.box.right, abs=6)


def test_a_face_cut_by_a_tile_is_found_once(detector, face):
    for left in (300, 420, 460):
        assert len(detector.find(placed(face, 130, left, 200, (1280, 720)))) == 1


def test_frames_without_faces_of_any_shape(detector):
    rng = np.random.default_rng(0)
    for height, width in ((8, 8), (1, 1), (1, 3000), (16_000, 40), (120, 160), (700, 900)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert detector.find(noise) == []
        assert detector.find(np.full_like(noise, 90), [Box(0, 0, 5, 5)], thorough=False) == []


def test_a_frame_of_16000_pixels(detector, face):
    image = np.full((200, 16_000, 3), 110, np.uint8)
    assert detector.find(image) == []


def yaw_deg(still):
    return np.degrees(loadmat(still.with_suffix(".mat"))["Pose_Para"][0][1])


@pytest.mark.skipif(not STILLS.is_dir(), reason="the real stills are not at hand")
def test_real_faces_small_and_in_a_gallery(detector):
    paths = [path for path in sorted(STILLS.glob("*.jpg"))[1::2] if abs(yaw_deg(path)) < 45][:25]
    stills = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    gallery = np.zeros((5 * 216, 5 * 384, 3), np.uint8)
    small = np.full((1080, 1920, 3), 100, np.uint8)
    for n, still in enumerate(stills):
        # A face takes 0.4 to 0.5 of a still: 130 and 40 pixels.
        row, column = divmod(n, 5)
        gallery[row * 216 :, column * 384 :][:216, 84:300] = cv2.resize(still[75:375, 75:375], (216, 216))
        small[row * 216 :, column * 384 :][:90, :90] = cv2.resize(still, (90, 90), interpolation=cv2.INTER_AREA)
    assert len(detector.find(gallery)) >= 24
    assert len(detector.find(small)) >= 24


# -- the file -----------------------------------------------------------------------------------------------------


def test_the_bundled_file_is_what_notice_says():
    folder = Path(bundled.__file__).parent
    content = (folder / bundled.BLAZEFACE.file).read_bytes()
    notice = (folder / "NOTICE").read_text()
    assert hashlib.sha256(content).hexdigest() == bundled.BLAZEFACE.sha256
    assert bundled.BLAZEFACE.sha256 in notice
    assert f"{len(content):,} bytes" in notice
    assert "Apache License" in (folder / "LICENSE-APACHE-2.0").read_text()


@pytest.mark.parametrize("damage", ["absent", "cut", "another"])
def test_a_damaged_file_is_one_line(damage, tmp_path, monkeypatch):
    folder = Path(bundled.__file__).parent
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "__init__.py"))
    copy = tmp_path / bundled.BLAZEFACE.file
    if damage == "cut":
        copy.write_bytes((folder / copy.name).read_bytes()[:1000])
    elif damage == "another":
        shutil.copy(folder / "NOTICE", copy)
    with pytest.raises(UserError, match=r"face_detection_full_range\.tflite: .*install fabnet again$") as error:
        BlazeFaceDetector(1920)
    assert "\n" not in str(error.value)


def test_a_network_of_another_hash_is_refused():
    with pytest.raises(UserError, match="damaged or replaced"):
        replace(bundled.BLAZEFACE, sha256="0" * 64).open()
