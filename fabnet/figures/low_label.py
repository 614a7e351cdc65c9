"""Scores against the number of labelled faces that a probe learnt from."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fabnet.figures.palette import styles

_COLUMNS = 2


def low_label_curves(table: pd.DataFrame, metrics: Mapping[str, str], encoders: Sequence[str]) -> Figure:
    """A panel per metric; the number of labelled faces on a logarithmic axis, bars are 95 % intervals.

    Args:
        table: of the contract LowLabel.
        metrics: the label of each metric's axis.
        encoders: those that are drawn.
    """
    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.8 * columns + 0.2, 3.1 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    looks = styles(encoders)
    faces = sorted(table["faces"].unique())
    for axis, (metric, label) in zip(axes, metrics.items(), strict=False):
        for number, encoder in enumerate(encoders):
            points = table[(table["metric"] == metric) & (table["encoder"] == encoder)].sort_values("faces")
            if points.empty:
                continue
            bars = [points["value"] - points["low"], points["high"] - points["value"]]
            # Side by side, so that bars do not hide each other.
            x = points["faces"] * 1.035 ** (number - (len(encoders) - 1) / 2)
            axis.errorbar(x, points["value"], bars, ms=4.5, lw=1.2, elinewidth=1, label=encoder, **looks[encoder])
        axis.set_xscale("log")
        axis.set_xticks(faces, [f"{count:,}" for count in faces], fontsize=9)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("labelled faces that the probe learnt from", fontsize=9)
        axis.set_ylabel(label, fontsize=9)
        axis.grid(lw=0.4, alpha=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(metrics) :]:
        axis.remove()
    handles = {
        name: handle for axis in figure.axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure
