"""What probes predict, and how well: landmarks on their faces (Fig. 2 and 3 of the paper), predicted against true pose,
scores by bins of faces and against the number of labelled faces.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

# Light against skin and shadow, and safe for all kinds of colour vision: sky blue and yellow of Okabe and Ito, edged
# in black.
_TRUE, _PREDICTED = "#56B4E9", "#F0E442"
_SIDE = 1.9  # inches of a face
#: Size of a mark in points, and of its edge, by the number of landmarks.
_MARK = {5: (6.0, 0.8), 68: (2.6, 0.3)}


def landmark_cases(
    images_RCHWC: NDArray[np.uint8],
    true_RCK2: NDArray[np.floating],
    predicted_RCK2: NDArray[np.floating],
    errors_RC: NDArray[np.floating],
    row_titles: Sequence[str],
    marks: tuple[str, str] = ("true", "predicted"),
) -> Figure:
    """Faces in rows, such as the best, the median and the worst ones, with true and predicted landmarks.

    Args:
        images_RCHWC: RGB crops, C in each of R rows.
        true_RCK2, predicted_RCK2: pixels of the crop, the first pixel's centre at 0.5; K landmarks, 5 or 68.
        errors_RC: mean error of each face in percent of the inter-ocular distance, written above it.
        row_titles: one for each row.
        marks: what the legend calls the two.
    """
    rows, columns, size = images_RCHWC.shape[:3]
    mark, edge = _MARK[true_RCK2.shape[2]]
    figure = Figure(figsize=(_SIDE * columns + 0.3, (_SIDE + 0.2) * rows + 0.35), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    stroke = 0.25 * mark + 0.2
    outline = [withStroke(linewidth=stroke + 2 * edge, foreground="black")]
    for row in range(rows):
        for column in range(columns):
            axis = axes[row, column]
            axis.imshow(images_RCHWC[row, column], extent=(0, size, size, 0), interpolation="bilinear")
            axis.plot(*true_RCK2[row, column].T, "o", ms=mark, color=_TRUE, mec="black", mew=edge)
            axis.plot(
                *predicted_RCK2[row, column].T,
                "x",
                ms=mark * 1.1,
                color=_PREDICTED,
                mew=stroke,
                path_effects=outline,
            )
            axis.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            axis.set_title(f"{errors_RC[row, column]:.1f} %", fontsize=9, pad=2)
        axes[row, 0].set_ylabel(row_titles[row], fontsize=11)
    legend = [
        Line2D([], [], ls="", marker="o", ms=7, color=_TRUE, mec="black", mew=0.8, label=marks[0]),
        Line2D([], [], ls="", marker="x", ms=7, color=_PREDICTED, mew=2.2, path_effects=outline, label=marks[1]),
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=10)
    return figure


ANGLES = ("roll", "pitch", "yaw")


def pose_scatter(
    true_N3: NDArray[np.floating], predicted: Mapping[str, NDArray[np.floating]], truth: str = "true"
) -> Figure:
    """One row per encoder, one column per angle, in degrees (roll, pitch, yaw); the diagonal is perfect.

    Args:
        true_N3: true angles.
        predicted: angles (N, 3) by encoder.
        truth: what the axis calls the true angles.
    """
    figure = Figure(figsize=(8.4, 2.7 * len(predicted)), layout="constrained")
    axes = figure.subplots(len(predicted), 3, squeeze=False)
    for line, (encoder, angles_N3) in zip(axes, predicted.items(), strict=True):
        for number, (axis, angle) in enumerate(zip(line, ANGLES, strict=True)):
            reach = 1.05 * float(np.abs(true_N3[:, number]).max())
            axis.plot((-reach, reach), (-reach, reach), color="grey", lw=0.8)
            axis.plot(true_N3[:, number], angles_N3[:, number], ".", ms=3, alpha=0.5, mew=0)
            error = np.abs(true_N3[:, number] - angles_N3[:, number]).mean()
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axis.set_title(f"{angle}, MAE {error:.1f}°", fontsize=9)
        line[0].set_ylabel(f"{encoder}\npredicted (degrees)", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(f"{truth} (degrees)")
    return figure


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
