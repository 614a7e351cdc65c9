"""AFLW: the pose of faces on photographs, from aflw.sqlite; or five of their landmarks, from AFLWinfo_release.mat.

The database holds angles in radians, in the columns roll, pitch and yaw. As code that trained on AFLW and on
AFLW2000-3D together shows (it turns AFLW's roll and nothing else), pitch > 0 faces up, as here, yaw > 0 faces the
image's left and roll > 0 tilts counter-clockwise as seen; so the signs of roll and yaw are turned. Because no copy of
the database was at hand, `check_signs` compares them with the set's own landmarks whenever the set is read.

A landmark that was invisible has no row. With `landmarks: true` only faces that have all of the eyes' centres, the tip
of the nose and the corners of the mouth are used, and they answer landmarks5 as well.

A crop is the face's rectangle in the database; faces without one are left out. `test_list` names the test images, one
a line (KEPLER's are 1,000); without it, splits are a hash of the photograph's name. Faces on one photograph are one
identity, so that no photograph is in two splits.

AFLWinfo_release.mat: 19 landmarks of 24,386 faces of AFLW and their split, without pose.

Boxes are left, right, top, bottom. Landmarks are all x, then all y. `mask_new` is 0 for a landmark that is invisible:
faces that lack one of the eyes' centres, the tip of the nose or a corner of the mouth are left out. Coordinates are
taken as they are, as they are those of the database. `ra` is a permutation counted from 1: its first 20,000 faces are
training, the others the test set; so a photograph of several people may be in both, and every face is its own
identity.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from fabnet.attributes.boxes import BOX
from fabnet.attributes.folder import Annotation, LeftOut, base_name, first_folder, splits_of
from fabnet.attributes.label_files import lines_in, numbers, read_mat
from fabnet.config import SetParams
from fabnet.errors import UserError, counted, one_line

#: The five points among the set's 21: eyes, nose, corners of the mouth.
FIVE_POINTS = (8, 11, 15, 18, 20)
PUBLISHED_TEST_IMAGES = 1000

_DATABASES = ("data/aflw.sqlite", "aflw.sqlite")
_FOLDERS = ("data/flickr", "flickr", ".")

_FACES = """
    SELECT f.face_id, f.file_id, i.filepath, r.x, r.y, r.w, r.h, p.roll, p.pitch, p.yaw
    FROM Faces f JOIN FaceImages i ON i.file_id = f.file_id
    LEFT JOIN FaceRect r ON r.face_id = f.face_id LEFT JOIN FacePose p ON p.face_id = f.face_id
    ORDER BY f.face_id
"""
_POINTS = f"""
    SELECT face_id, feature_id, x, y FROM FeatureCoords WHERE feature_id IN {FIVE_POINTS}
    GROUP BY face_id, feature_id ORDER BY face_id, feature_id
"""

#: Faces looked at for the signs are at most this far from frontal, and at least so many.
_FRONTAL_DEG, _ENOUGH = 45.0, 50
MAT_FILE = "AFLWinfo_release.mat"
TRAIN, FACES = 20_000, 24_386

#: The five points among the 19: eyes, nose, corners of the mouth.
MAT_FIVE_POINTS = (7, 10, 13, 15, 17)


def read(name: str, params: SetParams) -> Annotation:
    """The faces of AFLW.

    Args:
        name: of the set; not used.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    root = first_folder(params.path, _FOLDERS, "photographs")
    if params.annotation == "mat":
        return read_mat_file(params, root)
    database = next((params.path / one for one in _DATABASES if (params.path / one).is_file()), None)
    if database is None:
        raise UserError(f"{params.path}: has no {' or '.join(_DATABASES)}; is `annotation: mat` meant?")
    found, points = _query(database)
    left_out, source = LeftOut(), str(database)
    found = found.set_index(pd.Index(found["face_id"], name="face"))
    faces = pd.DataFrame({"image": found["filepath"].astype("str"), "identity": found["file_id"].astype("str")})
    faces["face_id"] = found["face_id"].astype("str")
    faces["left"], faces["top"] = found["x"].astype(float), found["y"].astype(float)
    faces["right"], faces["bottom"] = faces["left"] + found["w"], faces["top"] + found["h"]
    # Radians, roll and yaw of the opposite sign; `check_signs` sees by the landmarks whether this holds.
    for column, sign in (("roll", -1), ("pitch", 1), ("yaw", -1)):
        faces[f"{column}_deg"] = sign * np.rad2deg(found[column].astype(float))
    faces = left_out.without(faces, ~(found["w"] > 0) | ~(found["h"] > 0), "it has no rectangle", source)
    faces = left_out.without(faces, faces["yaw_deg"].isna(), "it has no pose", source)
    odd = faces[["roll_deg", "pitch_deg", "yaw_deg"]].abs().max(axis=1) > 180
    faces = left_out.without(faces, odd, "an angle beyond 180 degrees", source)
    check_signs(faces, points, database)
    if params.landmarks:
        hidden = pd.Series(~faces.index.isin(points.index), faces.index)
        faces = left_out.without(faces, hidden, "a landmark is invisible", source)
        faces = faces.assign(landmarks5=list(points.loc[faces.index].to_numpy()))
    if params.test_list is None:
        faces["split"] = splits_of(faces["identity"], params.seed)
        return Annotation(faces, source, root, left_out)
    faces["split"] = _by_list(faces, params.path / params.test_list)
    return Annotation(faces, source, root, left_out, {"test": PUBLISHED_TEST_IMAGES}, "images")


def check_signs(faces: pd.DataFrame, points: pd.DataFrame, where: Path) -> None:
    """Compare roll with the tilt of the eyes, and yaw with where the nose lies between them.

    Args:
        faces: roll_deg and yaw_deg with our signs, by face.
        points: the five points (x0, y0, ...) of faces that have all, by face.
        where: the database, for errors.

    Raises:
        UserError: they run against each other, so that the signs are not what this reader takes them for.
    """
    both = faces.index.intersection(points.index)
    roll, yaw = faces.loc[both, "roll_deg"].to_numpy(), faces.loc[both, "yaw_deg"].to_numpy()
    frontal = np.abs(yaw) < _FRONTAL_DEG
    if frontal.sum() < _ENOUGH:
        return
    left, right, nose = points.loc[both].to_numpy().reshape(-1, 5, 2)[frontal][:, :3].swapaxes(0, 1)
    along = right - left
    tilt = np.degrees(np.arctan2(along[:, 1], along[:, 0]))  # y points down: clockwise as seen is positive
    aside = ((nose - (left + right) / 2) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9)
    for angle, seen, values in (("roll", tilt, roll[frontal]), ("yaw", aside, yaw[frontal])):
        with np.errstate(invalid="ignore", divide="ignore"):
            agreement = np.corrcoef(seen, values)[0, 1]
        if agreement < 0:
            raise UserError(
                f"{where}: the landmarks of {counted(frontal.sum(), 'face')} contradict the sign of {angle} "
                f"(correlation {agreement:.2f}); is it the database of AFLW as released?"
            )


def _query(database: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The faces, and the five points of those that have all, by face; the file is opened for reading only."""
    address = f"file:{quote(str(database.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            faces = pd.read_sql_query(_FACES, connection)
            points = pd.read_sql_query(_POINTS, connection)
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        raise UserError(f"{database}: not the database of AFLW: {one_line(error, None)[-120:]}") from None
    if faces.empty:
        raise UserError(f"{database}: holds no face")
    points = points.pivot(index="face_id", columns="feature_id", values=["x", "y"])
    if points.shape[1] != 2 * len(FIVE_POINTS):
        return faces, pd.DataFrame()
    ordered = [(axis, feature) for feature in FIVE_POINTS for axis in "xy"]
    return faces, points[ordered].dropna().astype(float)


def _by_list(faces: pd.DataFrame, path: Path) -> pd.Series:
    """The column split: test where the list names the photograph, with or without its folder."""
    listed = {name.rpartition("/")[2]: name for name in lines_in(path)}
    names = base_name(faces["image"])
    unknown = sorted(set(listed) - set(names))
    if len(unknown) == len(listed):
        raise UserError(
            f"{path}: names no image of the set; the first is {listed[unknown[0]] if unknown else 'absent'}"
        )
    return names.isin(list(listed)).map({True: "test", False: "train"}).astype("str")


def read_mat_file(params: SetParams, root: Path) -> Annotation:
    """The faces of AFLWinfo_release.mat.

    Args:
        params: of the set.
        root: folder of the photographs.
    """
    path = params.path / MAT_FILE
    values = read_mat(path, ["bbox", "data", "mask_new", "nameList", "ra"], "AFLW")
    boxes = numbers(values, "bbox", (None, 4), path)
    count = len(boxes)
    points = numbers(values, "data", (count, 38), path).reshape(count, 2, 19).swapaxes(1, 2)[:, MAT_FIVE_POINTS]
    visible = numbers(values, "mask_new", (count, 19), path)[:, MAT_FIVE_POINTS] > 0
    order = numbers({"ra": np.ravel(values["ra"])}, "ra", (count,), path)
    if not np.array_equal(np.sort(order), np.arange(1, count + 1)):
        raise UserError(f"{path}: ra must be the numbers 1 to {count} in some order")
    names = values["nameList"]
    if names.shape[0] != count:
        raise UserError(f"{path}: nameList has {counted(names.shape[0], 'name')} for {count} faces")
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
    faces.index = pd.RangeIndex(1, count + 1, name="face")
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
