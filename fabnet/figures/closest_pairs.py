"""The closest pairs of frames of different people, each beside a yardstick."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

HEADS = ("query", "nearest of another split", "nearest of the same person")


def closest_pairs(
    images: Mapping[str, NDArray[np.uint8]],
    captions: Mapping[str, Sequence[tuple[str, str, str]]],
    inches: float = 1.25,
) -> Figure:
    """A block of rows beside each other for every way of looking, such as pixels.

    Args:
        images: by name of the way of looking: (P, 3, H, W, 3), a row for each pair: the query, its neighbour and its
            yardstick; black where there is no yardstick.
        captions: what stands below each of them, as (P, 3) lines.
    """
    rows = max(len(shown) for shown in images.values())
    figure = Figure(figsize=(len(images) * (3 * inches + 0.9), rows * (inches + 0.42) + 0.5), layout="constrained")
    blocks = figure.subfigures(1, len(images), squeeze=False)[0]
    for block, (name, shown) in zip(blocks, images.items(), strict=True):
        block.suptitle(f"closest by {name}", fontsize=10, fontweight="bold")
        axes = block.subplots(rows, 3, squeeze=False)
        for axis in axes.ravel():
            axis.axis("off")
        for row, (faces, lines) in enumerate(zip(shown, captions[name], strict=True)):
            for axis, face, line in zip(axes[row], faces, lines, strict=True):
                axis.imshow(face, interpolation="bilinear")
                axis.text(0.5, -0.05, line, fontsize=7, ha="center", va="top", transform=axis.transAxes)
        for axis, head in zip(axes[0], HEADS, strict=True):
            axis.set_title(head, fontsize=7.5, pad=3)
    return figure
