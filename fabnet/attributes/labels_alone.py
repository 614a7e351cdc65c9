"""The labels of faces whose images are not needed, since their embeddings are there: a table as of own_table."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.attributes.folder import BOX, LABEL_COLUMNS
from fabnet.attributes.left_out import LeftOut
from fabnet.attributes.own_table import KNOWN, columns_of, faces_of
from fabnet.attributes.splits import carve_validation
from fabnet.config import SetParams
from fabnet.errors import ConfigError, UserError


@dataclass(frozen=True)
class LabelsAlone:
    """Labels without images.

    Attributes:
        path: the file.
        faces: legal under tables.Labels; the index says where a face stands in the file. Without a box in the file,
            there is one of a pixel.
        left_out: faces that are not in `faces`.
        chosen: what the file leaves open, and how it was decided, in words.
    """

    path: str
    faces: pd.DataFrame
    left_out: LeftOut
    chosen: list[str]


def read_labels(params: SetParams) -> LabelsAlone:
    """Read a CSV or Parquet table; a face is named by `face_id`, or by `image` where that is absent.

    Args:
        params: of a set of kind table. `images` is put before the names of images, where these name faces.

    Raises:
        UserError: the table cannot be read or contradicts itself; names the file and the row.
    """
    assert params.labels is not None  # SetParams sees to it
    path = params.path / params.labels
    where, left_out = str(path), LeftOut()
    if unknown := sorted(set(params.columns) - set(KNOWN)):
        raise ConfigError(f"{unknown[0]}: no such column of labels; there are {', '.join(KNOWN)}")
    table = columns_of(path, params.columns)
    names = "face_id" if "face_id" in table else "image"
    if names not in table:
        raise UserError(
            f"{where}: has neither a column face_id nor image, to find embeddings; has {', '.join(map(str, table))}"
        )
    if not len(table):
        raise UserError(f"{where}: has no rows")
    blank = table[names].isna() | (table[names].astype("str").str.strip() == "")
    if blank.any():
        raise UserError(f"{where}, row {table.index[blank.to_numpy()][0]}: {names} is empty")
    if names == "image":
        folder = params.images.as_posix()
        table["face_id"] = table["image"] if folder == "." else folder + "/" + table["image"]
    chosen = _chosen(table, params.seed)
    # What is not known of a face is that of its name.
    for column in ("image", "identity"):
        if column not in table:
            table[column] = table["face_id"]
    faces = faces_of(table, where, params)
    for column in [column for column in LABEL_COLUMNS if column in faces]:
        faces = left_out.without(faces, faces[column].isna(), f"{column} is not given", where)
    faces = _each_once(faces, where, left_out)
    if not len(faces):
        raise UserError(f"{where}: no face can be used; {left_out.line()}")
    if BOX[0] not in faces:
        if points := [column for column in ("landmarks68", "landmarks5") if column in faces]:
            raise UserError(
                f"{where}: has {points[0]} without {', '.join(BOX)}: embeddings are of crops, and points are learnt in "
                "their crop; where points are pixels of crops already, give 0, 0 and the size of a crop twice"
            )
        # Of faces that are on one image nobody can say that they are apart, but by their names.
        faces = faces.assign(image=faces["face_id"], left=0.0, top=0.0, right=1.0, bottom=1.0)
    faces = faces.assign(split=carve_validation(faces, params.seed))
    columns = ["face_id", "identity", "split", "image", *BOX, *(c for c in LABEL_COLUMNS if c in faces)]
    return LabelsAlone(where, tables.check(faces[columns], tables.Labels, where), left_out, chosen)


def _chosen(table: pd.DataFrame, seed: int) -> list[str]:
    told = []
    whole = "identity" if "identity" in table else "face"
    if "split" not in table:
        told.append(f"no column split: 60 / 15 / 25 % train / validation / test by {whole}, seed {seed}")
    elif not (table["split"] == "validation").any():
        told.append(f"no validation in split: a tenth of train by {whole}, seed {seed}")
    if whole == "face":
        told.append("no column identity: intervals are by face, and too narrow if people recur")
    return told


def _each_once(faces: pd.DataFrame, where: str, left_out: LeftOut) -> pd.DataFrame:
    """Without rows that say again what an earlier one said; one that says something else is an error."""
    again = faces.duplicated("face_id")
    if not again.any():
        return faces
    first = faces[~again].assign(row=faces.index[~again.to_numpy()]).set_index("face_id")
    for row, face in faces[again].iterrows():
        earlier = first.loc[face["face_id"]]
        for column in faces.columns.drop("face_id"):
            if not np.array_equal(face[column], earlier[column]):
                raise UserError(
                    f"{where}, rows {earlier['row']} and {row}: both are of {face['face_id']}, but differ in {column}; "
                    "name faces apart by a column face_id, or remove one"
                )
    return left_out.without(faces, again, "listed twice", where)
