"""Detectors: what they make of what OpenCV says, the check of a model file, and where shots end."""

import hashlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from whole_sections import detection_params

from fabnet.errors import ConfigError
from fabnet.video import yunet
from fabnet.video.blazeface import BlazeFaceDetector
from fabnet.video.crop import Box
from fabnet.video.detect import Detection, merged
from fabnet.video.detect_and_track import ShotCuts
from fabnet.video.detectors import open_detector
from fabnet.video.haar import HaarDetector
from fabnet.video.yunet import YuNetDetector
from tests.code.yunet_file import write_yunet

IMAGE = np.zeros((200, 400, 3), np.uint8)


class Cascade:
    """Finds the same rectangles (left, top, side, neighbours) in every image."""

    def __init__(self, *rectangles):
        self.rectangles, self.shapes = list(rectangles), []

    def detectMultiScale2(self, grey, **options):
        self.shapes.append(grey.shape)
        return [(x, y, side, side) for x, y, side, _ in self.rectangles], [score for *_, score in self.rectangles]


def haar(frontal, profile, longest_side=400):
    detector = HaarDetector(longest_side)
    detector._frontal, detector._profile = frontal, profile
    return detector


def test_haar_draws_no_face_where_there_is_none():
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert HaarDetector(320).find(noise) == []
    assert HaarDetector(320).find(np.full((1, 1, 3), 7, np.uint8)) == []


def test_haar_scales_back_to_the_image():
    frontal = Cascade((10, 20, 30, 5.0))
    (face,) = haar(frontal, Cascade(), longest_side=100).find(IMAGE)
    assert frontal.shapes == [(50, 100)]
    assert face == Detection(Box(40, 80, 160, 200), 5.0)


def test_haar_never_enlarges():
    frontal = Cascade((10, 20, 30, 5.0))
    (face,) = haar(frontal, Cascade(), longest_side=4096).find(IMAGE)
    assert frontal.shapes == [(200, 400)]
    assert face.box == Box(10, 20, 40, 50)


def test_profiles_are_searched_only_for_what_no_frontal_face_explains():
    profile = Cascade((300, 20, 40, 9.0))
    detector = haar(Cascade((10, 20, 60, 5.0)), profile)
    assert len(detector.find(IMAGE)) == 1
    assert len(detector.find(IMAGE, [Box(12, 20, 70, 80)])) == 1
    assert profile.shapes == []
    # One in the image, one in the mirrored image.
    found = detector.find(IMAGE, [Box(12, 20, 70, 80), Box(290, 10, 340, 60)])
    assert [face.score for face in found] == [9.0, 9.0, 5.0]
    assert len(haar(Cascade(), profile).find(IMAGE)) == 2


def test_mirrored_profiles_are_mirror_images():
    left, right = sorted(haar(Cascade(), Cascade((300, 20, 40, 9.0))).find(IMAGE), key=lambda face: face.box.left)
    assert (left.box.left, left.box.right) == pytest.approx((400 - right.box.right, 400 - right.box.left))
    assert (left.box.top, left.box.bottom) == (right.box.top, right.box.bottom)
    # The frontal box of the same face is a little smaller, to the left of the profile's and lower.
    x, y, side = (right.box.left + right.box.right) / 2, (right.box.top + right.box.bottom) / 2, 40 / 1.06
    assert (x, y) == pytest.approx((320 - 0.147 * 40, 40 + 0.031 * 40))
    assert right.box.right - right.box.left == pytest.approx(side)


def test_an_eye_with_more_neighbours_is_not_preferred_to_its_face():
    face, eye, other = (100, 50, 100, 7.0), (120, 60, 40, 11.0), (300, 50, 40, 3.0)
    found = haar(Cascade(eye, face, other), Cascade()).find(IMAGE)
    assert [face.box for face in found] == [Box(100, 50, 200, 150), Box(300, 50, 340, 90)]


def test_merging_keeps_the_first_of_each_face():
    a, b, c = (Detection(Box(left, 0, left + 10, 10), 1.0) for left in (0, 4, 6))
    assert merged([a, b, c]) == [a, c]
    assert merged([b, a, c]) == [b]
    assert merged([]) == []


@pytest.mark.parametrize(("name", "kind"), [("haar", HaarDetector), ("blazeface", BlazeFaceDetector)])
def test_a_detector_is_opened_once(name, kind):
    params = detection_params(detector=name)
    assert open_detector(params) is open_detector(detection_params(detector=name))
    assert isinstance(open_detector(params), kind)


def test_each_detector_shrinks_frames_to_a_size_of_its_own():
    sides = {name: detection_params(detector=name).looked_at_side for name in ("blazeface", "haar")}
    assert sides == {"blazeface": 1920, "haar": 320}
    assert detection_params(longest_side=640).looked_at_side == 640


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"no network")
    return path


def yunet_params(model, sha256=None):
    sha256 = sha256 or hashlib.sha256(model.read_bytes()).hexdigest()
    return detection_params(detector="yunet", model=model, sha256=sha256, longest_side=100)


class Net:
    """What cv2.FaceDetectorYN is for YuNetDetector."""

    def __init__(self, rows):
        self.rows, self.size, self.images = rows, None, []

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape[:2] == (self.size[1], self.size[0])
        self.images.append(image)
        return 1, self.rows


def test_yunet_reads_rows_of_the_shrunken_bgr_image(model, monkeypatch):
    rows = np.zeros((2, 15), np.float32)
    rows[0, [0, 1, 2, 3, 14]] = 10, 20, 5, 8, 0.91
    rows[1, [0, 1, 2, 3, 14]] = -2, 0, 30, 40, 0.97
    net, made = Net(rows), []
    create = SimpleNamespace(create=lambda *args: made.append(args) or net)
    monkeypatch.setattr(yunet.cv2, "FaceDetectorYN", create)
    detector = YuNetDetector(100, model, hashlib.sha256(b"no network").hexdigest())
    assert made == [(str(model), "", (100, 100), 0.9, 0.3, 5000)]
    image = IMAGE.copy()
    image[:] = 1, 2, 3
    faces = detector.find(image)
    assert [face.box for face in faces] == [Box(-8, 0, 112, 160), Box(40, 80, 60, 112)]
    assert [face.score for face in faces] == pytest.approx([0.97, 0.91])
    assert net.images[0].shape == (50, 100, 3)
    assert net.images[0][0, 0].tolist() == [3, 2, 1]
    net.rows = None
    assert detector.find(image) == []


def test_yunet_through_opencv(tmp_path):
    """OpenCV's own detector on a file of YuNet's form, at a size that is no multiple of its strides, and shrunken."""
    file = write_yunet(tmp_path / "cells.onnx")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    params = detection_params(detector="yunet", model=file, sha256=sha256, longest_side=150)
    for factor in (1, 2):
        image = np.zeros((100 * factor, 150 * factor, 3), np.uint8)
        image[64 * factor : 96 * factor, 32 * factor : 64 * factor] = 255
        (face,) = open_detector(params).find(image)
        assert face.box == Box(32 * factor, 64 * factor, 64 * factor, 96 * factor)
        assert face.score == pytest.approx(1)
        assert open_detector(params).find(np.zeros_like(image)) == []


def test_yunet_refuses_another_file(model):
    with pytest.raises(ConfigError) as error:
        open_detector(yunet_params(model, "0" * 64))
    assert str(model) in str(error.value)
    assert "0" * 64 in str(error.value)
    assert hashlib.sha256(b"no network").hexdigest() in str(error.value)


def test_yunet_refuses_what_is_no_model(model):
    with pytest.raises(ConfigError, match=r"yunet\.onnx: not a model of YuNet") as error:
        open_detector(yunet_params(model))
    assert "\n" not in str(error.value)


def test_yunet_without_its_file(tmp_path):
    with pytest.raises(ConfigError, match=r"extract\.detection\.model: .*absent\.onnx: no such file"):
        open_detector(yunet_params(tmp_path / "absent.onnx", "0" * 64))


# -- shots --------------------------------------------------------------------------------------------------------


def scene(seed, size=(90, 120)):
    """A blurred coloured pattern."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def cuts(*images):
    shots = ShotCuts()
    return [shots.is_cut(image) for image in images]


def test_other_scenes_are_cuts():
    images = [scene(seed) for seed in range(8)]
    assert cuts(*images) == [False] + [True] * 7


def test_one_scene_is_no_cut():
    image = scene(0)
    rng = np.random.default_rng(1)
    noisy = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    panned = np.roll(image, 6, axis=1)
    flash = np.clip(image * 1.4, 0, 255).astype(np.uint8)
    dark = (image * 0.5).astype(np.uint8)
    assert not any(cuts(image, noisy, panned, image, flash, dark, image))


def test_a_change_of_size_within_a_shot_is_none():
    assert not any(cuts(scene(3), cv2.resize(scene(3), (64, 48), interpolation=cv2.INTER_AREA)))


def test_black_frames_cut_once_each_way():
    black = np.zeros((90, 120, 3), np.uint8)
    assert cuts(scene(0), black, black, scene(0)) == [False, True, False, True]
    assert cuts(black, black, black) == [False] * 3
