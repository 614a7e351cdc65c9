"""Labelled sets: crops, targets in the crop's units, and what damaged files say."""

import tarfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from labelled_faces import write_labelled_faces

from fabnet import tables
from fabnet.attributes.images import crop_box
from fabnet.attributes.sets import TASKS, iterate_crops, open_set, targets
from fabnet.config import SetParams
from fabnet.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces")
    write_labelled_faces(path)
    return path


@pytest.fixture
def faces(folder):
    return open_set("synthetic", SetParams(kind="synthetic", path=folder))


def box(left, top, right, bottom):
    return SimpleNamespace(left=left, top=top, right=right, bottom=bottom, image="image")


def test_all_tasks_are_offered_where_all_labels_are(faces):
    assert [task.name for task in faces.tasks] == [name for name in TASKS if name != "mouth"]


def test_crops_come_in_the_order_of_the_table_and_show_their_face(faces):
    table = faces.table()
    batches = list(iterate_crops(faces, 32, 30))
    assert [len(ids) for ids, _ in batches] == [30, 30, 20]
    assert [face for ids, _ in batches for face in ids] == table["face_id"].tolist()
    crops = np.concatenate([images for _, images in batches])
    expected = table[["au01", "au02"]].to_numpy() * 255
    centres = (table[["yaw_deg", "pitch_deg"]].to_numpy() * 0.32 + 16).astype(int)
    seen = np.array([crop[y, x, :2] for crop, (x, y) in zip(crops, centres, strict=True)])
    assert np.abs(seen - expected).mean() < 6  # JPEG


def test_crops_of_one_split_only(faces):
    table = faces.table()
    ids = [face for batch, _ in iterate_crops(faces, 16, 7, split="validation") for face in batch]
    assert ids == table.loc[table["split"] == "validation", "face_id"].tolist()


def test_a_yielded_batch_is_not_overwritten_by_the_next(faces):
    first, second = (images for _, images in list(iterate_crops(faces, 16, 40)))
    assert not np.shares_memory(first, second)


def test_shrinking_averages_areas():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    small = crop_box(image, box(4, 8, 20, 24), 4)
    expected = image[8:24, 4:20].reshape(4, 4, 4, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, expected, atol=0.51)


def test_a_box_beyond_the_image_repeats_its_border():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    crop = crop_box(image, box(-2, -1, 6, 7), 8)
    expected = image[np.clip(np.arange(-1, 7), 0, 3)][:, np.clip(np.arange(-2, 6), 0, 3)]
    np.testing.assert_array_equal(crop, expected)


def test_a_box_that_misses_the_image_is_an_error():
    with pytest.raises(UserError, match="outside its 4 x 4 image"):
        crop_box(np.zeros((4, 4, 3), np.uint8), box(4, 0, 8, 4), 8)


def test_landmark_targets_are_in_units_of_the_box(faces):
    table = faces.table().head(1).copy()
    table["landmarks5"] = [np.array([10.0, 20, 30, 60, 20, 40, 0, 0, 40, 60])]
    table[["left", "top", "right", "bottom"]] = [10.0, 20.0, 30.0, 60.0]
    assert targets(table, TASKS["landmarks5"]).tolist() == [[-1, -1, 1, 1, 0, 0, -2, -2, 2, 1]]


def test_landmark_targets_lie_on_the_features_of_the_crop(faces):
    """The disc's centroid in the crop, found in the image, is the mean landmark's target."""
    table = faces.table()
    mean = targets(table, TASKS["landmarks68"]).reshape(-1, 68, 2).mean(axis=1)
    _, crops = next(iterate_crops(faces, 64, 8))
    y, x = np.mgrid[:64, :64] + 0.5
    for crop, point in zip(crops, mean, strict=False):
        disc = np.abs(crop.astype(int) - 40).max(axis=-1) > 25
        centroid = np.array([x[disc].mean(), y[disc].mean()]) / 32 - 1
        # The sine of the points' y does not quite average to zero.
        assert np.abs(centroid - point).max() < 0.08


def test_pose_units_and_expression_targets(faces):
    table = faces.table()
    pose = targets(table, TASKS["pose"])
    assert pose.flags.writeable
    np.testing.assert_allclose(pose[:, 0], table["roll_deg"], rtol=1e-6)
    np.testing.assert_allclose(pose[:, 2], table["yaw_deg"], rtol=1e-6)
    units = targets(table, TASKS["units"])
    assert units[3].tolist() == [float(table.loc[3, column] > 0.2) for column in tables.UNIT_COLUMNS]
    names = [tables.EXPRESSIONS[index] for index in targets(table, TASKS["expression"])]
    assert names == table["expression"].tolist()


def test_absent_folder_names_the_file_and_the_key(tmp_path):
    with pytest.raises(UserError, match=r"labels\.parquet: no such file.*sets\.mine\.path"):
        open_set("mine", SetParams(kind="synthetic", path=tmp_path))


def test_missing_member_names_it(tmp_path):
    write_labelled_faces(tmp_path, identities=5, per_identity=1)
    with tarfile.open(tmp_path / "faces.tar", "w"):
        pass
    faces = open_set("synthetic", SetParams(kind="synthetic", path=tmp_path))
    with pytest.raises(UserError, match=r"faces\.tar: has no member face0000\.jpg"):
        next(iterate_crops(faces, 16, 2))


def test_damaged_image_names_its_member(tmp_path):
    write_labelled_faces(tmp_path, identities=5, per_identity=1)
    path: Path = tmp_path / "faces.tar"
    data = bytearray(path.read_bytes())
    data[512:1024] = bytes(512)
    path.write_bytes(data)
    faces = open_set("synthetic", SetParams(kind="synthetic", path=tmp_path))
    with pytest.raises(UserError, match=r"face0000\.jpg: cannot be decoded"):
        next(iterate_crops(faces, 16, 2))


def test_not_a_tar_is_an_error(tmp_path):
    write_labelled_faces(tmp_path, identities=5, per_identity=1)
    (tmp_path / "faces.tar").write_bytes(b"not a tar" * 100)
    faces = open_set("synthetic", SetParams(kind="synthetic", path=tmp_path))
    with pytest.raises(UserError, match="not a plain tar"):
        next(iterate_crops(faces, 16, 2))


def test_resizing_up_is_smooth():
    ramp = np.tile(np.arange(0, 80, 10, dtype=np.uint8)[None, :, None], (8, 1, 3))
    large = crop_box(ramp, box(0, 0, 8, 8), 16)
    np.testing.assert_array_equal(large, cv2.resize(ramp, (16, 16), interpolation=cv2.INTER_LINEAR))
    assert (np.diff(large[0, :, 0].astype(int)) <= 5).all()
