"""The study of FaceMesh: angles in the labels' order, errors, and the page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from fabnet.files import read_json
from fabnet.video.mesh import LANDMARKS_68, FaceReading
from studies.mesh import (
    PACKAGED,
    correspondence,
    in_order_of_labels,
    interval,
    labelled_opening,
    order_of_axes,
    summary,
    text,
)

ROOT = Path(__file__).parents[2]


def reading(rotation):
    """Of a head that is turned so; y up, z towards the camera."""
    roll, yaw, pitch = rotation.as_euler("ZYX", degrees=True)
    return FaceReading(np.zeros((468, 3)), 1.0, -roll, -pitch, yaw, 0.0, 0.0)


@pytest.mark.parametrize("pose", [(0, 0, 0), (10, 0, 0), (0, -70, 0), (0, 0, 30), (-20, 75, 40)])
def test_angles_come_back_in_the_order_of_the_labels(pose):
    pitch, yaw, roll = pose
    turned = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True)
    assert in_order_of_labels(reading(turned)) == pytest.approx(pose)


def test_signs_of_one_angle_are_those_of_the_labels():
    """AFLW2000-3D: yaw is negated in fabnet's tables, pitch and roll are not."""
    frontal = reading(Rotation.identity())
    assert in_order_of_labels(replace(frontal, yaw_deg=20.0)) == pytest.approx((0, -20, 0))
    assert in_order_of_labels(replace(frontal, pitch_deg=20.0)) == pytest.approx((20, 0, 0))
    assert in_order_of_labels(replace(frontal, roll_deg=20.0)) == pytest.approx((0, 0, 20))


def test_the_order_of_axes_is_told_by_a_shape_that_is_always_the_same(tmp_path):
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(68, 3))
    paths = []
    for number in range(40):
        pitch, yaw, roll = np.radians(rng.uniform(-60, 60, 3))
        turned = Rotation.from_euler("XYZ", [pitch, yaw, -roll]).apply(shape) * (1, -1, -1)
        paths.append(tmp_path / f"{number}.mat")
        savemat(paths[-1], {"pt3d_68": turned.T, "Pose_Para": np.array([[pitch, yaw, roll, 0, 0, 0, 1]])})
    found = order_of_axes(paths)
    assert found["Rx Ry Rz"] == pytest.approx(0, abs=1e-6)
    assert found["Rz Ry Rx"] > 0.1


def test_the_page_tells_each_group():
    rng = np.random.default_rng(0)
    rows = [
        {"angles": rng.uniform(0, 10, 3), "presence": 0.4 + 0.5 * (n > 3), "yaw": 80 * n / 11}
        | {"landmarks_pct": 5.0, "landmarks_ocular_pct": 6.0, "mouth_pct": 7.0}
        for n in range(12)
    ]
    groups = summary(rows)
    mean = np.mean([row["angles"].mean() for row in rows])
    assert groups["all"]["mean_angle"]["value"] == pytest.approx(mean, abs=0.006)
    assert groups["all"]["mean_angle"]["low"] < mean < groups["all"]["mean_angle"]["high"]
    assert groups["seen (presence >= 0.5)"]["n"] == 8
    assert sum(groups[name]["n"] for name in groups if name.startswith("yaw")) == 12
    assert interval(np.full(5, 2.0)) == {"value": 2, "low": 2, "high": 2}
    told = {"all": 13, "stills": 12, "unfound": 1, "order": {"Rx Ry Rz": 0.12, "Rz Ry Rx": 0.5}}
    told["correspondence"] = correspondence(np.ones((3, 68, 468)))
    page = text({**told, "read": {"detector's": groups}, "other_half": groups["all"]})
    assert "| detector's | all | 12 | " in page
    assert "5.0 [5.0, 5.0] | 6.0 [6.0, 6.0] | 7.0 [7.0, 7.0] |" in page


def test_a_wrong_point_among_the_68_is_seen():
    """The points of the mesh lie on a line, the landmarks on those that stand for them, but for one of the jaw."""
    landmarks = LANDMARKS_68.astype(float)
    landmarks[3] += 34
    apart = np.abs(landmarks[None, :, None] - np.arange(468)) * np.ones((2, 1, 1))
    found = correspondence(apart)
    assert (found["n"], found["chosen_is_nearest"]) == (2, 67)
    assert found["jaw"] == {"chosen": 2.0, "nearest": 0.0}  # 34 of 17 points
    assert found["eyes"] == {"chosen": 0.0, "nearest": 0.0}


def test_the_labelled_opening_is_that_of_the_inner_lips():
    points = np.zeros((68, 3))
    points[64] = (4, 0, 0)
    points[66] = (0, 0.6, 0.8)
    assert labelled_opening(points) == pytest.approx(0.25)


def test_the_package_has_the_record_s_numbers():
    told, packaged = read_json(ROOT / "docs/results/mesh.json"), read_json(ROOT / PACKAGED)
    assert packaged == {
        "stills": told["stills"],
        "unfound": told["unfound"],
        "bands": told["read"]["detector's"],
    }
