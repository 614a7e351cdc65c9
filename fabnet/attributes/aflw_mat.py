"""AFLWinfo_release.mat: 19 landmarks of 24,386 faces of AFLW and their split, without pose.

Boxes are left, right, top, bottom. Landmarks are all x, then all y. `mask_new` is 0 for a landmark that is invisible:
faces that lack one of the eyes' centres, the tip of the nose or a corner of the mouth are left out. Coordinates are
taken as they are, as they are those of the database. `ra` is a permutation counted from 1: its first 20,000 faces are
training, the others the test set; so a photograph of several people may be in both, and every face is its own
identity.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from fabnet.attributes.folder import BOX, Annotation
from fabnet.attributes.left_out import LeftOut
from fabnet.attributes.matlab import numbers, read_mat
from fabnet.config import SetParams
from fabnet.errors import UserError

FILE = "AFLWinfo_release.mat"
TRAIN, FACES = 20_000, 24_386

#: The five points among the 19: eyes, nose, corners of the mouth.
FIVE_POINTS = (7, 10, 13, 15, 17)


def read(params: SetParams, root: Path) -> Annotation:
    """The faces of the file."""
    path = params.path / FILE
    values = read_mat(path, ["bbox", "data", "mask_new", "nameList", "ra"], "AFLW")
    boxes = numbers(values, "bbox", (None, 4), path)
    count = len(boxes)
    points = numbers(values, "data", (count, 38), path).reshape(count, 2, 19).swapaxes(1, 2)[:, FIVE_POINTS]
    visible = numbers(values, "mask_new", (count, 19), path)[:, FIVE_POINTS] > 0
    order = numbers({"ra": np.ravel(values["ra"])}, "ra", (count,), path)
    if not np.array_equal(np.sort(order), np.arange(1, count + 1)):
        raise UserError(f"{path}: ra must be the numbers 1 to {count} in some order")
    names = values["nameList"]
    if names.shape[0] != count:
        raise UserError(f"{path}: nameList has {names.shape[0]} names for {count} faces")
    split = np.full(count, "test", dtype=object)
    split[order[:TRAIN].astype(np.int64) - 1] = "train"
    face = pd.Series(np.arange(1, count + 1)).astype("str")
    left, right, top, bottom = boxes.T
    faces = pd.DataFrame(
        {
            "face_id": face,
            "identity": face,
            "split": split.astype(str),
            "image": [_text(name) for name in names.ravel()],
            **dict(zip(BOX, (left, top, right, bottom), strict=True)),
            "landmarks5": list(points.reshape(count, 10)),
        }
    ).astype({"split": "str", "image": "str"})
    faces.index += 1
    left_out, source = LeftOut(), str(path)
    hidden = pd.Series(~visible.all(axis=1), faces.index)
    faces = left_out.without(faces, hidden, "a landmark is invisible", source)
    flat = (faces["right"] <= faces["left"]) | (faces["bottom"] <= faces["top"])
    faces = left_out.without(faces, flat, "its box has no area", source)
    return Annotation(faces, source, root, left_out, {"train": TRAIN, "test": FACES - TRAIN})


def _text(cell: object) -> str:
    """A cell of a cell array of text."""
    while isinstance(cell, np.ndarray) and cell.size:
        cell = cell.flat[0]
    return str(cell)
