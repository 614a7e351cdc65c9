"""Labelled sets opened in tests, and what is looked at in them."""

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
