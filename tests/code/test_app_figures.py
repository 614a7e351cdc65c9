"""Pictures of the page show what they are given."""

import numpy as np
import pytest

from fabnet.figures.face import expression_bars, face_readings, found_face, head_axes, unit_bars
from fabnet.figures.flow import warped_pair
from fabnet.figures.sheets import neighbour_sheet
from fabnet.synthetic.render import rotation
from fabnet.synthetic.state import FaceState
from fabnet.tables import EXPRESSIONS, UNITS


@pytest.mark.parametrize("angles", [(0, 0, 0), (10, -20, 35), (-40, 15, -60), (0, 30, 0)])
def test_axes_of_a_head_point_where_the_renderer_turns_them(angles):
    roll, pitch, yaw = angles
    turned = rotation(FaceState(roll=roll, pitch=pitch, yaw=yaw))
    np.testing.assert_allclose(head_axes(np.array(angles)), turned.T, atol=1e-12)


def test_signs_of_the_angles_are_those_the_page_tells():
    right, up, towards = np.eye(3)
    assert head_axes(np.array([20, 0, 0]))[0] @ up < 0  # clockwise: the x axis falls
    assert head_axes(np.array([0, 20, 0]))[2] @ up > 0  # the face looks up
    assert head_axes(np.array([0, 0, 20]))[2] @ right > 0  # and to the image's right
    assert head_axes(np.zeros(3))[2] @ towards == 1


def test_bars_are_as_long_as_the_values_and_named():
    values = np.linspace(0, 1, len(UNITS))
    (axes,) = unit_bars(UNITS, values).axes
    bars = axes.containers[1]
    np.testing.assert_allclose([bar.get_width() for bar in bars], values)
    assert [label.get_text() for label in axes.get_yticklabels()][6] == "lip corner puller  AU12"
    probabilities = np.full(len(EXPRESSIONS), 0.05)
    probabilities[3] = 0.65
    (axes,) = expression_bars(EXPRESSIONS, probabilities).axes
    colours = [bar.get_facecolor() for bar in axes.containers[1]]
    assert [number for number, colour in enumerate(colours) if colour != colours[0]] == [3]


def test_landmarks_and_angles_are_drawn_where_there_are_any():
    random = np.random.default_rng(0)
    crop = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    points = random.uniform(0, 32, (68, 2))
    (axes,) = face_readings(crop, points, np.array([1.0, -2.0, 30.0])).axes
    np.testing.assert_allclose(np.column_stack(axes.lines[-1].get_data()), points)
    assert axes.get_title() == "roll +1°    pitch -2°    yaw +30°"
    (plain,) = face_readings(crop).axes
    assert not plain.lines
    assert not plain.get_title()


def test_a_square_that_leaves_the_frame_is_shown_whole():
    frame = np.zeros((60, 100, 3), np.uint8)
    whole, _ = found_face(frame, np.array([-10.0, 5.0, 70.0, 85.0]), np.zeros((32, 32, 3), np.uint8)).axes
    assert whole.get_xlim() == (-10, 100)
    assert whole.get_ylim() == (85, 0)


def test_neighbours_come_with_similarity_and_a_name_that_fits():
    crops = np.zeros((4, 16, 16, 3), np.uint8)
    sheet = neighbour_sheet(crops[0], crops[1:], np.array([0.9, 0.8, 0.7]), ["a", "$b$", "c" * 40])
    assert [axes.get_title() for axes in sheet.axes[:4]] == ["this face", "0.900", "0.800", "0.700"]
    assert [axes.get_xlabel() for axes in sheet.axes[:4]] == ["", "a", "$b$", "…" + "c" * 19]


def test_a_warped_pair_tells_how_far_source_and_result_are_from_the_target():
    source, target = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 90, np.uint8)
    flow = np.zeros((2, 16, 16))
    flow[0] = 0.4
    sheet = warped_pair(source, target, np.full((16, 16, 3), 93, np.uint8), flow)
    words = [text.get_text() for axes in sheet.axes for text in axes.texts]
    assert words == ["10.0 grey levels from target", "", "3.0 grey levels from target", "up to 3.0 of 16 pixels"]
