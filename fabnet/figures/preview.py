"""A contact sheet of a clip: frames with the boxes of every track, and each track's crops as a network sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from fabnet.errors import counted

# Apart in hue and in lightness, readable on skin and on white.
COLOURS = ("#ff7f0e", "#1f9bff", "#2ecc40", "#e6399b", "#b98cff", "#00c8c8", "#c0a000", "#8c564b", "#3f51b5", "#708090")
_BAD = "#c62828"

# Inches.
_WIDTH, _MARGIN, _GAP = 12.0, 0.3, 0.08
_NARROW = 5.2, 7.2  # a sheet of one or two frames, which would be larger than they are in a wide one
_TITLE, _LINE, _HEADING = 0.34, 0.2, 0.36
_LABEL, _CROP, _CROP_TIME = 1.6, (0.8, 2.0), 0.17
_TALLEST = 4.5  # a frame
# Letters that fit into an inch of a line, and of the title.
_LETTERS, _TITLE_LETTERS = 14, 8


@dataclass(frozen=True)
class ShownFrame:
    """A frame, uint8 (H, W, 3), and (track number, left, top, right, bottom) of the boxes in it, in its own pixels."""

    time_s: float
    image: NDArray[np.uint8]
    boxes: Sequence[tuple[int, float, float, float, float]]


@dataclass(frozen=True)
class ShownTrack:
    """Some crops of a track with their times.

    Attributes:
        faces: how many crops the track has in all.
        rejected: why it will not be used; empty where it will.
    """

    number: int
    faces: int
    first_s: float
    last_s: float
    crops: Sequence[tuple[float, NDArray[np.uint8]]]
    rejected: str = ""


def preview_sheet(
    title: str,
    lines: Sequence[str],
    problem: str,
    frames: Sequence[ShownFrame],
    tracks: Sequence[ShownTrack],
    more_tracks: int = 0,
) -> Figure:
    """The sheet.

    Args:
        title: of the sheet: the clip's name.
        lines: what else to say of the clip, below the title.
        problem: why the whole clip is rejected; empty where it is not.
        frames: with their boxes.
        tracks: with their crops.
        more_tracks: how many there are beyond those shown.
    """
    width = _WIDTH
    columns, cell = _frame_cells(frames, width if len(frames) > 2 else _NARROW[1])
    if len(frames) < 3:
        width = max(_NARROW[0], 2 * _MARGIN + columns * (cell[0] + _GAP) - _GAP)
    letters = int(_LETTERS * (width - 2 * _MARGIN))
    lines = [part for line in lines for part in _wrapped(line, letters)]
    problems = _wrapped(f"rejected: {problem}", letters) if problem else []
    crop = _crop_side(tracks, width)
    rows = -(-len(frames) // columns) if frames else 0
    height = (
        2 * _MARGIN
        + _TITLE
        + _LINE * (len(lines) + len(problems))
        + (_HEADING + rows * (cell[1] + _GAP) if frames else 0)
        + (_HEADING + len(tracks) * (crop + _CROP_TIME + _GAP) if tracks else 0)
        + (_LINE if more_tracks else 0)
    )
    page = _Page(width, height)
    fits = _TITLE_LETTERS * (width - 2 * _MARGIN)
    page.text(title, 14 * min(1.0, fits / max(len(title), 1)), _TITLE, weight="bold")
    for line in lines:
        page.text(line, 9, _LINE, color="#555555")
    for line in problems:
        page.text(line, 10, _LINE, color=_BAD, weight="bold")
    if frames:
        page.text(f"{counted(len(frames), 'sampled frame')}, boxes coloured by track", 10, _HEADING, low=True)
        for first in range(0, len(frames), columns):
            for column, frame in enumerate(frames[first : first + columns]):
                _draw_frame(page, _MARGIN + column * (cell[0] + _GAP), cell, frame)
            page.down(cell[1] + _GAP)
    if tracks:
        page.text("crops, as the network will see them", 10, _HEADING, low=True)
        for track in tracks:
            _draw_track(page, track, crop)
            page.down(crop + _CROP_TIME + _GAP)
    if more_tracks:
        page.text(f"and {counted(more_tracks, 'more track')} with fewer faces", 9, _LINE, color="#555555")
    return page.figure


class _Page:
    """A figure that is filled from the top; `at` is how far, in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height))
        self.width, self.height, self.at = width, height, _MARGIN

    def down(self, inches: float) -> None:
        self.at += inches

    def text(self, text: str, size: float, height: float, low: bool = False, **style: Any) -> None:
        """A line of `height`, its text at the bottom if `low`, for a heading."""
        base = self.at + (height - 0.08 if low else height * 0.7)
        # A file's name is no formula, whatever dollars are in it.
        self.figure.text(
            _MARGIN / self.width, 1 - base / self.height, text, fontsize=size, va="baseline", parse_math=False, **style
        )
        self.down(height)

    def image(self, image: NDArray[np.uint8], left: float, width: float, height: float, alpha: float = 1.0) -> Axes:
        """Axes with an image whose pixels span [0, W] x [0, H]."""
        place = (left / self.width, 1 - (self.at + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        tall, wide = image.shape[:2]
        axes.imshow(image, extent=(0, wide, tall, 0), interpolation="nearest", alpha=alpha, aspect="auto")
        axes.set(xlim=(0, wide), ylim=(tall, 0))
        axes.axis("off")
        return axes


def _frame_cells(frames: Sequence[ShownFrame], width: float) -> tuple[int, tuple[float, float]]:
    """Columns, and (width, height) of a frame; upright ones are smaller, so that the sheet keeps its shape."""
    if not frames:
        return 1, (0, 0)
    tall, wide = frames[0].image.shape[:2]
    aspect = tall / wide
    most = 5 if aspect < 0.8 else 7 if aspect < 1.2 else 9
    rows = -(-len(frames) // most)
    columns = -(-len(frames) // rows)
    cell = min((width - 2 * _MARGIN - (columns - 1) * _GAP) / columns, _TALLEST / aspect)
    return columns, (cell, cell * aspect)


def _crop_side(tracks: Sequence[ShownTrack], width: float) -> float:
    """Inches of a crop: as large as the track with most of them lets it be."""
    most = max((len(track.crops) for track in tracks), default=1)
    return float(np.clip((width - 2 * _MARGIN - _LABEL) / max(most, 1) - _GAP, *_CROP))


def _draw_frame(page: _Page, left: float, cell: tuple[float, float], frame: ShownFrame) -> None:
    axes = page.image(frame.image, left, *cell)
    for number, x0, y0, x1, y1 in frame.boxes:
        colour = _colour(number)
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.8))
        tag = {"facecolor": colour, "edgecolor": "none", "boxstyle": "square,pad=0.15"}
        # Inside the frame also where the box is not.
        x, y = max(x0, 0.0), max(y0, 0.0)
        axes.text(x, y, str(number), fontsize=7, color="white", weight="bold", va="top", bbox=tag, clip_on=True)
    _stamp(axes, frame.time_s, size=7)


def _draw_track(page: _Page, track: ShownTrack, side: float) -> None:
    def put(text: str, below: float, size: float, **style: Any) -> None:
        y = 1 - (page.at + below) / page.height
        page.figure.text(_MARGIN / page.width, y, text, fontsize=size, va="baseline", parse_math=False, **style)

    put(f"track {track.number}", 0.2, 11, weight="bold", color=_colour(track.number))
    put(counted(track.faces, "face"), 0.38, 8.5)
    put(f"{clock(track.first_s)} – {clock(track.last_s)}", 0.54, 8.5, color="#555555")
    if track.rejected:
        reason, _, detail = track.rejected.partition(": ")
        put(f"rejected: {reason}", 0.7, 8.5, color=_BAD, weight="bold")
        put(detail[:44], 0.83, 6, color=_BAD)
    for column, (time_s, image) in enumerate(track.crops):
        left = _MARGIN + _LABEL + column * (side + _GAP)
        axes = page.image(image, left, side, side, alpha=0.45 if track.rejected else 1.0)
        pixels = image.shape[0]
        axes.add_patch(Rectangle((0, 0), pixels, pixels, fill=False, edgecolor=_colour(track.number), linewidth=2))
        axes.text(pixels / 2, pixels * 1.03, clock(time_s), fontsize=6.5, color="#555555", ha="center", va="top")


def _stamp(axes: Axes, time_s: float, size: float) -> None:
    box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "boxstyle": "square,pad=0.2"}
    axes.text(0.02, 0.03, clock(time_s), transform=axes.transAxes, fontsize=size, color="white", va="bottom", bbox=box)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def clock(seconds: float) -> str:
    """0:07.4, 12:30.0, 1:02:03.0."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def _wrapped(line: str, letters: int) -> list[str]:
    words, lines = line.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
