"""Scores of encoders: by bins of faces, and against the number of labelled faces."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

#: Okabe and Ito, safe for all kinds of colour vision: blue, vermilion, green, purple, orange, sky blue,
#: black, grey. Marks help where there are no colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")

#: The most encoders that one figure tells apart.
MOST = len(COLOURS)


def styles(encoders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and mark of each encoder, by its place.

    Raises:
        ValueError: more encoders than a figure tells apart.
    """
    if len(encoders) > MOST:
        raise ValueError(f"{len(encoders)} encoders in one figure; it can tell {MOST} apart")
    return {
        encoder: {"color": colour, "marker": mark}
        for encoder, colour, mark in zip(encoders, COLOURS, _MARKS, strict=False)
    }


def slice_panels(slices: Mapping[str, Any], metrics: Mapping[str, str], encoders: Sequence[str]) -> Figure:
    """A column per property, a row per metric; points are bins, bars 95 % intervals. Bins not scored have no point.

    Args:
        slices: what `probing.slices.sliced` gives, without properties that have nothing to compare.
        metrics: the label of each metric's axis.
        encoders: those that are drawn.
    """
    figure = Figure(figsize=(4.6 * len(slices) + 0.3, 2.5 * len(metrics) + 0.8), layout="constrained")
    axes = figure.subplots(len(metrics), len(slices), squeeze=False, sharex="col", sharey="row")
    looks = styles(encoders)
    for column, each in enumerate(slices.values()):
        bins = each["bins"]
        names = [f"{_edge(bin_['low'])}–{_edge(bin_['high'])}\n{_count(bin_)}" for bin_ in bins]
        for row, (metric, label) in enumerate(metrics.items()):
            axis = axes[row, column]
            for number, encoder in enumerate(encoders):
                found = [
                    (place + 0.07 * (number - (len(encoders) - 1) / 2), bin_["scores"][encoder][metric])
                    for place, bin_ in enumerate(bins)
                    if metric in bin_["scores"].get(encoder, {})
                ]
                if not found:
                    continue
                values = [score["value"] for _, score in found]
                bars = [[score["value"] - score["low"] for _, score in found]]
                bars.append([score["high"] - score["value"] for _, score in found])
                x = [at for at, _ in found]
                axis.errorbar(x, values, bars, ms=4, lw=1, elinewidth=1, label=encoder, **looks[encoder])
            axis.set_xticks(range(len(bins)), names, fontsize=8)
            axis.set_xlim(-0.5, len(bins) - 0.5)
            axis.grid(axis="y", lw=0.4, alpha=0.6)
            axis.spines[["top", "right"]].set_visible(False)
            if column == 0:
                axis.set_ylabel(label, fontsize=9)
        axes[-1, column].set_xlabel(f"{each['title']}; below, test faces of the bin", fontsize=9)
    handles = {
        label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def _edge(value: float) -> str:
    return f"{value:g}" if value < 1e5 else "…"


def _count(bin_: Mapping[str, Any]) -> str:
    return f"{bin_['faces']:,}" + ("" if bin_["enough"] or not bin_["faces"] else " (too few)")


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
