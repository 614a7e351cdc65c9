"""Which of several sources the network trusts where (Fig. 4 of the paper)."""

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
