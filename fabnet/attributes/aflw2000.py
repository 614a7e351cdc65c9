"""AFLW2000-3D: a folder of imageNNNNN.jpg, each beside imageNNNNN.mat with its pose and 68 landmarks.

The .mat files hold angles in radians, in the order pitch, yaw, roll. Measured against the 68 landmarks, pitch > 0
faces up and roll > 0 tilts clockwise as seen in the image, as here, but yaw > 0 faces the image's LEFT, so its sign
is turned. Landmarks were made in MATLAB, whose first pixel is centred at 1; half a pixel is taken off, so that it is
centred at 0.5.

The set names no subjects: every image is its own identity. It has no official split either: a hash of the image's
name and the seed puts 60 % of the images into train, 15 % into validation and 25 % into test, whatever other images
there are.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io

from fabnet import tables
from fabnet.attributes.crops import crop_box, decode_jpeg
from fabnet.attributes.tasks import LANDMARKS5, LANDMARKS68, POSE, Task
from fabnet.config import SetParams
from fabnet.errors import UserError
from fabnet.progress import track

#: Images with an angle beyond this many degrees are left out, as is the convention for this set.
MAX_ANGLE_DEG = 99.0

#: The crop is a square around the landmarks, this much larger than the longer side of their bounding box ...
BOX_SCALE = 1.4
#: ... and moved up by this share of it, because the landmarks end at the brows. Chosen by eye, to show as much of a
#: head as the crops of VoxCeleb.
BOX_RISE = 0.1


class Aflw2000:
    """Reader of AFLW2000-3D."""

    tasks: tuple[Task, ...] = (LANDMARKS68, LANDMARKS5, POSE)

    def __init__(self, name: str, params: SetParams) -> None:
        self.name = name
        self.path = params.path
        self.seed = params.seed
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such folder; put AFLW2000-3D there or correct sets.{name}.path")

    def table(self) -> pd.DataFrame:
        return self._table

    def crop(self, row: Any, size: int) -> np.ndarray:
        path = self.path / row.image
        return crop_box(decode_jpeg(path.read_bytes(), path), row, size)

    @cached_property
    def _table(self) -> pd.DataFrame:
        images = sorted(self.path.glob("*.jpg"))
        if not images:
            raise UserError(f"{self.path}: holds no .jpg; is it the folder of AFLW2000-3D?")
        rows = [self._row(image) for image in track(images, f"{self.name}: reading labels", len(images), "image")]
        kept = [row for row in rows if max(abs(row[column]) for column in tables.ANGLE_COLUMNS) <= MAX_ANGLE_DEG]
        if not kept:
            raise UserError(f"{self.path}: every image has an angle beyond {MAX_ANGLE_DEG:.0f} degrees")
        return tables.check(pd.DataFrame(kept), tables.Labels, str(self.path))

    def _row(self, image: Path) -> dict[str, Any]:
        angles, points = read_annotation(image.with_suffix(".mat"))
        left, top, right, bottom = face_box(points)
        return {
            "face_id": image.stem,
            "identity": image.stem,
            "split": split_of(image.stem, self.seed),
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
    if not path.is_file():
        raise UserError(f"{path}: no such file, but the image beside it exists")
    try:
        values = scipy.io.loadmat(path, variable_names=["Pose_Para", "pt3d_68"])
    except Exception as error:  # SciPy meets damaged files with anything from IndexError to zlib.error
        raise UserError(f"{path}: not a readable .mat file: {' '.join(str(error).split())[:100]}") from None
    pose = _numbers(values, "Pose_Para", (1, 7), path)
    points = _numbers(values, "pt3d_68", (3, 68), path)
    pitch, yaw, roll = np.rad2deg(pose[0, :3])
    return np.array([roll, pitch, -yaw]), points[:2].T - 0.5


def _numbers(values: dict[str, Any], key: str, shape: tuple[int, int], path: Path) -> np.ndarray:
    if key not in values:
        raise UserError(f"{path}: has no {key}; is it a file of AFLW2000-3D? (300-W-LP has other keys)")
    array = np.asarray(values[key])
    if array.shape != shape or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise UserError(
            f"{path}: {key} must be {shape[0]} x {shape[1]} finite numbers, not {array.shape} {array.dtype}"
        )
    return array.astype(np.float64)


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


def split_of(name: str, seed: int) -> str:
    """The split of an image: a function of its name and the seed only."""
    share = int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) / 2**32
    return "train" if share < 0.60 else "validation" if share < 0.75 else "test"
