"""One frame moved to look like another: the pair, what came out, and the flow that did it."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet.figures.flow import difference, draw_arrows, draw_wheel, flow_colours, largest_of, offsets


def warped_pair(
    source: NDArray[np.uint8],
    target: NDArray[np.uint8],
    generated: NDArray[np.uint8],
    flow_2HW: NDArray[np.floating],
) -> Figure:
    """Source and target above, the source warped into the target and the flow below, with differences to the target.

    A colour of the flow is the direction that a pixel was fetched from, as the wheel in its corner shows, and the
    distance, the wheel's edge being the longest of this flow. Arrows lead from pixels to where they were fetched.

    Args:
        source, target, generated: uint8 (H, W, 3).
        flow_2HW: offsets in [-1, 1] coordinates of the frame.
    """
    figure = Figure(figsize=(4.4, 5.1), layout="constrained", dpi=130)
    axes = figure.subplots(2, 2)
    size = flow_2HW.shape[-1]
    fetched = offsets(flow_2HW)
    largest = largest_of(fetched)
    before, after = difference(source, target), difference(generated, target)
    pictures = (source, target, generated, flow_colours(fetched, largest))
    titles = (
        f"source\n{before:.1f} grey levels from target",
        "target\n",
        f"source, warped\n{after:.1f} grey levels from target",
        f"flow: fetched from there\nup to {largest:.1f} of {size} pixels",
    )
    for axis, picture, title in zip(axes.ravel(), pictures, titles, strict=True):
        axis.imshow(picture, interpolation="bilinear")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        name, _, detail = title.partition("\n")
        axis.set_title(name, fontsize=10, pad=15)
        axis.text(0.5, 1.02, detail, transform=axis.transAxes, fontsize=8, color="#555555", ha="center")
    draw_arrows(axes[1, 1], fetched)
    draw_wheel(axes[1, 1].inset_axes((0.76, 0.02, 0.22, 0.22)))
    return figure
