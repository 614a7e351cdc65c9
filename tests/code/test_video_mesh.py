"""FaceMesh: its outputs, what they tell of pose and openings, turned pictures, real faces, its files."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat
from scipy.spatial.transform import Rotation

from fabnet.errors import UserError
from fabnet.figures.face import head_axes
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of
from fabnet.video import bundled
from fabnet.video.crop import Box
from fabnet.video.mesh import LANDMARKS_68, FaceMesh, around, eye_opening, head_pose, mouth_opening, read_face
from fabnet.video.window import Window

pytestmark = pytest.mark.usefixtures("one_opencv_thread")

STILLS = Path(__file__).parents[2] / ".." / "shared" / "aflw2000"
SIDE = 320


def drawn(side):
    person, interview = interview_of(0, 2, 40)
    return render(person, interview(20.0), side)


@pytest.fixture(scope="module")
def picture():
    """A drawn face of 200 pixels in a grey picture, and about where a detector sees it."""
    image = np.full((SIDE, SIDE, 3), 110, np.uint8)
    image[60:260, 60:260] = drawn(200)
    return image, Box(82, 97, 252, 267)


def canonical():
    return bundled.CANONICAL_FACE.load().astype(float)


def seen(angles_deg):
    """The canonical face turned by roll, pitch and yaw, in the axes of an image."""
    return canonical() @ head_axes(angles_deg) * (1, -1, -1)


# -- the network --------------------------------------------------------------------------------------------------


def test_outputs_are_those_of_another_runtime():
    """Of a drawn face that fills the input, as LiteRT 2 (ai-edge-litert) gives them."""
    points, presence = FaceMesh().look(drawn(192), Window(0, 0, 192), 0.0)
    expected = [
        (107.866, 123.086, -27.495),
        (61.274, 83.776, 6.099),
        (103.917, 172.757, 1.679),
        (145.284, 83.161, 14.257),
        (125.324, 145.832, 0.020),
    ]
    assert points[[1, 33, 152, 263, 291]] == pytest.approx(np.array(expected), abs=0.02)
    assert presence == pytest.approx(1 / (1 + np.exp(-18.5346)), abs=1e-6)


def test_points_of_a_turned_picture_are_the_turned_points(picture):
    image, box = picture
    straight = read_face(image, box)
    for deg in (-20, 20):
        matrix = cv2.getRotationMatrix2D((SIDE / 2 - 0.5, SIDE / 2 - 0.5), deg, 1)
        turned = read_face(cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), box)
        # Pixel centres are whole numbers for OpenCV.
        places = (straight.points[:, :2] - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        apart = np.linalg.norm(turned.points[:, :2] - places, axis=1)
        assert apart.mean() < 2
        assert apart.max() < 6
        assert turned.roll_deg == pytest.approx(straight.roll_deg - deg, abs=3)
        assert min(turned.presence, straight.presence) > 0.99


def test_a_larger_picture_has_larger_points(picture):
    image, box = picture
    wide = cv2.resize(image, (3 * SIDE, 3 * SIDE), interpolation=cv2.INTER_CUBIC)
    one, three = (
        read_face(image, box),
        read_face(wide, Box(3 * box.left, 3 * box.top, 3 * box.right, 3 * box.bottom)),
    )
    assert np.linalg.norm(three.points / 3 - one.points, axis=1).mean() < 1.5
    assert three.yaw_deg == pytest.approx(one.yaw_deg, abs=3)


def test_a_rough_box_is_corrected(picture):
    image, box = picture
    off = Box(box.left - 25, box.top + 20, box.right + 5, box.bottom + 50)
    apart = read_face(image, off).points[:, :2] - read_face(image, box).points[:, :2]
    assert np.linalg.norm(apart, axis=1).mean() < 5


# -- what points tell ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (20, 0, 0), (0, 15, 0), (0, 0, -40), (-12, 25, 63), (5, -30, -80)])
def test_the_pose_of_the_canonical_face(angles_deg):
    """Turned as `fabnet.figures.face` draws a head of that pose; then made larger, moved and cut in two halves."""
    assert head_pose(seen(angles_deg)) == pytest.approx(angles_deg, abs=1e-6)
    assert head_pose(31 * seen(angles_deg) + (900, 50, -7)) == pytest.approx(angles_deg, abs=1e-6)


def test_a_wider_opened_mouth_turns_no_head():
    points = seen((0, 0, 30))
    points[[14, 17, 152, 84, 314]] += (0, 1.0, 0)
    assert head_pose(points) == pytest.approx((0, 0, 30), abs=1.5)


def test_openings_by_hand():
    points = np.zeros((468, 3))
    points[78], points[308], points[13], points[14] = (0, 0, 0), (3, 0, 4), (1, 2, 0), (1, 3, 0)
    assert mouth_opening(points) == pytest.approx(1 / 5)
    # One eye 10 wide and 2 and 3 high, the other one 20 wide and 5 and 5 high.
    points[33], points[133] = (0, 0, 0), (10, 0, 0)
    points[160], points[144], points[158], points[153] = (2, 1, 0), (2, 3, 0), (7, 0, 0), (7, 3, 0)
    points[362], points[263] = (0, 0, 0), (20, 0, 0)
    points[385], points[380], points[387], points[373] = (5, 0, 0), (5, 5, 0), (15, 0, 0), (15, 5, 0)
    assert eye_opening(points) == pytest.approx(np.mean([0.2, 0.3, 0.25, 0.25]))
    assert (mouth_opening(np.zeros((468, 3))), eye_opening(np.zeros((468, 3)))) == (0, 0)


def test_the_68_points_are_mirrored_as_the_scheme_is():
    """Left and right points of the scheme are left and right of the canonical face, at the same height."""
    mirrored = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    mirrored += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    mirrored += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    points = canonical()[LANDMARKS_68]
    assert len(set(LANDMARKS_68.tolist())) == 68
    assert points[mirrored] * (-1, 1, 1) == pytest.approx(points, abs=0.05)
    x, y = points[:, 0], points[:, 1]
    assert (np.diff(x[:17])[3:13] > 0).all()  # the jaw from the image's left to its right
    assert y[8] == y[:17].min()
    assert (np.diff(y[27:31]) < 0).all()  # the nose from its root down


def test_the_window_of_turned_points_lies_around_them():
    points = 10 * seen((25, 0, 0)) + (200, 300, 0)
    window, roll = around(points)
    assert roll == pytest.approx(25, abs=0.5)
    flat = canonical()[:, :2]
    side = 10 * (flat.max(axis=0) - flat.min(axis=0)).max()
    assert window.side == pytest.approx(1.5 * side)
    middle = window.left + window.side / 2, window.top + window.side / 2
    x, y = (flat.max(axis=0) + flat.min(axis=0)) / 2
    turn = Rotation.from_euler("z", -25, degrees=True).apply([x, y, 0])
    assert middle == pytest.approx((200 + 10 * turn[0], 300 - 10 * turn[1]), abs=1)


# -- inputs of any kind -------------------------------------------------------------------------------------------


def test_pictures_without_a_face_have_no_presence():
    rng = np.random.default_rng(0)
    for height, width in ((8, 8), (1, 1), (120, 160), (200, 16_000)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for image in (noise, np.full_like(noise, 90)):
            reading = read_face(image, Box(0, 0, width, height))
            assert reading.presence < 0.5
            assert np.isfinite(reading.points).all()


@pytest.mark.parametrize("box", [Box(400, 0, 500, 100), Box(-50, 0, 0, 50), Box(10, 10, 10, 40), Box(30, 10, 20, 40)])
def test_a_box_beyond_the_picture_or_without_area_is_refused(picture, box):
    with pytest.raises(ValueError, match="is no part of an image of 320 x 320 pixels"):
        read_face(picture[0], box)


@pytest.mark.skipif(not STILLS.is_dir(), reason="the real stills are not at hand")
def test_real_faces():
    """Landmarks and pose of the first 24 stills with a yaw below 60 degrees; studies/mesh.py tells of all."""
    errors, turns = [], []
    for path in sorted(STILLS.glob("*.jpg"))[::2]:
        labels = loadmat(path.with_suffix(".mat"))
        places = labels["pt3d_68"][:2].T
        pitch, yaw, roll = np.degrees(labels["Pose_Para"][0][:3])
        if abs(yaw) >= 60 or len(errors) == 24:
            continue
        low, high = places.min(axis=0), places.max(axis=0)
        reading = read_face(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), Box(*low, *high))
        errors.append(np.linalg.norm(reading.landmarks68 - places, axis=1).mean() / np.sqrt(np.prod(high - low)))
        # The labels' rotation is Rx Ry Rz of pitch, yaw and roll.
        truth = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True)
        ours = Rotation.from_euler("ZYX", [-reading.roll_deg, reading.yaw_deg, -reading.pitch_deg], degrees=True)
        turns.append(np.degrees((truth.inv() * ours).magnitude()))
    assert np.mean(errors) < 0.05
    assert np.median(turns) < 8


# -- the files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [bundled.FACE_MESH, bundled.CANONICAL_FACE])
def test_the_bundled_files_are_what_notice_says(known):
    folder = Path(bundled.__file__).parent
    content = (folder / known.file).read_bytes()
    notice = (folder / "NOTICE").read_text()
    assert hashlib.sha256(content).hexdigest() == known.sha256
    assert known.sha256 in notice
    assert f"{len(content):,} bytes" in notice


@pytest.mark.parametrize("damage", ["absent", "cut", "another"])
@pytest.mark.parametrize("name", ["face_landmark.tflite", "canonical_face.npy"])
def test_a_damaged_file_is_one_line(name, damage, tmp_path, monkeypatch):
    folder = Path(bundled.__file__).parent
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "__init__.py"))
    if damage == "cut":
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:1000])
    elif damage == "another":
        shutil.copy(folder / "NOTICE", tmp_path / name)
    open_it = FaceMesh if name == bundled.FACE_MESH.file else bundled.CANONICAL_FACE.load
    with pytest.raises(UserError, match=rf"{name}: .*install fabnet again$") as error:
        open_it()
    assert "\n" not in str(error.value)


def test_an_array_of_another_hash_is_refused():
    with pytest.raises(UserError, match="damaged or replaced"):
        replace(bundled.CANONICAL_FACE, sha256="0" * 64).load()
