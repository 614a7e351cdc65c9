"""Landmarks drawn on faces."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def landmark_overlays(
    images_NHWC: NDArray[np.uint8],
    true_NK2: NDArray[np.floating],
    predicted_NK2: NDArray[np.floating],
    errors_pct: NDArray[np.floating],
    columns: int = 8,
) -> Figure:
    """Faces with true (green) and predicted (red) landmarks.

    Args:
        true_NK2, predicted_NK2: pixels of the crop, the first pixel's centre at 0.5.
        errors_pct: mean error of each face in percent of the inter-ocular distance, written above it.
    """
    rows = -(-len(images_NHWC) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.65 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    size = images_NHWC.shape[1]
    for axis, image, true, predicted, error in zip(
        axes, images_NHWC, true_NK2, predicted_NK2, errors_pct, strict=False
    ):
        axis.imshow(image, extent=(0, size, size, 0), interpolation="bilinear")
        axis.plot(*true.T, ".", ms=2.2, color="#00ff66", mew=0)
        axis.plot(*predicted.T, ".", ms=2.2, color="#ff3030", mew=0)
        axis.set(xlim=(0, size), ylim=(size, 0))
        axis.set_title(f"{error:.1f} %", fontsize=7, pad=2)
    return figure
