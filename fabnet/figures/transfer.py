"""One person's face moved as another's: attributes carried over by the embedding alone."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_REAL = "#e69f00"


def transfer_grid(
    sources_SHWC: NDArray[np.uint8], driving_THWC: NDArray[np.uint8], made_STHWC: NDArray[np.uint8]
) -> Figure:
    """Driving frames above, sources on the left, and in each cell the source warped with the driving embedding.

    Frames that a camera took are framed in orange.
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
