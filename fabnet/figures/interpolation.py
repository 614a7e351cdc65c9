"""From one embedding to another: a frame warped by the decoder, step by step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
