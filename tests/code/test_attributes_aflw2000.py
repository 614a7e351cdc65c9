"""AFLW2000-3D: parsing, sign conventions measured on its own landmarks, and damaged files."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import simplejpeg

from fabnet.attributes.aflw2000 import face_box, five_points, read_annotation, split_of
from fabnet.attributes.sets import iterate_crops, open_set
from fabnet.config import SetParams
from fabnet.errors import UserError

REAL = Path(__file__).parents[2] / ".." / "shared" / "aflw2000"


def write_image(folder, name, pose=(0.1, 0.2, 0.3), **overrides):
    random = np.random.default_rng(len(name))
    points = np.concatenate([random.uniform(30, 90, (2, 68)), np.zeros((1, 68))]).astype(np.float32)
    values = {"Pose_Para": np.array([[*pose, 0, 0, 0, 1]], dtype=np.float32), "pt3d_68": points} | overrides
    scipy.io.savemat(folder / f"{name}.mat", {key: value for key, value in values.items() if value is not None})
    image = random.integers(0, 256, (120, 120, 3), dtype=np.uint8)
    (folder / f"{name}.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    return points


def test_a_row_holds_what_the_mat_file_says(tmp_path):
    points = write_image(tmp_path, "image00001")
    table = open_set("aflw", SetParams(kind="aflw2000", path=tmp_path)).table()
    row = table.iloc[0]
    assert row["pitch_deg"] == pytest.approx(np.degrees(0.1), abs=1e-4)
    assert row["yaw_deg"] == pytest.approx(-np.degrees(0.2), abs=1e-4)
    assert row["roll_deg"] == pytest.approx(np.degrees(0.3), abs=1e-4)
    np.testing.assert_allclose(np.reshape(row["landmarks68"], (68, 2)).T, points[:2] - 0.5, atol=1e-5)
    assert row["face_id"] == row["identity"] == "image00001"


def test_extreme_angles_are_left_out(tmp_path):
    write_image(tmp_path, "a")
    write_image(tmp_path, "b", pose=(0, np.radians(100), 0))
    assert open_set("aflw", SetParams(kind="aflw2000", path=tmp_path)).table()["face_id"].tolist() == ["a"]


def test_the_box_is_a_square_of_whole_pixels_around_all_landmarks():
    points = np.random.default_rng(1).uniform((10, 40), (95, 110), (68, 2))
    left, top, right, bottom = face_box(points)
    assert right - left == bottom - top == round(1.4 * np.ptp(points, axis=0).max())
    assert all(edge == int(edge) for edge in (left, top, right, bottom))
    assert (points > (left, top)).all()
    assert (points < (right, bottom)).all()
    room_above, room_below = points[:, 1].min() - top, bottom - points[:, 1].max()
    assert room_above > room_below


def test_five_points_are_eyes_nose_and_mouth_corners():
    points = np.arange(136, dtype=float).reshape(68, 2)
    np.testing.assert_array_equal(
        five_points(points), [points[36:42].mean(0), points[42:48].mean(0), *points[[30, 48, 54]]]
    )


def test_splits_are_a_function_of_name_and_seed_in_the_promised_shares():
    names = [f"image{number:05d}" for number in range(5000)]
    splits = [split_of(name, 0) for name in names]
    shares = [splits.count(split) / 5000 for split in ("train", "validation", "test")]
    np.testing.assert_allclose(shares, (0.60, 0.15, 0.25), atol=0.02)
    assert splits == [split_of(name, 0) for name in names]
    assert splits != [split_of(name, 1) for name in names]


def test_missing_mat_is_named(tmp_path):
    write_image(tmp_path, "image00001")
    (tmp_path / "image00001.mat").unlink()
    with pytest.raises(UserError, match=r"image00001\.mat: no such file"):
        open_set("aflw", SetParams(kind="aflw2000", path=tmp_path)).table()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"pt3d_68": None}, "has no pt3d_68"),
        ({"Pose_Para": np.zeros((1, 6))}, r"Pose_Para must be 1 x 7"),
        ({"pt3d_68": np.full((3, 68), np.nan)}, "pt3d_68 must be 3 x 68 finite numbers"),
    ],
)
def test_a_bad_mat_names_file_and_key(tmp_path, overrides, message):
    write_image(tmp_path, "image00001", **overrides)
    with pytest.raises(UserError, match=rf"image00001\.mat: {message}"):
        open_set("aflw", SetParams(kind="aflw2000", path=tmp_path)).table()


@pytest.mark.parametrize("damage", [lambda data: b"no matlab", lambda data: data[:300], lambda data: b"\1" * 500])
def test_a_mat_that_is_none_is_named(tmp_path, damage):
    write_image(tmp_path, "image00001")
    path = tmp_path / "image00001.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"image00001\.mat: not a readable \.mat"):
        open_set("aflw", SetParams(kind="aflw2000", path=tmp_path)).table()


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"holds no \.jpg"):
        open_set("aflw", SetParams(kind="aflw2000", path=tmp_path)).table()


@pytest.mark.skipif(not REAL.is_dir(), reason="AFLW2000-3D is not at hand")
def test_signs_of_real_angles_are_ours():
    """Against what the 68 landmarks show: the tilt of the eyes, and where the nose points once that tilt is undone."""
    annotations = [read_annotation(path) for path in sorted(REAL.glob("*.mat"))]
    roll, pitch, yaw = np.array([angles for angles, _ in annotations]).T
    points = np.array([points for _, points in annotations])
    frontal = np.abs(yaw) < 20
    eyes = points[:, 42:48].mean(axis=1) - points[:, 36:42].mean(axis=1)
    tilt = np.arctan2(eyes[:, 1], eyes[:, 0])  # y points down: clockwise as seen is positive
    assert np.abs(np.degrees(tilt) - roll)[frontal].mean() < 3

    cosine, sine = np.cos(tilt), np.sin(tilt)
    middle = (points[:, 0] + points[:, 16]) / 2  # between the ears
    nose = (points[:, 30] - middle) / np.linalg.norm(eyes, axis=1)[:, None]
    right, down = nose[:, 0] * cosine + nose[:, 1] * sine, nose[:, 1] * cosine - nose[:, 0] * sine
    assert np.corrcoef(right, yaw)[0, 1] > 0.5
    assert np.corrcoef(right[np.abs(yaw) < 45], yaw[np.abs(yaw) < 45])[0, 1] > 0.95
    assert np.corrcoef(-down[frontal], pitch[frontal])[0, 1] > 0.9


@pytest.mark.skipif(not REAL.is_dir(), reason="AFLW2000-3D is not at hand")
def test_real_crops_can_be_read():
    labelled = open_set("aflw", SetParams(kind="aflw2000", path=REAL))
    ids, crops = next(iterate_crops(labelled, 64, 16))
    assert crops.shape == (16, 64, 64, 3)
    assert ids == labelled.table()["face_id"].tolist()[:16]
    assert crops.std(axis=(1, 2, 3)).min() > 5
