"""Queries, each beside the faces whose embeddings are most like its own (Fig. 5 of the paper)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

#: Of Okabe and Ito, told apart by all kinds of colour vision.
_QUERY, _SAME = "#0072B2", "#D55E00"


def retrieval_rows(
    queries_NHWC: NDArray[np.uint8],
    neighbours: Sequence[NDArray[np.uint8]],
    same_identity: Sequence[NDArray[np.bool_]],
    captions: Sequence[Sequence[str]],
    columns: int,
    inches: float = 1.0,
) -> Figure:
    """A row for each query, in a blue frame, then its neighbours, the nearest first.

    A neighbour who is the query's own person stands in a dashed orange frame and is named `same person`.

    Args:
        neighbours: of each query, uint8 (n, H, W, 3), n <= columns.
        same_identity: of each query, (n,).
        captions: of each query, 1 + n lines: what stands below it and below its neighbours.
        columns: neighbours in a row.
    """
    rows = len(queries_NHWC)
    lines = max((caption.count("\n") + 1 for row in captions for caption in row if caption), default=0)
    below = 0.15 * lines
    # Places are set by hand: queries stand apart from the neighbours, and rows are equally high.
    left, top, apart, pad = 0.06, 0.3, 0.14, 0.1
    width = left + (1 + columns) * (inches + pad) + apart
    height = top + rows * (inches + below + pad) + 0.28
    figure = Figure(figsize=(width, height), dpi=100)
    for row, (query, found, same) in enumerate(zip(queries_NHWC, neighbours, same_identity, strict=True)):
        bottom = height - top - (row + 1) * inches - row * (below + pad)
        for column, image in enumerate([query, *found]):
            x = left + column * (inches + pad) + (apart if column else 0)
            axes = figure.add_axes((x / width, bottom / height, inches / width, inches / height))
            axes.imshow(image, interpolation="bilinear")
            axes.set(xticks=[], yticks=[])
            # A name in a label is no formula, whatever dollars are in it.
            axes.set_xlabel(captions[row][column], fontsize=8, labelpad=2, parse_math=False)
            if column == 0:
                axes.spines[:].set(color=_QUERY, linewidth=2.5)
            elif same[column - 1]:
                axes.spines[:].set(color=_SAME, linewidth=2.5, linestyle=(0, (3, 1.5)))
            else:
                axes.spines[:].set_visible(False)
            if row == 0:
                title = "query" if column == 0 else "nearest" if column == 1 else f"{column}."
                axes.set_title(title, fontsize=9, pad=4)
    note = "blue frame: the query      dashed orange frame: the query's own person"
    figure.text(0.5, 0.06 / height, note, fontsize=8, ha="center", va="bottom")
    return figure
