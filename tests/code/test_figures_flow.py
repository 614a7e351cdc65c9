"""Flow as colours, as a wheel and as arrows; pictures moved along it."""

import numpy as np
import pytest
from matplotlib.quiver import Quiver

from fabnet.figures.flow import draw_arrows, draw_wheel, flow_colours, largest_of, offsets, reconstruction_panels
from fabnet.inspection.network import moved

# What who sees no red (protanopia) and who sees no green (deuteranopia) see of linear RGB (Machado et al. 2009).
_BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}


def constant(dx: float, dy: float, size: int = 9) -> np.ndarray:
    return np.stack((np.full((size, size), dx), np.full((size, size), dy)))


def figure_axes(rows: int = 1):
    from matplotlib.figure import Figure

    return Figure().subplots(rows, 1)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-2, 0), (0, 3), (2, -1)])
def test_a_constant_flow_shifts_the_picture(dx, dy):
    """Pixels come from (dx, dy) away; beyond the border the last one is repeated."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 9, 9, 3), dtype=np.uint8)
    flow = constant(dx / 4, dy / 4)  # a frame of 9 pixels is 2 wide, 8 steps
    places = [np.clip(np.arange(9) + step, 0, 8) for step in (dy, dx)]
    np.testing.assert_array_equal(moved(picture, flow[None])[0], picture[0][np.ix_(*places)])


def test_a_flow_of_another_size_moves_a_larger_picture_as_far():
    picture = np.random.default_rng(0).integers(0, 256, (1, 17, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(moved(picture, constant(0.25, 0)[None])[0, :, :15], picture[0, :, 2:])


def test_offsets_are_pixels_and_end_at_the_border():
    found = offsets(constant(0.5, -0.25))
    np.testing.assert_allclose(found[0, 4], [2, 2, 2, 2, 2, 2, 2, 1, 0])
    np.testing.assert_allclose(found[1, :, 4], [0, -1, -1, -1, -1, -1, -1, -1, -1])
    assert largest_of(offsets(constant(0.5, 0))) == 2


def test_arrows_lead_from_a_pixel_to_where_it_is_fetched():
    axes = figure_axes()
    draw_arrows(axes, offsets(constant(0.5, 0, 17)), across=4)
    (arrows,) = [each for each in axes.collections if isinstance(each, Quiver)]
    assert arrows.U.reshape(4, 4)[:, 0].tolist() == [4] * 4  # to the right
    assert not arrows.V.any()
    assert (arrows.angles, arrows.scale_units, arrows.scale) == ("xy", "xy", 1)  # at true length, y as in the picture
    ends = arrows.XY[:, 0] + arrows.U
    assert arrows.XY.min() > 0
    assert ends.max() <= 16
    assert axes.get_ylim() == (16.5, -0.5)


def test_colours_of_the_wheel_by_angle():
    def colour(dx, dy):
        return flow_colours(np.array([[[dx]], [[dy]]], dtype=float), 1.0)[0, 0]

    grey, right, left, up, down = (colour(*at) for at in ((0, 0), (1, 0), (-1, 0), (0, -1), (0, 1)))
    assert np.ptp(grey) < 0.01
    assert right[0] > right[1] > right[2] + 0.3  # yellow
    assert left[2] > left[1] > left[0]  # blue
    luminance = np.array([0.2126, 0.7152, 0.0722])
    assert up @ luminance > grey @ luminance + 0.1 > down @ luminance + 0.3
    np.testing.assert_allclose(colour(3, 0), right)  # no colour beyond the edge
    half = colour(0.5, 0)
    assert all(min(a, b) <= h <= max(a, b) for a, b, h in zip(grey, right, half, strict=True))


@pytest.mark.parametrize("kind", ["everybody", *_BLIND])
def test_directions_differ_also_to_who_sees_no_red_or_green(kind):
    angles = np.arange(8) * np.pi / 4
    colours = flow_colours(np.stack((np.cos(angles), np.sin(angles)))[:, None], 1.0)[0]
    colours = np.vstack((colours, flow_colours(np.zeros((2, 1, 1)), 1.0)[0]))
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(_BLIND.get(kind, np.eye(3))).T, 0, 1)
    lab = _lab(seen)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(9, dtype=bool)]
    assert apart.min() > 10  # a difference of 2 is just seen


def _lab(linear_N3: np.ndarray) -> np.ndarray:
    """CIELAB, white D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = linear_N3 @ to_xyz.T / to_xyz.sum(axis=1)
    root = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.stack((116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])), axis=1)


def test_a_wheel_shows_the_colours_of_all_directions():
    axes = figure_axes()
    draw_wheel(axes)
    wheel = axes.images[0].get_array()
    np.testing.assert_allclose(wheel[64, 128, :3], flow_colours(np.array([[[1.0]], [[0]]]), 1)[0, 0])
    np.testing.assert_allclose(wheel[128, 64, :3], flow_colours(np.array([[[0]], [[1.0]]]), 1)[0, 0])
    assert wheel[0, 0, 3] == 0  # nothing beside it


def test_panels_tell_how_much_nearer_to_the_target_the_generated_frame_is():
    grey = [np.full((2, 9, 9, 3), level, np.uint8) for level in (100, 90, 93)]
    figure = reconstruction_panels(*grey, np.stack([constant(0.25, 0), constant(0, 0)]))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count("10.0 → 3.0") == 2
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("edge: 1.0 of 9 px" in text for text in words)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["source", "target", "generated", "flow, colours", "flow, arrows"]
