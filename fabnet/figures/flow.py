"""What the decoder does with two embeddings: source, target, generated frame, and the flow as colours and as arrows.

A flow tells where each pixel of the result is fetched from in the source, so content moves against the arrows.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# A plane through the middle of Oklab (Ottosson 2020): to the right is yellow and to the left blue; up is light and
# greenish, down dark and reddish. Who does not see the difference between red and green still sees light and dark.
_MIDDLE = np.array([0.74, 0.0, 0.0])
_RIGHT = np.array([0.0, 0.01, 0.14])
_DOWN = np.array([-0.22, 0.12, 0.0])
_LMS = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]])
_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
_ARROW = "#101010"


def offsets(flow_2HW: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far from each pixel it is fetched, in pixels to the right and down, (2, H, W); never beyond the frame.

    Args:
        flow_2HW: in [-1, 1] coordinates of a square frame, whose border is repeated where they leave it.
    """
    size = flow_2HW.shape[-1]
    place = np.linspace(-1, 1, size)
    own = np.stack(np.meshgrid(place, place))
    found: NDArray[np.float64] = (np.clip(own + flow_2HW, -1, 1) - own) * (size - 1) / 2
    return found


def flow_colours(flow_2HW: NDArray[np.floating], largest: float) -> NDArray[np.float64]:
    """Offsets (to the right, down) as colours (H, W, 3) in [0, 1]: grey where nothing moves, full at `largest`.

    Args:
        flow_2HW: offsets in any unit; positive points right and down.
        largest: the length that gets the full colour, in the same unit; above 0.
    """
    towards = np.asarray(flow_2HW, dtype=float) / max(largest, 1e-9)
    towards = towards / np.maximum(np.hypot(*towards), 1)
    lab = _MIDDLE + towards[0][..., None] * _RIGHT + towards[1][..., None] * _DOWN
    linear = np.clip((lab @ _LMS.T) ** 3 @ _RGB.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def largest_of(offsets_N2HW: NDArray[np.floating]) -> float:
    """The length that gets full colour: all but one percent are shorter."""
    return float(np.quantile(np.hypot(offsets_N2HW[..., 0, :, :], offsets_N2HW[..., 1, :, :]), 0.99))


def draw_wheel(axis: Axes) -> None:
    """The legend of `flow_colours`: each direction in its colour, from the middle (no move) to the edge (largest)."""
    y, x = np.mgrid[-1:1:129j, -1:1:129j]
    axis.imshow(np.dstack((flow_colours(np.stack((x, y)), 1.0), np.hypot(x, y) <= 1)), interpolation="bilinear")
    for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        axis.annotate("", (64 + 56 * dx, 64 + 56 * dy), (64, 64), arrowprops={"arrowstyle": "->", "lw": 0.8})
    axis.axis("off")


def draw_arrows(axis: Axes, offsets_2HW: NDArray[np.floating], across: int = 8, colour: str = _ARROW) -> None:
    """Arrows from so many pixels across and down to where they are fetched from, at true length.

    Args:
        axis: with the picture that was made, H x W pixels.
        offsets_2HW: in pixels; positive points right and down.
        across: arrows along each side.
        colour: of matplotlib.
    """
    size = offsets_2HW.shape[-1]
    places = np.unique(np.round((np.arange(across) + 0.5) * size / across - 0.5).astype(int))
    x, y = np.meshgrid(places, places)
    dx, dy = offsets_2HW[:, y, x]
    axis.quiver(
        x, y, dx, dy, angles="xy", scale_units="xy", scale=1, color=colour, width=0.014, headwidth=3.6, headlength=4
    )
    axis.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))


def reconstruction_panels(
    sources_NHWC: NDArray[np.uint8],
    targets_NHWC: NDArray[np.uint8],
    generated_NHWC: NDArray[np.uint8],
    flows_N2HW: NDArray[np.floating],
    titles: Sequence[str] = (),
) -> Figure:
    """One column per pair: the source, the target, the source warped into the target, and the flow that did it.

    The flow comes as colours, whose wheel stands beside them, and as arrows over the paled target; all pairs share one
    scale. Above a generated frame stands how far the source and then it itself is from the target.

    Args:
        sources_NHWC, targets_NHWC: RGB frames.
        generated_NHWC: the sources, warped into the targets.
        flows_N2HW: offsets in [-1, 1] coordinates of the frame.
        titles: none, or one for each pair.
    """
    count, size = len(sources_NHWC), flows_N2HW.shape[-1]
    fetched = np.stack([offsets(flow) for flow in flows_N2HW])
    largest = largest_of(fetched)
    figure = Figure(figsize=(1.25 * count + 1.2, 7.0), layout="constrained")
    axes = figure.subplots(5, count + 1, squeeze=False, width_ratios=[*[1] * count, 0.8])
    colours = np.stack([flow_colours(each, largest) for each in fetched])
    # Pale, so that the arrows that are drawn on it can be seen.
    pale = (255 - (255 - targets_NHWC.astype(float)) * 0.35).astype(np.uint8)
    names = ("source", "target", "generated", "flow, colours", "flow, arrows")
    rows: tuple[NDArray, ...] = (sources_NHWC, targets_NHWC, generated_NHWC, colours, pale)
    for line, name, pictures in zip(axes, names, rows, strict=True):
        for axis, picture in zip(line[:count], pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=9)
        line[count].axis("off")
    for column in range(count):
        before, after = (difference(one[column], targets_NHWC[column]) for one in (sources_NHWC, generated_NHWC))
        axes[2, column].set_title(f"{before:.1f} → {after:.1f}", fontsize=8, pad=2)
        draw_arrows(axes[4, column], fetched[column])
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=8)
    draw_wheel(axes[3, count])
    notes = {
        2: "source → generated:\nmean difference\nto the target,\nof 255 grey levels",
        3: "fetched from there;\n" + f"edge: {largest:.1f} of {size} px",
        4: "from a pixel to\nwhere in the source\nit is fetched",
    }
    for row, note in notes.items():
        low = row == 3
        axes[row, count].text(
            0.5,
            -0.04 if low else 0.5,
            note,
            transform=axes[row, count].transAxes,
            fontsize=7.5,
            ha="center",
            va="top" if low else "center",
        )
    return figure


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels of 255.

    Args:
        one, other: pictures of the same shape.
    """
    return float(np.abs(one.astype(np.int16) - other).mean())


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
