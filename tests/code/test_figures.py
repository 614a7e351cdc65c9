"""Figures show the numbers they are given, and are the same bytes each time."""

import numpy as np
import pandas as pd

from fabnet.figures.curves import LOSSES, learning_curves, loss_table
from fabnet.figures.flow import reconstruction_panels
from fabnet.figures.generated import confidence_panels
from fabnet.figures.pictures import save
from fabnet.figures.probes import pose_scatter
from fabnet.training import objective


def history(scale: float) -> pd.DataFrame:
    steps = np.arange(1, 11)
    return pd.DataFrame(
        {
            "step": np.tile(steps, 2),
            "samples": np.tile(steps * 32, 2),
            "split": ["train"] * 10 + ["validation"] * 10,
            "loss": scale / np.tile(steps, 2),
            "learning_rate": np.tile(np.where(steps < 8, 1e-3, 1e-4), 2),
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
