"""Generated frames: from several sources (Fig. 4 of the paper), between two embeddings, with another's embedding."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Dark to light without turning back, also to those who see no difference between red and green.
_COLOURS = "viridis"


def confidence_panels(
    sources_NBHWC: NDArray[np.uint8],
    targets_BHWC: NDArray[np.uint8],
    generated_BHWC: NDArray[np.uint8],
    confidence_NBHW: NDArray[np.floating],
    titles: Sequence[str],
    notes_NB: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """A column per scene: the target, what was made of it, and below each source the share that it had in each pixel.

    Above a map stands its mean. Shares of all sources sum to 1.

    Args:
        sources_NBHWC: RGB frames, N for each of B scenes.
        targets_BHWC: RGB frames.
        generated_BHWC: what the network made of the sources.
        confidence_NBHW: 0 to 1.
        titles: of the scenes: what is the matter with their sources.
        notes_NB: what stands above each source, such as how it differs from the target.
    """
    sources, count = confidence_NBHW.shape[:2]
    figure = Figure(figsize=(1.35 * count + 1.2, 1.4 * (2 + 2 * sources) + 0.4), layout="constrained")
    axes = figure.subplots(2 + 2 * sources, count, squeeze=False)
    rows: list[tuple[str, NDArray]] = [("target", targets_BHWC), ("generated", generated_BHWC)]
    for number in range(sources):
        rows += [(f"source {number + 1}", sources_NBHWC[number]), ("its share", confidence_NBHW[number])]
    for line, (label, pictures) in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            shown = axis.imshow(picture, interpolation="nearest", cmap=_COLOURS, vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            if picture.ndim == 2:
                axis.set_title(f"mean {picture.mean():.2f}", fontsize=8, pad=2)
        line[0].set_ylabel(label)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8.5, fontweight="bold")
    for number, notes in enumerate(notes_NB or ()):
        for axis, note in zip(axes[2 + 2 * number], notes, strict=True):
            axis.set_title(note, fontsize=8, pad=2)
    figure.colorbar(shown, ax=axes[1:].ravel().tolist(), label="share of the source in a pixel, 0 to 1", shrink=0.5)
    return figure


#: Frame around pictures that a camera took.
_REAL = "#e69f00"


def interpolation_panels(
    sources_NHWC: NDArray[np.uint8],
    ends_2NHWC: NDArray[np.uint8],
    steps_SNHWC: NDArray[np.uint8],
    shares_S: Sequence[float],
) -> Figure:
    """A row per scene: the source, frame a, the source warped with embeddings from a's to b's, and frame b.

    Frames that a camera took are framed in orange; what stands between a and b is generated, all of it from the source.

    Args:
        sources_NHWC: RGB frames, one for each scene.
        ends_2NHWC: frames a and b.
        steps_SNHWC: generated frames.
        shares_S: how much of b's embedding is in that of a step, from 0 to 1.
    """
    count, steps = len(sources_NHWC), len(steps_SNHWC)
    figure = Figure(figsize=(1.25 * (steps + 3) + 0.2, 1.3 * count + 0.75), layout="constrained")
    axes = figure.subplots(count, steps + 3, squeeze=False)
    columns = [("source", sources_NHWC), ("frame a", ends_2NHWC[0])]
    columns += [(f"{share:.2f}", step) for share, step in zip(shares_S, steps_SNHWC, strict=True)]
    columns += [("frame b", ends_2NHWC[1])]
    for number, (name, pictures) in enumerate(columns):
        for axis, picture in zip(axes[:, number], pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            real = number in (0, 1, steps + 2)
            axis.spines[:].set(visible=real, color=_REAL, linewidth=2.5)
        axes[0, number].set_title(name, fontsize=9)
    figure.supxlabel("share of b's embedding in the target embedding; the pixels are the source's", fontsize=9)
    return figure


def transfer_grid(
    sources_SHWC: NDArray[np.uint8], driving_THWC: NDArray[np.uint8], made_STHWC: NDArray[np.uint8]
) -> Figure:
    """Driving frames above, sources on the left, and in each cell the source warped with the driving embedding.

    Frames that a camera took are framed in orange.

    Args:
        sources_SHWC: S frames, RGB.
        driving_THWC: T frames, RGB.
        made_STHWC: the generated frame of each source and driving frame.
    """
    rows, columns = len(sources_SHWC), len(driving_THWC)
    figure = Figure(figsize=(1.25 * (columns + 1) + 0.4, 1.25 * (rows + 1) + 0.3), layout="constrained")
    axes = figure.subplots(rows + 1, columns + 1, squeeze=False)
    axes[0, 0].axis("off")
    cells = [(axes[0, column + 1], driving_THWC[column], True) for column in range(columns)]
    for row in range(rows):
        cells.append((axes[row + 1, 0], sources_SHWC[row], True))
        cells += [(axes[row + 1, column + 1], made_STHWC[row, column], False) for column in range(columns)]
    for axis, picture, real in cells:
        axis.imshow(picture, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=real, color=_REAL, linewidth=2.5)
    for column in range(columns):
        axes[0, column + 1].set_title(f"driving {column + 1}", fontsize=9)
    for row in range(rows):
        axes[row + 1, 0].set_ylabel(f"source {row + 1}", fontsize=9)
    return figure
