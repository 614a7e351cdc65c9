"""One frame moved to look like another: the pair, what came out, and the flow that did it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet.figures.flow import flow_colours


def warped_pair(
    source: NDArray[np.uint8],
    target: NDArray[np.uint8],
    generated: NDArray[np.uint8],
    flow_2HW: NDArray[np.floating],
) -> Figure:
    """Source and target above, the source warped into the target and the flow below, with differences to the target.

    A colour of the flow is the direction that a pixel was fetched from, as the wheel in its corner shows; its
    saturation is the distance, the wheel's edge being the longest of this flow.

    Args:
        source, target, generated: uint8 (H, W, 3).
        flow_2HW: offsets in [-1, 1] coordinates of the frame.
    """
    figure = Figure(figsize=(4.4, 5.1), layout="constrained", dpi=130)
    axes = figure.subplots(2, 2)
    size = flow_2HW.shape[-1]
    largest = float(np.quantile(np.hypot(*flow_2HW), 0.99))
    before, after = _difference(source, target), _difference(generated, target)
    pictures = (source, target, generated, flow_colours(flow_2HW, largest))
    titles = (
        f"source\n{before:.1f} grey levels from target",
        "target\n",
        f"source, warped\n{after:.1f} grey levels from target",
        f"flow\nup to {largest * (size - 1) / 2:.1f} of {size} pixels",
    )
    for axis, picture, title in zip(axes.ravel(), pictures, titles, strict=True):
        axis.imshow(picture, interpolation="bilinear")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        name, _, detail = title.partition("\n")
        axis.set_title(name, fontsize=10, pad=15)
        axis.text(0.5, 1.02, detail, transform=axis.transAxes, fontsize=8, color="#555555", ha="center")
    _draw_wheel(axes[1, 1].inset_axes((0.76, 0.02, 0.22, 0.22)))
    return figure


def _draw_wheel(axis: Axes) -> None:
    y, x = np.mgrid[-1:1:65j, -1:1:65j]
    wheel = np.dstack((flow_colours(np.stack((x, y)), 1.0), np.hypot(x, y) <= 1))
    axis.imshow(wheel)
    axis.axis("off")


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels of 255."""
    return float(np.abs(one.astype(np.int16) - other).mean())
