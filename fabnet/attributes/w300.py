"""300-W: the folders of afw, helen, lfpw and ibug, an image beside its .pts file with 68 landmarks.

Training is all of afw and the training parts of helen and lfpw (3,148 images). `subset` chooses the test images: full
(689), or its parts common (the test parts of helen and lfpw, 554) and challenging (ibug, 135).

Coordinates were made in MATLAB, whose first pixel is centred at 1; half a pixel is taken off, so that it is centred at
0.5.

The crop is a box enlarged by 10 % of its side on each side, made square by its longer side, so that errors mean the
same along x and y. The box is the one in `boxes` where given, such as a detector's; else it is that of the landmarks.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from fabnet.attributes.boxes import BOX, read_boxes, squares
from fabnet.attributes.folder import Annotation, LeftOut, without_suffix
from fabnet.config import SetParams
from fabnet.errors import UserError, counted
from fabnet.progress import track

TRAIN = ("afw", "helen/trainset", "lfpw/trainset")
TEST = {"common": ("helen/testset", "lfpw/testset"), "challenging": ("ibug",)}
TEST["full"] = TEST["common"] + TEST["challenging"]
PUBLISHED_TRAIN = 3148
PUBLISHED_TEST = {"full": 689, "common": 554, "challenging": 135}

#: A box grows by this share of its sides on each side.
MARGIN = 0.1

_SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")


def read(name: str, params: SetParams) -> Annotation:
    """The faces of 300-W.

    Args:
        name: of the set, for lines of progress.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    files = [
        (split, path)
        for split, folders in (("train", TRAIN), ("test", TEST[params.subset]))
        for folder in folders
        for path in _annotations(params.path / folder)
    ]
    left_out, rows, places, points = LeftOut(), [], [], []
    for split, path in track(files, f"{name}: reading labels", len(files), "file"):
        image = next((found for suffix in _SUFFIXES if (found := path.with_suffix(suffix)).is_file()), None)
        if image is None:
            left_out.add("no image beside the .pts file", str(path))
            continue
        rows.append((split, image.relative_to(params.path).as_posix()))
        places.append(path.relative_to(params.path).as_posix())
        points.append(read_pts(path))
    faces = pd.DataFrame(rows, pd.Index(places, dtype="str"), columns=["split", "image"]).astype("str")
    faces["face_id"] = faces["identity"] = without_suffix(faces["image"])
    faces = faces.assign(landmarks68=list(np.array(points).reshape(-1, 136)))
    if params.boxes is None:
        around = np.array([[*each.min(axis=0), *each.max(axis=0)] for each in points]).reshape(-1, 4)
        boxes = pd.DataFrame(around, faces.index, BOX)
    else:
        boxes = read_boxes(params.path / params.boxes, faces["image"])
    faces = left_out.without(
        faces.join(squares(boxes, MARGIN)), boxes.isna().any(axis=1), f"no box in {params.boxes}", str(params.path)
    )
    published = {"train": PUBLISHED_TRAIN, "test": PUBLISHED_TEST[params.subset]}
    return Annotation(faces, str(params.path), params.path, left_out, published)


def read_pts(path: Path) -> np.ndarray:
    """The landmarks (68, 2) of a .pts file, in pixels, the first pixel being centred at 0.5.

    With a header (`version:`, `n_points:`, braces) or without: then the file is 68 lines of two numbers.

    Raises:
        UserError: anything else; names file and line.
    """
    found: list[tuple[float, float]] = []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from None
    inside = not (lines and lines[0].lower().startswith("version"))
    headed, closed = not inside, False
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if not inside:
            if fields == ["{"]:
                inside = True
            elif fields[0] == "n_points:" and fields[1:] != ["68"]:
                raise UserError(f"{path}, line {number}: must be `n_points: 68`, not {line.strip()!r}")
            elif fields[0] not in ("version:", "n_points:"):
                raise UserError(f"{path}, line {number}: must be of the header, not {line.strip()[:40]!r}")
        elif fields == ["}"] and headed and not closed:
            closed = True
        elif closed:
            raise UserError(f"{path}, line {number}: follows the closing brace")
        else:
            found.append(_point(fields, path, number))
    if len(found) != 68 or headed != closed:
        raise UserError(
            f"{path}, line {len(lines)}: ends with {counted(len(found), 'point')}, not 68{' and a brace' * headed}"
        )
    return np.array(found) - 0.5


def _annotations(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; 300-W is made of afw, helen, lfpw and ibug")
    files = sorted(folder.glob("*.pts"))
    if not files:
        raise UserError(f"{folder}: holds no .pts file")
    return files


def _point(fields: list[str], path: Path, number: int) -> tuple[float, float]:
    try:
        x, y = (float(field) for field in fields)
    except ValueError:
        x = y = float("nan")
    if not np.isfinite([x, y]).all():
        raise UserError(f"{path}, line {number}: must be two numbers, not {' '.join(fields)[:40]!r}")
    return x, y
