"""Figures of landmarks, slices and few labels show the numbers they are given."""

import colorsys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from fabnet.figures.probes import COLOURS, MOST, landmark_cases, low_label_curves, slice_panels, styles


@pytest.mark.parametrize("points", [5, 68])
def test_landmarks_are_dots_where_true_and_crosses_where_predicted(points):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 2, 16, 16, 3), dtype=np.uint8)
    true, predicted = random.random((2, 3, 2, points, 2)) * 16
    errors = np.array([[1.0, 2.5], [10, 11], [99, 208.24]])
    figure = landmark_cases(images, true, predicted, errors, ("best", "median", "worst"))
    axes = np.array(figure.axes).reshape(3, 2)
    assert [axis.get_title() for axis in axes.ravel()][-2:] == ["99.0 %", "208.2 %"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["best", "median", "worst"]
    for axis, dots, crosses in zip(axes.ravel(), true.reshape(6, -1, 2), predicted.reshape(6, -1, 2), strict=True):
        drawn = {line.get_marker(): line.get_xydata() for line in axis.get_lines()}
        np.testing.assert_allclose(drawn["o"], dots)
        np.testing.assert_allclose(drawn["x"], crosses)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["true", "predicted"]


def scored(value):
    return {"value": value, "low": value - 1, "high": value + 2, "n": 50}


def test_slices_have_a_point_for_every_scored_bin():
    scores = [
        {"a": {"pose_mae_deg": scored(3.0)}, "b": {"pose_mae_deg": scored(4.0)}},
        {"a": {"pose_mae_deg": scored(5.0)}},
        {},
    ]
    bins = [
        {"low": low, "high": low + 15, "faces": faces, "enough": bool(each), "scores": each}
        for low, faces, each in zip((0, 15, 30), (1500, 40, 3), scores, strict=True)
    ]
    figure = slice_panels({"yaw": {"title": "|yaw|, degrees", "bins": bins}}, {"pose_mae_deg": "pose, °"}, ["a", "b"])
    (axis,) = figure.axes
    a, b = (container.lines[0] for container in axis.containers)
    assert a.get_ydata().tolist() == [3, 5]
    assert b.get_ydata().tolist() == [4]
    (bars,) = axis.containers[0].lines[2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[2, 5], [4, 7]]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0–15\n1,500", "15–30\n40", "30–45\n3 (too few)"]
    assert axis.get_ylabel() == "pose, °"
    assert axis.get_xlabel().startswith("|yaw|, degrees")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_few_labels_lie_on_a_logarithmic_axis_of_faces():
    rows = [("a", 0.1, 10, "m", 5.0, 4.0, 7.0, 3), ("a", 1.0, 100, "m", 3.0, 2.5, 3.5, 3)]
    columns = ["encoder", "share", "faces", "metric", "value", "low", "high", "seeds"]
    table = pd.DataFrame(rows[::-1], columns=columns)
    figure = low_label_curves(table, {"m": "error, %"}, ["a", "absent"])
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    (container,) = axis.containers
    assert container.lines[0].get_ydata().tolist() == [5, 3]
    np.testing.assert_allclose(np.asarray(container.lines[0].get_xdata(), float), [10, 100], rtol=0.02)
    (bars,) = container.lines[2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[4, 7], [2.5, 3.5]]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["10", "100"]


def test_encoders_differ_in_colour_mark_and_lightness():
    names = [f"e{number}" for number in range(MOST)]
    looks = styles(names)
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == MOST
    assert len({look["marker"] for look in looks.values()}) == MOST
    for one, other in combinations(COLOURS, 2):
        hue, light, _ = zip(colorsys.rgb_to_hls(*to_rgb(one)), colorsys.rgb_to_hls(*to_rgb(other)), strict=True)
        assert abs(hue[0] - hue[1]) > 0.03 or abs(light[0] - light[1]) > 0.05
    with pytest.raises(ValueError, match="9 encoders in one figure"):
        styles([*names, "one more"])
