"""Labelled sets as tests write and open them: small ones of kind `table`, and what opening any of them says."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fabnet.attributes.sets import iterate_crops, open_set
from fabnet.config import SetParams
from fabnet.errors import UserError


def opened(path, kind, **options):
    return open_set("mine", SetParams(kind=kind, path=path, **options))


def refused(path, kind, **options):
    with pytest.raises(UserError) as error:
        opened(path, kind, **options).table()
    assert "\n" not in str(error.value)
    return str(error.value)


def crops_of(labelled, size):
    """Crops by face id."""
    return {
        face: crop for ids, crops in iterate_crops(labelled, size, 16) for face, crop in zip(ids, crops, strict=True)
    }


def matches(crop, expected):
    """Whether a crop is the expected picture, as JPEG leaves it."""
    return np.abs(crop.astype(int) - expected).mean() < 4


def boxes(table):
    """The distinct boxes of a table."""
    return table[["left", "top", "right", "bottom"]].drop_duplicates().to_numpy().tolist()


def points(table, column):
    return np.array(table[column].tolist()).reshape(len(table), -1, 2)


def reasons(labelled):
    labelled.table()
    return dict(labelled.left_out[["reason", "faces"]].to_numpy().tolist())


POSE = "yaw_deg,pitch_deg,roll_deg"


def write_table(folder: Path, *lines: str, images: tuple[str, ...] = ("a.jpg", "b.jpg"), size=(450, 300)) -> Path:
    """labels.csv of these lines, and images of width and height `size`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in images:
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
