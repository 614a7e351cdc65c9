"""Images in rows and columns: contact sheets, queries with their neighbours, closest pairs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


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
    figure = Figure(figsize=(columns * inches, rows * inches), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
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
    return figure


#: Okabe and Ito: safe for all kinds of colour vision.
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
        queries_NHWC: RGB crops.
        neighbours: of each query, uint8 (n, H, W, 3), n <= columns.
        same_identity: of each query, (n,).
        captions: of each query, 1 + n lines: what stands below it and below its neighbours.
        columns: neighbours in a row.
        inches: side of a crop on paper.
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
        neighbours_NHWC: RGB crops, the most similar first.
        similarities: cosines, (N,).
        names: of the neighbours.
        columns: of the sheet.
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


HEADS = ("query", "nearest of another split", "nearest of the same person")


def closest_pairs(
    images: Mapping[str, NDArray[np.uint8]],
    captions: Mapping[str, Sequence[tuple[str, str, str]]],
    inches: float = 1.25,
) -> Figure:
    """A block of rows beside each other for every way of looking, such as pixels.

    Args:
        images: by name of the way of looking: (P, 3, H, W, 3), a row for each pair: the query, its neighbour and its
            nearest frame of the same person; black where there is none.
        captions: what stands below each of them, as (P, 3) lines.
        inches: side of a frame on paper.
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
