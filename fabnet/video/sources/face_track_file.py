"""The face-track files of VoxCeleb1 (pixels) and VoxCeleb2 (fractions of the frame): one track each, at 25 fps."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fabnet.errors import TableError
from fabnet.video.sources.text_tables import text_lines

FPS = 25  # of the frames' numbers, whatever the video's own rate
FIRST_ROW = 8  # line of the first box

_HEADER = (
    re.compile(r"Identity\s*:\s*(\S+)\s*"),
    re.compile(r"Reference\s*:\s*(\S+)\s*"),
    re.compile(r"Offset\s*:\s*([-+]?[0-9]+)\s*"),
    re.compile(r"FV Conf\s*:\s*([-+0-9.eE]+|nan)(\s+\([0-9]+\))?\s*"),
    re.compile(r"ASD Conf\s*:\s*([-+0-9.eE]+|nan)\s*"),
    re.compile(r"\s*"),
    re.compile(r"FRAME\s+X\s+Y\s+W\s+H\s*"),
)
_EXPECTED = (
    "Identity : <id>",
    "Reference : <video>",
    "Offset : <frames>",
    "FV Conf : <number>",
    "ASD Conf : <number>",
    "an empty line",
    "FRAME X Y W H",
)
_NUMBER = r"([-+]?[0-9]{1,7}(?:\.[0-9]{0,9})?)"
_ROW = re.compile(rf"\s*([0-9]{{1,9}})\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*", re.ASCII)

# Boxes leave the frame, but no face is many frames wide.
_LARGEST_FRACTION = 10

Unit = Literal["pixels", "fractions"]
SOURCE_OF: dict[Unit, str] = {"pixels": "voxceleb1", "fractions": "voxceleb2_txt"}


@dataclass(frozen=True)
class FaceTrackFile:
    """Content of a file.

    Attributes:
        rows: float64 (N, 5): time_s, left, top, right, bottom, by increasing time; pixels of the reference frame, or
            fractions of the width and height.
    """

    identity: str
    video: str
    unit: Unit
    rows: NDArray[np.float64]


def read_face_track(path: Path, unit: Unit) -> FaceTrackFile:
    """Read a face-track file whose boxes are in `unit`.

    Args:
        path: of the file.
        unit: pixels of the frame, or fractions of it.

    Raises:
        TableError: names the file and the line that is missing or wrong, or whose boxes are in the other unit.
    """
    head: list[str] = []
    rows: list[tuple[float, ...]] = []
    lines: list[str] = []
    number = 0
    for number, line in text_lines(path):
        if number <= len(_HEADER):
            match = _HEADER[number - 1].fullmatch(line)
            if match is None:
                raise _unexpected(path, number, _EXPECTED[number - 1], line)
            head.append(match[1] if match.re.groups else "")
            continue
        match = _ROW.fullmatch(line)
        if match is None:
            raise _unexpected(path, number, "a frame's number and X Y W H", line)
        lines.append(line)
        rows.append(tuple(map(float, match.groups())))
    if not rows:
        raise TableError(f"{path}: line {number + 1}: is missing; a face-track file has 7 lines and then its boxes")
    numbers = np.array(rows)
    _check_unit(path, unit, lines, numbers[:, 1:])
    frames, corners, sizes = numbers[:, 0], numbers[:, 1:3], numbers[:, 3:]
    _check(path, sizes.min(axis=1) > 0, "a box without width or height")
    _check(path, np.diff(frames, prepend=-1) > 0, "a frame's number that is not above the one before")
    return FaceTrackFile(head[0], head[1], unit, np.column_stack([frames / FPS, corners, corners + sizes]))


def _check_unit(path: Path, unit: Unit, lines: list[str], boxes: NDArray[np.float64]) -> None:
    """Pixels are whole numbers; fractions have a point, unless they are 0 or 1."""
    points = np.array([line.count(".") for line in lines])
    if unit == "pixels":
        found: Unit = "fractions"
        good = (points == 0) & bool(points.any() or boxes.max() > 1)
    else:
        found = "pixels"
        good = (np.abs(boxes) <= _LARGEST_FRACTION).all(axis=1) & ((points > 0) | (boxes <= 1).all(axis=1))
    _check(
        path,
        good,
        f"{found}, but extract.source {SOURCE_OF[unit]} reads {unit}; {SOURCE_OF[found]} reads {found}",
    )


def _check(path: Path, good: NDArray[np.bool_], problem: str) -> None:
    if not good.all():
        raise TableError(f"{path}: line {FIRST_ROW + int(np.argmin(good))}: {problem}")


def _unexpected(path: Path, number: int, expected: str, line: str) -> TableError:
    return TableError(f"{path}: line {number}: expected {expected}, found {line.strip()[:60]!r}")
