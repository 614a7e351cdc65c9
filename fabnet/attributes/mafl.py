"""MAFL: 19,000 training and 1,000 test images of CelebA, aligned to 178 x 218, with five landmarks.

Which images: `training.txt` and `testing.txt`. Where the points are: `list_landmarks_align_celeba.txt`, or the CSV of
that name. "Left" there is the left of the image, as here. They are whole numbers of pixels and are taken as they are.

The crop is that of FAb-Net's authors: the image without its top 35 rows, then without 35 pixels on every side.

Without `identities` every image is its own identity, as in the published protocol, whose two parts share people.
With it (CelebA's `identity_CelebA.txt`) validation is other people than training, and training images of people who
are also in the test set are left out.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from fabnet.attributes.folder import Annotation, LeftOut, first_folder, joined
from fabnet.attributes.label_files import as_numbers, header_fields, lines_in, place, read_text
from fabnet.config import SetParams
from fabnet.errors import UserError, counted

LISTS = {"train": "training.txt", "test": "testing.txt"}
LANDMARKS = "list_landmarks_align_celeba"
PUBLISHED = {"train": 19_000, "test": 1_000}

#: Width and height of CelebA's aligned images, and the part of them that is the crop.
SIZE = (178, 218)
CROP = {"left": 35.0, "top": 70.0, "right": 143.0, "bottom": 183.0}

_POINTS = [f"{part}_{axis}" for part in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"]


def read(name: str, params: SetParams) -> Annotation:
    """The faces of MAFL.

    Args:
        name: of the set; not used.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    root = first_folder(params.path, ("img_align_celeba/img_align_celeba", "img_align_celeba"), "aligned images")
    faces = _listed(params.path)
    landmarks = _landmarks(params.path)
    at = pd.Index(landmarks["image"]).get_indexer(pd.Index(faces["image"]))
    if (at < 0).any():
        missing = faces[at < 0].iloc[0]
        raise UserError(f"{params.path / LISTS[missing['split']]}: lists {missing['image']}, which has no landmarks")
    faces = faces.assign(landmarks5=list(landmarks[_POINTS].to_numpy(np.float64)[at]), **CROP)
    left_out = LeftOut()
    source = str(params.path)
    if params.identities is None:
        faces = faces.assign(identity=faces["image"])
    else:
        people = _people(params.path / params.identities)
        at = pd.Index(people["image"]).get_indexer(pd.Index(faces["image"]))
        if (at < 0).any():
            image = faces["image"][at < 0].iloc[0]
            raise UserError(f"{params.path / params.identities}: does not say who is on {image}")
        faces = faces.assign(identity=people["identity"].to_numpy()[at])
        known = set(faces.loc[faces["split"] == "test", "identity"])
        again = (faces["split"] == "train") & faces["identity"].isin(known)
        faces = left_out.without(faces, again, "of a person who is also in the test set", source)
    return Annotation(faces, source, root, left_out, dict(PUBLISHED), size=SIZE)


def _listed(path: Path) -> pd.DataFrame:
    """Columns image, face_id and split, by the official lists."""
    parts = {}
    for split, name in LISTS.items():
        images = lines_in(path / name)
        for line, image in images.items():
            if len(image.split()) != 1 or not image.endswith(".jpg"):
                raise UserError(f"{path / name}, line {line}: {image[:40]!r} is no name of an image")
        parts[name] = pd.DataFrame({"image": images.astype("str"), "split": split})
    faces = joined(parts)
    both = faces[faces["image"].duplicated() & ~faces.duplicated()]
    if len(both):
        raise UserError(f"{path / LISTS['test']}: lists {both['image'].iloc[0]}, which {LISTS['train']} lists as well")
    return faces.assign(face_id=faces["image"].str.removesuffix(".jpg"))


def _landmarks(path: Path) -> pd.DataFrame:
    """Columns image and those of _POINTS, of all of CelebA."""
    text, table = path / f"{LANDMARKS}.txt", path / f"{LANDMARKS}.csv"
    if not text.is_file() and not table.is_file():
        raise UserError(f"{path}: has neither {text.name} nor {table.name}")
    if text.is_file():
        found, where = _spaced(text), text
    else:
        found, where = read_text(table, ["image_id", *_POINTS]).rename(columns={"image_id": "image"}), table
    for column in _POINTS:
        found[column] = as_numbers(found[column], where)
        if found[column].isna().any():
            row = found.index[found[column].isna().to_numpy()][0]
            raise UserError(f"{place(where, found.index, row)}: {column} is missing")
    twice = found["image"].duplicated()
    if twice.any():
        row = found.index[twice.to_numpy()][0]
        raise UserError(f"{place(where, found.index, row)}: {found['image'].loc[row]} comes a second time")
    return found


def _spaced(path: Path) -> pd.DataFrame:
    """The text of CelebA: a line with the number of images, one with the names of ten columns, then a line each."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) < 2 or not lines[0].strip().isdigit():
        raise UserError(f"{path}, line 1: must be the number of images")
    if lines[1].split() != _POINTS:
        raise UserError(f"{path}, line 2: must be the names {' '.join(_POINTS)}")

    numbers = [number for number, line in enumerate(lines[2:], 3) if line.strip()]

    def rows() -> Iterator[list[str]]:
        for number in numbers:
            fields = lines[number - 1].split()
            if len(fields) != 11:
                raise UserError(
                    f"{path}, line {number}: must be a name and 10 numbers, not {counted(len(fields), 'field')}"
                )
            yield fields

    frame = pd.DataFrame(rows(), columns=["image", *_POINTS]).astype("str")
    if len(frame) != int(lines[0]):
        raise UserError(f"{path}, line 1: says {counted(int(lines[0]), 'image')}, but {len(frame)} follow")
    return frame.set_index(pd.Index(numbers, name="line"))


def _people(path: Path) -> pd.DataFrame:
    """Columns image and identity: `000001.jpg 2880` a line; a header is passed over."""
    header = header_fields(path, " ")[:1] == ["image"]
    return read_text(path, ["image", "identity"], " ", None if header else ["image", "identity"])
