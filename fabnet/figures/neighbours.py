"""The faces of a gallery that are most like one face."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def neighbour_sheet(
    crop: NDArray[np.uint8],
    neighbours_NHWC: NDArray[np.uint8],
    similarities: NDArray[np.floating],
    names: Sequence[str],
    columns: int = 3,
) -> Figure:
    """The face itself, framed, then its neighbours, the most similar first, with name and cosine similarity.

    Args:
        crop: uint8 (H, W, 3); the neighbours are of the same size.
    """
    images = [crop, *neighbours_NHWC]
    titles = ["this face", *(f"{value:.3f}" for value in similarities)]
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.35 * columns, 1.72 * rows), layout="constrained", dpi=130)
    for axes in figure.subplots(rows, columns, squeeze=False).ravel():
        axes.axis("off")
    for axes, image, title, name in zip(figure.axes, images, titles, ["", *names], strict=False):
        axes.axis("on")
        axes.imshow(image, interpolation="bilinear")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9, pad=3)
        # A name of the gallery is no formula, whatever dollars are in it.
        axes.set_xlabel(name if len(name) <= 20 else f"…{name[-19:]}", fontsize=7, parse_math=False, labelpad=2)
        axes.spines[:].set(visible=image is crop, color="#ff7f0e", linewidth=2.5)
    return figure
