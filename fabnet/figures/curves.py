"""Learning curves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


_COLUMNS = 2

#: What the losses of each objective are (fabnet.training.objective), with their units.
LOSSES = {
    "fabnet": "absolute error, pixels in [-1, 1]",
    "autoencoder": "absolute error, pixels in [-1, 1]",
    "rotation": "cross-entropy, nats",
    "split_brain": "squared error, scaled L* and a*b*",
}


def learning_curves(
    histories: Mapping[str, pd.DataFrame],
    objectives: Mapping[str, str],
    curricula: Mapping[str, pd.DataFrame] | None = None,
) -> Figure:
    """Training and validation loss and the learning rate against samples seen, one panel per variant.

    A dashed line is the loss of copying: of a network that moves no pixel.

    Args:
        histories: tables of the contract `History` by variant. Losses of different objectives do not compare, hence
            the panels.
        objectives: of every variant.
        curricula: tables of the contract `Curriculum` by variant, of those that have one: bands show which percentiles
            of a batch's losses were learnt from.
    """
    rows = -(-len(histories) // _COLUMNS)
    columns = min(_COLUMNS, len(histories))
    figure = Figure(figsize=(5.6 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    lines: dict[str, Line2D] = {}
    for axis, (variant, history) in zip(axes, histories.items(), strict=False):
        for split, style in (("train", {"lw": 0.8, "alpha": 0.7}), ("validation", {"lw": 1.8, "marker": "o", "ms": 3})):
            points = history[history["split"] == split]
            axis.plot(points["samples"] / 1000, points["loss"], label=f"loss, {split}", **style)
        # The first points are far above the rest and would flatten what matters.
        low, high = 0.97 * history["loss"].min(), history["loss"].quantile(0.97)
        if (copying := history["copying"].dropna()).size:
            axis.axhline(copying.iloc[-1], color="tab:red", ls="--", lw=1.2, label="loss of copying, validation")
            low, high = min(low, 0.97 * copying.min()), max(high, 1.02 * copying.max())
        axis.set_ylim(low, high)
        axis.set(title=variant, xlabel="thousand samples", ylabel=f"loss: {LOSSES[objectives[variant]]}")
        train = history[history["split"] == "train"]
        rate = axis.twinx()
        rate.plot(train["samples"] / 1000, 1000 * train["learning_rate"], "k:", lw=1, label="learning rate")
        rate.set(ylim=(0, None), ylabel="learning rate, thousandths")
        if curricula and variant in curricula:
            _windows(axis, curricula[variant])
        lines |= {str(line.get_label()): line for line in (*axis.get_lines(), *rate.get_lines())}
    # Beside the panels: curves end anywhere in them.
    figure.legend([*lines.values()], [*lines], frameon=False, fontsize=9, ncols=3, loc="outside upper center")
    for axis in axes[len(histories) :]:
        axis.remove()
    return figure


def _windows(axis: "Axes", curriculum: pd.DataFrame) -> None:
    """A band for each window of percentiles, with its bounds."""
    before = 0.0
    for number, points in curriculum.groupby("window"):
        end = points["samples"].max() / 1000
        axis.axvspan(before, end, color="grey", alpha=0.16 if int(str(number)) % 2 else 0.06, lw=0)
        low, high = points[["low", "high"]].iloc[0]
        at = (before + end) / 2
        # Below: the curves begin above.
        name = axis.text(at, 0.02, f"{low}-{high} %", transform=axis.get_xaxis_transform(), fontsize=7.5)
        name.set(ha="center", va="bottom", rotation=90)
        before = end


def loss_table(history: pd.DataFrame) -> pd.DataFrame:
    """The curves of a variant for `dvc plots`, which takes an empty field for 0: a full row per validation.

    Args:
        history: of the contract `History`.

    Returns:
        samples; train, the mean loss over the samples since the validation before; validation, the loss there;
        learning_rate. Validations before the first point of the training curve are left out.
    """
    train, validation = (history[history["split"] == split].sort_values("samples") for split in ("train", "validation"))
    weights = train["samples"].diff().fillna(train["samples"]).to_numpy(float)  # a point is a mean over these
    nearest = np.searchsorted(validation["samples"], train["samples"])  # the validation that a point comes before
    count = len(validation)
    sums, shares = (np.bincount(nearest, values, count + 1)[:count] for values in (train["loss"] * weights, weights))
    known = shares > 0
    table = validation.loc[known, ["samples", "loss", "learning_rate"]].rename(columns={"loss": "validation"})
    table.insert(1, "train", sums[known] / shares[known])
    return table.reset_index(drop=True)
