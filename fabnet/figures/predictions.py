"""Predicted landmarks on their faces (Fig. 2 and 3 of the paper), and predicted against true head pose."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
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
) -> Figure:
    """Faces in rows, such as the best, the median and the worst ones, with true and predicted landmarks.

    Args:
        true_RCK2, predicted_RCK2: pixels of the crop, the first pixel's centre at 0.5; K landmarks, 5 or 68.
        errors_RC: mean error of each face in percent of the inter-ocular distance, written above it.
        row_titles: one for each row.
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
        Line2D([], [], ls="", marker="o", ms=7, color=_TRUE, mec="black", mew=0.8, label="true"),
        Line2D([], [], ls="", marker="x", ms=7, color=_PREDICTED, mew=2.2, path_effects=outline, label="predicted"),
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=10)
    return figure


ANGLES = ("roll", "pitch", "yaw")


def pose_scatter(true_N3: NDArray[np.floating], predicted: Mapping[str, NDArray[np.floating]]) -> Figure:
    """One row per encoder, one column per angle, in degrees (roll, pitch, yaw); the diagonal is perfect.

    Args:
        true_N3: true angles.
        predicted: angles (N, 3) by encoder.
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
        axis.set_xlabel("true (degrees)")
    return figure
