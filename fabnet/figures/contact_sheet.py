"""A contact sheet: images in rows, landmarks drawn on some of them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def contact_sheet(
    images: np.ndarray,
    landmarks: np.ndarray | None = None,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    inches: float = 1.1,
) -> Figure:
    """Lay images out in a grid.

    Args:
        images: uint8 (rows, columns, height, width, 3).
        landmarks: (rows, columns, points, 2) in continuous pixels of each image; NaN where none are to be drawn.
        row_titles, column_titles: none, or one per row or column.
        inches: side of an image on the sheet.
    """
    rows, columns, height, width, _ = images.shape
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * inches, rows * inches), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    for row in range(rows):
        for column in range(columns):
            axis = axes[row, column]
            # The image spans [0, width] x [0, height]: pixel centres lie at integer + 0.5.
            axis.imshow(images[row, column], extent=(0, width, height, 0), interpolation="nearest")
            axis.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
            axis.spines[:].set_visible(False)
            if landmarks is not None and np.isfinite(landmarks[row, column]).all():
                x, y = landmarks[row, column].T
                axis.scatter(x, y, s=1.5, color="lime", linewidths=0)
    for axis, title in zip(axes[:, 0], row_titles, strict=False):
        axis.set_ylabel(title, fontsize=6)
    for axis, title in zip(axes[0], column_titles, strict=False):
        axis.set_title(title, fontsize=6, pad=2)
    plt.close(figure)  # the caller holds it; pyplot need not
    return figure
