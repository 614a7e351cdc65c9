"""What the decoder does with two embeddings: source, target, generated frame and flow."""

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray


def flow_colours(flow_2HW: NDArray[np.floating], largest: float) -> NDArray[np.float64]:
    """A flow as colours (H, W, 3): hue is the direction, saturation the length in units of `largest`."""
    dx, dy = flow_2HW
    hue = (np.arctan2(dy, dx) / (2 * np.pi)) % 1
    length = np.clip(np.hypot(dx, dy) / max(largest, 1e-9), 0, 1)
    colours: NDArray[np.float64] = hsv_to_rgb(np.stack((hue, length, np.ones_like(length)), axis=-1))
    return colours


def reconstruction_panels(
    sources_NHWC: NDArray[np.uint8],
    targets_NHWC: NDArray[np.uint8],
    generated_NHWC: NDArray[np.uint8],
    flows_N2HW: NDArray[np.floating],
) -> Figure:
    """One column per pair: the source, the target, the source warped into the target, and the flow that did it.

    The colour wheel beside the flows shows which direction a colour stands for; all flows share one scale.
    """
    count = len(sources_NHWC)
    largest = float(np.quantile(np.hypot(flows_N2HW[:, 0], flows_N2HW[:, 1]), 0.99))
    figure = Figure(figsize=(1.25 * count + 1.0, 5.2), layout="constrained")
    axes = figure.subplots(4, count + 1, squeeze=False, width_ratios=[*[1] * count, 0.7])
    flows = np.stack([flow_colours(flow, largest) for flow in flows_N2HW])
    titles = ("source", "target", "generated", "flow")
    rows: tuple[NDArray, ...] = (sources_NHWC, targets_NHWC, generated_NHWC, flows)
    for line, title, pictures in zip(axes, titles, rows, strict=True):
        for axis, picture in zip(line[:count], pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(title)
        line[count].axis("off")
    y, x = np.mgrid[-1:1:65j, -1:1:65j]
    wheel = flow_colours(np.stack((x, y)), 1.0)
    wheel[np.hypot(x, y) > 1] = 1
    axes[3, count].imshow(wheel)
    axes[3, count].set_title(f"{largest:.2f} of half\nthe frame", fontsize=7)
    return figure
