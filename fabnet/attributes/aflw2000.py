"""AFLW2000-3D: a folder of imageNNNNN.jpg, each beside imageNNNNN.mat with its pose and 68 landmarks.

The .mat files hold angles in radians, in the order pitch, yaw, roll. Measured against the 68 landmarks, pitch > 0
faces up and roll > 0 tilts clockwise as seen in the image, as here, but yaw > 0 faces the image's LEFT, so its sign
is turned. Landmarks were made in MATLAB, whose first pixel is centred at 1; half a pixel is taken off, so that it is
centred at 0.5. All 68 are those of a fitted model, so none is invisible; the 21 of AFLW beside them, `pt2d`, which has
-1 for those that are, are not read.

The set names no subjects: every image is its own identity. It has no official split either: see splits.split_of.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.attributes.folder import Annotation, LeftOut, split_of
from fabnet.attributes.label_files import numbers, read_mat
from fabnet.config import SetParams
from fabnet.errors import UserError
from fabnet.progress import track

#: Images with an angle beyond this many degrees are left out, as is the convention for this set.
MAX_ANGLE_DEG = 99.0
#: Images that are then left.
PUBLISHED = 1969

#: The crop is a square around the landmarks, this much larger than the longer side of their bounding box ...
BOX_SCALE = 1.4
#: ... and moved up by this share of it, because the landmarks end at the brows. Chosen by eye, to show as much of a
#: head as the crops of VoxCeleb.
BOX_RISE = 0.1


def read(name: str, params: SetParams) -> Annotation:
    """The faces of AFLW2000-3D.

    Args:
        name: of the set, for lines of progress.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    images = sorted(params.path.glob("*.jpg"))
    if not images:
        raise UserError(f"{params.path}: holds no .jpg; is it the folder of AFLW2000-3D?")
    rows = [_row(image, params.seed) for image in track(images, f"{name}: reading labels", len(images), "image")]
    faces, left_out = pd.DataFrame(rows, [image.with_suffix(".mat").name for image in images]), LeftOut()
    extreme = faces[list(tables.ANGLE_COLUMNS)].abs().max(axis=1) > MAX_ANGLE_DEG
    reason = f"an angle beyond {MAX_ANGLE_DEG:.0f} degrees"
    faces = left_out.without(faces, extreme, reason, str(params.path))
    return Annotation(faces, str(params.path), params.path, left_out, {"all": PUBLISHED})


def _row(image: Path, seed: int) -> dict[str, Any]:
    angles, points = read_annotation(image.with_suffix(".mat"))
    left, top, right, bottom = face_box(points)
    return {
        "face_id": image.stem,
        "identity": image.stem,
        "split": split_of(image.stem, seed),
        "image": image.name,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
        "landmarks68": points.ravel(),
        "landmarks5": five_points(points).ravel(),
        **dict(zip(tables.ANGLE_COLUMNS, angles.tolist(), strict=True)),
    }


def read_annotation(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Roll, pitch, yaw in degrees with our signs, and 68 landmarks (68, 2) in pixels, of one .mat file.

    Raises:
        UserError: the file is absent, no MATLAB file, or lacks a key of the right shape.
    """
    values = read_mat(path, ["Pose_Para", "pt3d_68"], "AFLW2000-3D (300-W-LP has other keys)")
    pitch, yaw, roll = np.rad2deg(numbers(values, "Pose_Para", (1, 7), path)[0, :3])
    return np.array([roll, pitch, -yaw]), numbers(values, "pt3d_68", (3, 68), path)[:2].T - 0.5


def face_box(points: np.ndarray) -> tuple[float, float, float, float]:
    """The square crop box (left, top, right, bottom), in whole pixels, around landmarks (68, 2)."""
    low, high = points.min(axis=0), points.max(axis=0)
    longer = float((high - low).max())
    side = round(BOX_SCALE * longer)
    left, top = np.round((low + high) / 2 - np.array([0.0, BOX_RISE * longer]) - side / 2).tolist()
    return left, top, left + side, top + side


def five_points(points: np.ndarray) -> np.ndarray:
    """The 5 points of MAFL (5, 2) of the 68 of iBUG: both eyes (means of their contours), nose tip, mouth corners.

    The subject's right eye and mouth corner, on the left of a frontal image, come first.
    """
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])
