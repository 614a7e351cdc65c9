"""Figures show the numbers they are given, in their place, and are the same bytes each time."""

import colorsys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.quiver import Quiver

from fabnet.figures.curves import LOSSES, learning_curves, loss_table
from fabnet.figures.flow import draw_arrows, draw_wheel, flow_colours, largest_of, offsets, reconstruction_panels
from fabnet.figures.generated import confidence_panels
from fabnet.figures.pictures import save
from fabnet.figures.probes import COLOURS, MOST, landmark_cases, low_label_curves, pose_scatter, slice_panels, styles
from fabnet.figures.sheets import HEADS, closest_pairs
from fabnet.inspection.network import moved
from fabnet.training import objective


def history(scale: float, copying: float = np.nan) -> pd.DataFrame:
    steps = np.arange(1, 11)
    return pd.DataFrame(
        {
            "step": np.tile(steps, 2),
            "samples": np.tile(steps * 32, 2),
            "split": ["train"] * 10 + ["validation"] * 10,
            "loss": scale / np.tile(steps, 2),
            "learning_rate": np.tile(np.where(steps < 8, 1e-3, 1e-4), 2),
            "copying": [np.nan] * 10 + [copying] * 10,
        }
    )


def test_curves_hold_the_history_and_the_learning_rate():
    figure = learning_curves({"fabnet": history(1), "turned": history(2)}, {"fabnet": "fabnet", "turned": "rotation"})
    assert [axis.get_title() for axis in figure.axes[:2]] == ["fabnet", "turned"]
    assert [axis.get_ylabel().split(",")[0] for axis in figure.axes[:2]] == [
        "loss: absolute error",
        "loss: cross-entropy",
    ]
    train, validation = figure.axes[1].get_lines()
    np.testing.assert_allclose(train.get_ydata(), 2 / np.arange(1, 11))
    np.testing.assert_allclose(validation.get_xdata(), np.arange(1, 11) * 0.032)
    (rate,) = figure.axes[3].get_lines()
    np.testing.assert_allclose(rate.get_ydata(), [1] * 7 + [0.1] * 3)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["loss, train", "loss, validation", "learning rate"]


def test_curves_show_the_loss_of_copying_of_those_that_have_one():
    """Within the panel, though it lies above all losses but the first ones; and in the legend of all panels."""
    figure = learning_curves(
        {"fabnet": history(1, 1.2), "turned": history(2)}, {"fabnet": "fabnet", "turned": "rotation"}
    )
    *_, line = figure.axes[0].get_lines()
    assert set(line.get_ydata()) == {1.2}
    low, high = figure.axes[0].get_ylim()
    assert low < 1.2 < high
    assert len(figure.axes[1].get_lines()) == 2
    assert "loss of copying, validation" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_objective_has_a_name_of_its_loss():
    assert LOSSES.keys() == objective.LOSSES.keys()


def test_curves_show_the_windows_of_a_curriculum():
    windows = pd.DataFrame({"samples": [100, 200, 320], "window": [0, 0, 1], "low": [0, 0, 10], "high": [50, 50, 60]})
    names = ("one", "two", "three")
    figure = learning_curves(dict.fromkeys(names, history(1)), dict.fromkeys(names, "fabnet"), {"two": windows})
    bands = [(patch.get_x(), patch.get_width()) for patch in figure.axes[1].patches]
    np.testing.assert_allclose(bands, [(0, 0.2), (0.2, 0.12)])
    assert [text.get_text() for text in figure.axes[1].texts] == ["0-50 %", "10-60 %"]
    assert not figure.axes[0].patches


def test_a_table_of_losses_has_a_full_row_per_validation():
    """Training is logged at 10, 20 ... samples, validation at 5, 25, 40 and 45."""
    rows = [(step, 10 * step, "train", float(step), 0.1) for step in range(1, 5)]
    rows += [(9, 5, "validation", 9.0, 0.1), (2, 25, "validation", 8.0, 0.05), (4, 40, "validation", 7.0, 0.01)]
    rows += [(8, 45, "validation", 6.0, 0.01)]
    columns = ["step", "samples", "split", "loss", "learning_rate"]
    table = loss_table(pd.DataFrame(rows[::-1], columns=columns))
    assert table.columns.tolist() == ["samples", "train", "validation", "learning_rate"]
    assert table.to_numpy().tolist() == [[25, 1.5, 8, 0.05], [40, 3.5, 7, 0.01]]
    uneven = [(1, 10, "train", 1.0, 0.1), (2, 40, "train", 5.0, 0.1), (2, 40, "validation", 3.0, 0.1)]
    assert loss_table(pd.DataFrame(uneven, columns=columns))["train"].tolist() == [(10 * 1 + 30 * 5) / 40]


def test_pose_titles_state_the_mean_absolute_error():
    true = np.array([[0.0, 10, -30], [5, -10, 30]])
    figure = pose_scatter(true, {"fabnet": true + np.array([1, -2, 3]), "constant": np.zeros((2, 3))})
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:3] == ["roll, MAE 1.0°", "pitch, MAE 2.0°", "yaw, MAE 3.0°"]
    assert titles[5] == "yaw, MAE 30.0°"
    assert [figure.axes[row].get_ylabel().split()[0] for row in (0, 3)] == ["fabnet", "constant"]


def test_confidence_panels_tell_the_mean_share_of_every_source():
    rng = np.random.default_rng(0)
    sources = rng.integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8)
    shares = rng.dirichlet([1, 1, 1], (2, 8, 8)).transpose(3, 0, 1, 2)
    figure = confidence_panels(sources, sources[0], sources[1], shares, ["", "noise"], [["a", "b"]] * 3)
    rows = np.array(figure.axes[:16]).reshape(8, 2)
    for number, mean in enumerate(shares.mean(axis=(2, 3))):
        assert [axis.get_title() for axis in rows[3 + 2 * number]] == [f"mean {value:.2f}" for value in mean]
        np.testing.assert_array_equal(rows[3 + 2 * number, 1].images[0].get_array(), shares[number, 1])
    assert rows[0, 1].get_title() == "noise"
    assert [axis.get_title() for axis in rows[4]] == ["a", "b"]
    bar = figure.axes[-1]
    assert (bar.get_ylim(), bar.get_ylabel()) == ((0, 1), "share of the source in a pixel, 0 to 1")


def test_a_picture_is_the_same_bytes_each_time(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8)
    flows = rng.normal(size=(2, 2, 8, 8))
    for name in "ab":
        save(reconstruction_panels(*frames, flows), tmp_path / f"{name}.png", dpi=40)
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert first.startswith(b"\x89PNG")


def sheet(seed: int = 0):
    rng = np.random.default_rng(seed)
    images = {
        "pixels": rng.integers(0, 256, (3, 3, 8, 8, 3), dtype=np.uint8),
        "embedding (x)": rng.integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8),
    }
    captions = {name: [(f"{name} {row}", "near", "own") for row in range(len(of))] for name, of in images.items()}
    return images, closest_pairs(images, captions)


def test_every_picture_and_caption_has_its_place():
    images, figure = sheet()
    assert [block.get_suptitle() for block in figure.subfigs] == ["closest by pixels", "closest by embedding (x)"]
    for block, (name, faces) in zip(figure.subfigs, images.items(), strict=True):
        assert [axis.get_title() for axis in block.axes[:3]] == list(HEADS)
        for row, of_row in enumerate(faces):
            for column, face in enumerate(of_row):
                axis = block.axes[3 * row + column]
                np.testing.assert_array_equal(axis.images[0].get_array(), face)
            assert block.axes[3 * row].texts[0].get_text() == f"{name} {row}"
        assert not [axis for axis in block.axes[3 * len(faces) :] if axis.images]


def test_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        save(sheet()[1], tmp_path / f"{name}.png", dpi=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


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
