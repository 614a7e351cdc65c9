"""Scores of encoders by bins of faces."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from fabnet.figures.palette import styles


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
