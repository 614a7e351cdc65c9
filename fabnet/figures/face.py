"""One face: where it was found, and what probes read from it: landmarks, pose, action units, expression."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from fabnet.figures.probes import ANGLES

_BOX, _POINT = "#ff7f0e", "#00e05a"
#: To the image's right, up, and out of the face.
_AXES = {"x": "#ff4136", "y": "#2ecc40", "z": "#3d8bff"}
_DPI = 130  # for a browser, and fine screens

#: The 68 points of iBUG as lines: first, last, and whether the line returns to its first point.
_LINES = (
    (0, 17, False),
    (17, 22, False),
    (22, 27, False),
    (27, 31, False),
    (31, 36, False),
    (36, 42, True),
    (42, 48, True),
    (48, 60, True),
    (60, 68, True),
)


def found_face(
    frame: NDArray[np.uint8], region: NDArray[np.floating], crop: NDArray[np.uint8], title: str = "input"
) -> Figure:
    """A frame with the square that was cut out of it, and the crop as the network sees it.

    Args:
        frame, crop: uint8 (H, W, 3).
        region: left, top, right, bottom in pixels of `frame`, (4,).
        title: above the frame.
    """
    height, width = frame.shape[:2]
    ratio = float(np.clip(width / height, 0.5, 2.0))
    figure = Figure(figsize=(1.3 * (1 + ratio) * 1.4, 2.1), layout="constrained", dpi=_DPI)
    whole, cut = figure.subplots(1, 2, width_ratios=[ratio, 1])
    _show(whole, frame)
    left, top, right, bottom = np.asarray(region).tolist()
    whole.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=_BOX, linewidth=2.5))
    # The square may leave the frame.
    whole.set(xlim=(min(0, left), max(width, right)), ylim=(max(height, bottom), min(0, top)))
    whole.set_title(title, fontsize=9)
    _show(cut, crop, smooth=False)
    cut.set_title(f"crop, {crop.shape[1]} × {crop.shape[0]} px", fontsize=9)
    return figure


def face_readings(
    crop: NDArray[np.uint8],
    landmarks_K2: NDArray[np.floating] | None = None,
    angles_deg: NDArray[np.floating] | None = None,
) -> Figure:
    """A crop with its landmarks, 68 of them joined by lines, and the axes of its head.

    Args:
        crop: uint8 (H, W, 3).
        landmarks_K2: pixels of the crop, the first pixel's centre at 0.5.
        angles_deg: roll, pitch and yaw, (3,).
    """
    figure = Figure(figsize=(3.6, 3.9 if angles_deg is not None else 3.6), layout="constrained", dpi=_DPI)
    axes = figure.subplots()
    _show(axes, crop)
    height, width = crop.shape[:2]
    centre = np.array([width / 2, height / 2])
    if landmarks_K2 is not None:
        _draw_landmarks(axes, landmarks_K2)
        if len(landmarks_K2) == 68:
            centre = np.asarray(landmarks_K2)[30]  # the tip of the nose
    if angles_deg is not None:
        _draw_axes(axes, centre, angles_deg, 0.3 * width)
        text = "    ".join(f"{name} {angle:+.0f}°" for name, angle in zip(ANGLES, angles_deg, strict=True))
        axes.set_title(text, fontsize=10)
    return figure


def head_axes(angles_deg: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where the head's axes point: rows x (to the image's right), y (up) and z (out of the face) of (3, 3).

    Columns are the image's right, up, and towards the camera. Roll comes after yaw after pitch. A positive roll is
    clockwise in the image, a positive pitch looks up, a positive yaw to the image's right.

    Args:
        angles_deg: roll, pitch and yaw, (3,).
    """
    roll, pitch, yaw = np.radians(np.asarray(angles_deg, np.float64))
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    tilt = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    axes: NDArray[np.float64] = (tilt @ turn @ nod).T
    return axes


def _draw_landmarks(axes: Axes, points_K2: NDArray[np.floating]) -> None:
    if len(points_K2) == 68:
        for first, end, closed in _LINES:
            line = points_K2[[*range(first, end), *([first] if closed else [])]]
            axes.plot(*line.T, color=_POINT, linewidth=1.2, alpha=0.8)
    axes.plot(*points_K2.T, ".", ms=5 if len(points_K2) == 68 else 10, color=_POINT, mec="black", mew=0.4)


def _draw_axes(axes: Axes, centre: NDArray[np.floating], angles_deg: NDArray[np.floating], length: float) -> None:
    directions = head_axes(angles_deg)
    # The nearest to the camera is drawn last.
    for number in np.argsort(directions[:, 2]):
        name, colour = list(_AXES.items())[number]
        tip = centre + length * directions[number, :2] * (1, -1)
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.4, "shrinkA": 0, "shrinkB": 0}
        drawn = axes.annotate("", xy=tuple(tip), xytext=tuple(centre), arrowprops=arrow, annotation_clip=False)
        x, y = tip + 0.03 * (tip - centre) + (0.4, -0.4)
        named = axes.text(x, y, name, color=colour, fontsize=11, weight="bold")
        named.set_path_effects([withStroke(linewidth=2, foreground="white")])
        # They may point beyond the crop, which is not to shrink for them.
        drawn.set_in_layout(False)
        named.set_in_layout(False)


def _show(axes: Axes, image: NDArray[np.uint8], smooth: bool = True) -> None:
    """An image whose pixels span [0, W] x [0, H]."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation="bilinear" if smooth else "nearest")
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axes.spines[:].set_visible(False)


_PLAIN, _STRONG = "#9db7d5", "#1f5fa8"

#: What the facial action coding system calls the units.
UNIT_NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    9: "nose wrinkler",
    12: "lip corner puller",
    17: "chin raiser",
    20: "lip stretcher",
    25: "lips part",
    26: "jaw drop",
}


def unit_bars(units: Sequence[int], values: NDArray[np.floating]) -> Figure:
    """Action units by their numbers, each from 0 (absent) to 1; those of 0.5 and more are darker.

    Args:
        units: their numbers in FACS.
        values: as many, 0 to 1.
    """
    names = [f"{UNIT_NAMES[unit]}  AU{unit:02d}" if unit in UNIT_NAMES else f"AU{unit:02d}" for unit in units]
    return _bars(names, values, np.asarray(values) >= 0.5, "0: absent … 1: present")


def expression_bars(names: Sequence[str], values: NDArray[np.floating]) -> Figure:
    """Probabilities of expressions, which sum to 1; the most likely one is darker.

    Args:
        names: of the expressions.
        values: as many, 0 to 1.
    """
    return _bars(names, values, np.arange(len(values)) == int(np.argmax(values)), "probability")


def _bars(names: Sequence[str], values: NDArray[np.floating], strong: NDArray[np.bool_], label: str) -> Figure:
    """The first name at the top."""
    figure = Figure(figsize=(3.9, 0.75 + 0.29 * len(names)), layout="constrained", dpi=130)
    axes = figure.subplots()
    places = np.arange(len(names))
    axes.barh(places, np.ones(len(names)), color="#eef1f5", height=0.72)
    axes.barh(places, values, color=[_STRONG if each else _PLAIN for each in strong], height=0.72)
    for place, value in zip(places.tolist(), values, strict=True):
        axes.text(1.02, place, f"{value:.2f}", fontsize=9, va="center")
    axes.set_yticks(places, names, fontsize=10)
    axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"), fontsize=8)
    axes.set_xlabel(label, fontsize=9)
    axes.set(xlim=(0, 1.12), ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    return figure
