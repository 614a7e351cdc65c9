"""Anybody's own set: a CSV or Parquet table with a row per face, and a folder of images.

Columns are called as in tables.Labels, or `columns` says how they are called: {ours: theirs}. Only `image` has to be
there. Without a box, a crop is the whole image; boxes.py says how it may be written. Without `split`, splits are a
hash of `identity`; with train and test only, validation is carved from train. Without `identity`, every image is its
own. Labels are those columns of tables.Labels that the table has: landmarks as a list of numbers or as text, angles in
degrees (or radians) with our signs or those in `negate` turned, expressions by name or by AffectNet's number, all
eleven units or none. Names are compared in Unicode's form NFC. TensorFlow's names of columns are understood as well.

`read` wants the images; `read_labels` takes a table alone, for faces whose embeddings are there already; `read_both`
takes a table and names its faces as `read_labels` does, for faces of which some embeddings are there already.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fabnet import tables
from fabnet.attributes import boxes
from fabnet.attributes.boxes import BOX
from fabnet.attributes.folder import (
    LABEL_COLUMNS,
    Annotation,
    ImageFolder,
    LeftOut,
    carve_validation,
    each_once,
    splits_of,
)
from fabnet.attributes.label_files import as_numbers, header_fields, place, places, read_text
from fabnet.attributes.names import Spellings, nfc
from fabnet.config import SetParams
from fabnet.errors import ConfigError, UserError, one_line

_TEXTS = ["image", "face_id", "identity", "split"]
_POINTS = {"landmarks68": 136, "landmarks5": 10}
# Of what may exceed 1: a mouth that is as high as wide is open beyond it.
_HIGHEST = {"mouth_open": np.inf}
KNOWN = [*_TEXTS, *boxes.COLUMNS, *LABEL_COLUMNS]
#: How TensorFlow's tables of boxes call columns that the table has not under our name; MediaPipe has two of them.
_ALSO = {"image": "filename", "left": "xmin", "top": "ymin", "right": "xmax", "bottom": "ymax"}
#: And how they call the label, where there is no other.
_CLASS = {"expression": "class"}


def read(name: str, params: SetParams) -> Annotation:
    """The faces of a table.

    Args:
        name: of the set, for errors about its params.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    assert params.labels is not None  # SetParams sees to it
    path = params.path / params.labels
    unknown = sorted(set(params.columns) - set(KNOWN))
    if unknown:
        raise ConfigError(f"sets.{name}.columns.{unknown[0]}: no such column; there are {', '.join(KNOWN)}")
    table = columns_of(path, params.columns)
    if "image" not in table:
        raise UserError(f"{path}: has no column image, and `columns` names none; it has {', '.join(map(str, table))}")
    root = Spellings(params.path).path(params.images.as_posix())
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; correct sets.{name}.images (it is {params.images.as_posix()})")
    faces, percent = faces_of(table, str(path), params)
    unit = cast(boxes.Unit | None, params.boxes and str(params.boxes))
    if percent and unit != "percent":
        raise UserError(f"{path}: boxes have percent signs; `boxes: percent` converts them")
    return Annotation(faces, str(path), root, LeftOut(), exif=params.exif == "apply", unit=unit)


def faces_of(table: pd.DataFrame, where: str, params: SetParams) -> tuple[pd.DataFrame, bool]:
    """The columns of tables.Labels that a table gives, by the conventions above; labels that are missing are empty.

    Args:
        table: as `columns_of` reads it, with a column image.
        where: the file, for errors.
        params: of the set.

    Returns:
        The faces, with boxes in the table's unit, and whether boxes have percent signs.

    Raises:
        UserError: a cell that is wrong, or columns that contradict each other; names the row.
    """
    faces = pd.DataFrame({column: table[column] for column in _TEXTS if column in table}).astype("str")
    for column in faces:
        blank = table[column].isna() | (faces[column].str.strip() == "")
        if blank.any():
            raise UserError(f"{_place(where, faces, blank)}: {column} is empty")
        faces[column] = nfc(faces[column])
    edges, percent = boxes.read_box(table, where)
    faces = faces.assign(**edges) if edges is not None else faces
    if "face_id" not in faces:
        several = faces["image"].duplicated(keep=False).any()
        row = pd.Series(faces.index, faces.index).astype("str")
        faces["face_id"] = faces["image"] + "#" + row if several else faces["image"]
    if "identity" not in faces:
        faces["identity"] = faces["image"]
    faces["split"] = _split(faces, where, params.seed)
    for column in (column for column in LABEL_COLUMNS if column in table):
        faces[column] = _label(table[column], where, params)
    for what, columns in (("units", tables.UNIT_COLUMNS), ("angles", tables.ANGLE_COLUMNS)):
        missing = [column for column in columns if column not in faces]
        if 0 < len(missing) < len(columns):
            raise UserError(
                f"{where}: has some {what}, but not {', '.join(missing)}; all {len(columns)} are probed together"
            )
    if not any(column in faces for column in LABEL_COLUMNS):
        raise UserError(f"{where}: has no column of labels; there are {', '.join(LABEL_COLUMNS)}")
    return faces, percent


def columns_of(path: Path, renamed: dict[str, str]) -> pd.DataFrame:
    """The columns of the table that mean something here, by our names.

    Args:
        path: of CSV or Parquet.
        renamed: what columns are called there, by our names.

    Returns:
        The index says where a row stands in the file: it is called `line` and counts from 1 in text, `row` and from 0
        in Parquet.

    Raises:
        UserError: the file cannot be read, or lacks a column.
    """
    parquet = path.suffix.lower() == ".parquet"
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        has = pq.read_schema(path).names if parquet else header_fields(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {one_line(error)}") from None
    absent = sorted(theirs for theirs in renamed.values() if theirs not in has)
    if absent:
        raise UserError(f"{path}: has no column {absent[0]}, which `columns` names; it has {', '.join(has[:20])}")
    # Other spellings count only where ours is absent, and where `columns` gives the column no other meaning.
    also = {ours: theirs for ours, theirs in _ALSO.items() if ours not in has and theirs not in renamed.values()}
    called = {**also, **renamed}
    found = {ours: called.get(ours, ours) for ours in KNOWN if called.get(ours, ours) in has}
    # A column as common as `class` is taken for the expression only where nothing else is labelled.
    if not set(LABEL_COLUMNS) & set(found):
        found |= {ours: theirs for ours, theirs in _CLASS.items() if theirs in has and theirs not in found.values()}
    if not found:
        raise UserError(f"{path}: has no column that is known here; it has {', '.join(has[:20])}")
    if parquet:
        table = pq.read_table(path, columns=list(found.values())).to_pandas(ignore_metadata=True).rename_axis("row")
    else:
        table = read_text(path, list(dict.fromkeys(found.values())))
    return pd.DataFrame({ours: table[theirs] for ours, theirs in found.items()})


def _place(where: str, faces: "pd.DataFrame | pd.Series", bad: "pd.Series[bool]") -> str:
    """Where the first row stands that is bad."""
    return place(where, faces.index, faces.index[bad.to_numpy()][0])


def _split(faces: pd.DataFrame, where: str, seed: int) -> pd.Series:
    if "split" not in faces:
        return splits_of(faces["identity"], seed)
    wrong = ~faces["split"].isin(tables.SPLITS)
    if wrong.any():
        value = faces["split"][wrong].iloc[0]
        raise UserError(f"{_place(where, faces, wrong)}: split is {value!r}, not {', '.join(tables.SPLITS)}")
    crossing = faces.groupby("identity")["split"].transform("nunique") > 1
    if crossing.any():
        row = faces.index[crossing.to_numpy()][0]
        who = faces["identity"].loc[row]
        theirs = faces[faces["identity"] == who]
        other = theirs.index[(theirs["split"] != faces["split"].loc[row]).to_numpy()][0]
        rows = places(where, faces.index, row, other)
        raise UserError(f"{rows}: {who} is in two splits; a person has to be in one")
    return faces["split"]


def _label(column: pd.Series, where: str, params: SetParams) -> pd.Series:
    """A column of labels as tables.Labels has it; missing ones are NaN or None."""
    name = str(column.name)
    if name in _POINTS:
        points = [_points(value, column, row, where) for row, value in column.items()]
        return pd.Series(points, column.index, dtype=object)
    if name == "expression":
        return _expressions(column, where)
    values = as_numbers(column, where)
    low, high = (-180.0, 180.0) if name in tables.ANGLE_COLUMNS else (0.0, _HIGHEST.get(name, 1.0))
    if name in tables.ANGLE_COLUMNS:
        values *= (np.rad2deg(1.0) if params.radians else 1.0) * (-1 if name in params.negate else 1)
    wrong = (values < low) | (values > high)
    if wrong.any():
        raise UserError(f"{_place(where, values, wrong)}: {name} is {values[wrong].iloc[0]:g}, not {low:g} to {high:g}")
    return values


def _expressions(column: pd.Series, where: str) -> pd.Series:
    numbers = {str(number): name for number, name in enumerate(tables.EXPRESSIONS)}
    text = column.astype("str").str.strip().str.lower().str.removesuffix(".0")
    given = column.notna() & ~text.isin(["", "nan"])
    names = text.replace(numbers)
    wrong = given & ~names.isin(tables.EXPRESSIONS)
    if wrong.any():
        raise UserError(
            f"{_place(where, column, wrong)}: {column.name} is {str(column[wrong].iloc[0])[:40]!r}, not 0 to 7 or "
            f"{', '.join(tables.EXPRESSIONS)}"
        )
    return names.where(given)


def _points(value: object, column: pd.Series, row: object, where: str) -> np.ndarray | None:
    """The numbers of landmarks, x0, y0, x1, y1 ...; None where there are none, or one of them is NaN."""
    count = _POINTS[str(column.name)]
    if value is None or (isinstance(value, (float, str)) and str(value).strip() in ("", "nan")):
        return None
    try:
        parts = value.replace(";", " ").replace(",", " ").split() if isinstance(value, str) else value
        points = np.asarray(parts, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        points = np.empty(0)
    if len(points) != count:
        raise UserError(
            f"{place(where, column.index, row)}: {column.name} must be {count} numbers, not {str(value)[:40]!r}"
        )
    return points if np.isfinite(points).all() else None


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


def read_labels(params: SetParams, images: str = ".") -> LabelsAlone:
    """Read a CSV or Parquet table; a face is named by `face_id`, or by `image` where that is absent.

    Args:
        params: of a set of kind table.
        images: put before the names of images, where these name faces, as `fabnet embed` names what is in a folder.

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
        raise UserError(f"{_place(where, table, blank)}: {names} is empty")
    if names == "image":
        table["face_id"] = [PurePosixPath(images, str(image)).as_posix() for image in table["image"]]
    chosen = _chosen(table, params.seed)
    if "image" not in table:
        table["image"] = table["face_id"]
    faces, percent = faces_of(table, where, params)
    for column in [column for column in LABEL_COLUMNS if column in faces]:
        faces = left_out.without(faces, faces[column].isna(), f"{column} is not given", where)
    if BOX[0] in faces:
        faces = left_out.without(faces, faces[BOX].isna().any(axis=1), "its box is not given", where)
        boxes.refuse_flat(faces[BOX], where)
    faces = each_once(
        faces,
        ["face_id"],
        faces.columns.drop("face_id"),
        where,
        left_out,
        lambda face, column: (
            f"are both of {face['face_id']}, but differ in {column}; name faces apart by a column face_id, or remove "
            "one"
        ),
    )
    if not len(faces):
        raise UserError(f"{where}: no face can be used; {left_out.line()}")
    points = [column for column in _POINTS if column in faces]
    if BOX[0] not in faces:
        if points:
            raise UserError(
                f"{where}: has {points[0]} without {', '.join(BOX)}: embeddings are of crops, and points are learnt in "
                "their crop; where points are pixels of crops already, give 0, 0 and the size of a crop twice"
            )
        # Faces on one image can be told apart by their names only.
        faces = faces.assign(image=faces["face_id"], left=0.0, top=0.0, right=1.0, bottom=1.0)
    elif points:  # whichever unit it is, both have to be in it
        unit = "percent" if percent else boxes.looks_like(faces[BOX], where)
        if unit is not None and not boxes.in_fractions(np.array(faces[points[0]].tolist())):
            raise UserError(f"{where}: boxes are in {unit} of the image, but {points[0]} is not; give both in pixels")
    faces = faces.assign(split=carve_validation(faces, params.seed))
    columns = ["face_id", "identity", "split", "image", *BOX, *(c for c in LABEL_COLUMNS if c in faces)]
    return LabelsAlone(where, tables.check(faces[columns], tables.Labels, where), left_out, chosen)


def read_both(params: SetParams, images: Path) -> tuple[ImageFolder, LabelsAlone]:
    """Read a CSV or Parquet table with its images.

    Args:
        params: of a set of kind table.
        images: folder that the column `image` starts from.

    Returns:
        The set, and its labels: row by row the same faces.

    Raises:
        UserError: as `read` and ImageFolder; or the table has no column image.
    """
    assert params.labels is not None  # SetParams sees to it
    # Of a set in params.yaml, the pipeline sees images below its folder change; here they may lie anywhere.
    chosen = params.model_copy(update={"images": images.absolute()})
    labelled = ImageFolder(params.labels.stem, chosen, read)
    table, path = columns_of(params.path / params.labels, params.columns), params.path / params.labels
    faces = labelled.table()
    if "face_id" not in table:
        faces = faces.assign(face_id=[PurePosixPath(images.as_posix(), face).as_posix() for face in faces["face_id"]])
    return labelled, LabelsAlone(str(path), faces, labelled.counted_out, _chosen(table, params.seed))


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
