"""Every labelled set in the layout of its release, made of the embedded faces, so that no licensed file is needed.

The functions write what the releases hold, in their units, signs and orders: the way back from fabnet.attributes,
written without it. A test compares what is read with `Faces`.
"""

import csv
import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import scipy.io
import simplejpeg

from fabnet.synthetic.faces import portraits_of
from fabnet.synthetic.landmarks import landmarks5, landmarks68
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import encode
from fabnet.tables import EXPRESSIONS, UNITS

SIZE = 48


@dataclass(frozen=True)
class Faces:
    """N embedded faces of SIZE pixels, `per_person` in a row of the same person.

    Angles are roll, pitch, yaw in degrees with our signs; the first pixel is centred at 0.5.
    """

    images: np.ndarray  # uint8 (N, SIZE, SIZE, 3)
    points68: np.ndarray  # (N, 68, 2)
    points5: np.ndarray  # (N, 5, 2)
    angles: np.ndarray  # (N, 3)
    expressions: list[str]
    units: np.ndarray  # 0 or 1 (N, 11)
    people: list[str]

    def __len__(self) -> int:
        return len(self.images)


@cache
def draw(people: int = 20, per_person: int = 4) -> Faces:
    drawn = []
    for number in range(people):
        identity, portraits = portraits_of(5, number, per_person)
        for portrait in portraits:
            points = landmarks68(identity, portrait.state, SIZE)
            drawn.append((render(identity, portrait.state, SIZE), points, portrait))
    states = [portrait.state for _, _, portrait in drawn]
    points68 = np.array([points for _, points, _ in drawn])
    return Faces(
        np.array([image for image, _, _ in drawn]),
        points68,
        np.array([landmarks5(points) for points in points68]),
        np.array([(state.roll, state.pitch, state.yaw) for state in states]),
        [portrait.expression for _, _, portrait in drawn],
        np.array([state.units for state in states]).round().astype(int),
        [f"M{number:03d}" for number in range(people) for _ in range(per_person)],
    )


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    else:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95, colorsubsampling="444")
    path.write_bytes(data)


def on_canvas(image: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """A grey image with a face somewhere in it."""
    canvas = np.full((height, width, 3), 90, np.uint8)
    canvas[top : top + len(image), left : left + len(image)] = image
    return canvas


# -- landmarks ------------------------------------------------------------------------------------------------------

MAFL_AT, MAFL_SIDE = (33, 70), 113
_MAFL_COLUMNS = [
    f"{part}_{axis}" for part in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
]


def mafl_points(faces: Faces) -> np.ndarray:
    """What the lists say: whole pixels (N, 10) of the aligned image."""
    return np.round(faces.points5 * MAFL_SIDE / SIZE + MAFL_AT).astype(int).reshape(len(faces), 10)


def write_mafl(folder: Path, faces: Faces, test: int, table: bool = False, people: bool = False) -> list[str]:
    """The last `test` faces are the test set; CelebA holds one image more. Returns the names of all images."""
    names = [f"{(37 * number) % 1009 + 1:06d}.jpg" for number in range(len(faces))]
    images = folder / "img_align_celeba" / ("img_align_celeba" if table else "")
    for name, image in zip(names, faces.images, strict=True):
        save(images / name, on_canvas(cv2.resize(image, (MAFL_SIDE, MAFL_SIDE)), *MAFL_AT, 178, 218))
    (folder / "training.txt").write_text("\n".join(names[:-test]))  # as released: no newline at the end
    (folder / "testing.txt").write_text("\n".join(names[-test:]))
    rows = sorted([*zip(names, mafl_points(faces).tolist(), strict=True), ("202599.jpg", list(range(10)))])
    if table:
        lines = [",".join(["image_id", *_MAFL_COLUMNS]), *(",".join(map(str, [name, *row])) for name, row in rows)]
        (folder / "list_landmarks_align_celeba.csv").write_text("\n".join(lines) + "\n")
    else:
        head = [str(len(rows)), " ".join(_MAFL_COLUMNS) + " "]
        lines = head + [f"{name} " + " ".join(f"{value:4d}" for value in row) for name, row in rows]
        (folder / "list_landmarks_align_celeba.txt").write_text("\n".join(lines) + "\n")
    if people:
        lines = [f"{name} {int(person[1:]) + 1}" for name, person in zip(names, faces.people, strict=True)]
        (folder / "identity_CelebA.txt").write_text("\n".join([*lines, "202599.jpg 9999"]) + "\n")
    return names


W300_AT, W300_SIZE = (21, 13), (110, 90)
W300_FOLDERS = ("afw", "helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset", "ibug")


def w300_name(number: int) -> str:
    """Where face `number` lies, by turns in each folder, without suffix."""
    folder = W300_FOLDERS[number % len(W300_FOLDERS)]
    return f"{folder}/image_{number:03d}{' _01' if folder == 'ibug' else ''}"


def write_w300(folder: Path, faces: Faces) -> None:
    for number, image in enumerate(faces.images):
        path = folder / w300_name(number)
        suffix = ".png" if "lfpw" in str(path) else ".jpg"
        save(path.with_name(path.name + suffix), on_canvas(image, *W300_AT, *W300_SIZE))
        points = faces.points68[number] + W300_AT + 0.5  # counted from 1
        rows = [f"{x:.6f} {y:.6f}" for x, y in points]
        if "afw" in str(path):
            text = "\n".join(rows)
        elif "helen" in str(path):
            text = "\r\n".join(["version: 1", "n_points: 68", "{", *rows, "}", ""])
        else:
            text = "\n".join(["version: 1", "n_points:  68", "{", *rows, "}", ""])
        path.with_name(path.name + ".pts").write_bytes(text.encode())


# -- pose -----------------------------------------------------------------------------------------------------------

AFLW_GAP = 7
_AFLW_TABLES = """
CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
CREATE TABLE FaceImages (image_id INTEGER, db_id TEXT, file_id TEXT, filepath TEXT, bw INT, width INT, height INT);
CREATE TABLE FaceRect (face_id INTEGER, x INT, y INT, w INT, h INT, annot_type_id INT);
CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL, annot_type_id INT);
CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INT, x REAL, y REAL, annot_type_id INT);
"""


def aflw_name(number: int) -> str:
    """The photograph of a face: two faces beside each other are on one."""
    return f"{(0, 2, 3)[number // 2 % 3]}/image{number // 2:05d}.jpg"


def aflw_corner(number: int) -> tuple[int, int]:
    return AFLW_GAP + number % 2 * (SIZE + AFLW_GAP), AFLW_GAP


def _write_photographs(folder: Path, faces: Faces) -> None:
    for number in range(0, len(faces), 2):
        canvas = on_canvas(faces.images[number], *aflw_corner(0), 3 * AFLW_GAP + 2 * SIZE, 2 * AFLW_GAP + SIZE)
        left, top = aflw_corner(1)
        canvas[top : top + SIZE, left : left + SIZE] = faces.images[number + 1]
        save(folder / "data/flickr" / aflw_name(number), canvas)


def write_aflw(folder: Path, faces: Faces, hidden: tuple[int, ...] = (), bare: tuple[int, ...] = ()) -> None:
    """Faces `hidden` lack the row of the nose, `bare` that of the rectangle. Face n has the id 39341 + n."""
    _write_photographs(folder, faces)
    database = sqlite3.connect(folder / "data/aflw.sqlite")
    database.executescript(_AFLW_TABLES)
    radians = np.deg2rad(faces.angles) * (-1, 1, -1)  # AFLW's roll and yaw have the other sign
    for number in range(len(faces)):
        face, name = 39341 + number, aflw_name(number)
        file = name.rpartition("/")[2]
        database.execute("INSERT INTO Faces VALUES (?, ?, 'aflw')", (face, file))
        if number % 2 == 0:
            size = (3 * AFLW_GAP + 2 * SIZE, 2 * AFLW_GAP + SIZE)
            database.execute("INSERT INTO FaceImages VALUES (?, 'aflw', ?, ?, 0, ?, ?)", (number, file, name, *size))
        if number not in bare:
            rectangle = (*aflw_corner(number), SIZE, SIZE)
            database.execute("INSERT INTO FaceRect VALUES (?, ?, ?, ?, ?, 1)", (face, *rectangle))
        database.execute("INSERT INTO FacePose VALUES (?, ?, ?, ?, 1)", (face, *radians[number]))
        points = faces.points5[number] + aflw_corner(number)
        for feature, (x, y) in zip((8, 11, 15, 18, 20), points.tolist(), strict=True):
            if not (number in hidden and feature == 15):
                database.execute("INSERT INTO FeatureCoords VALUES (?, ?, ?, ?, 1)", (face, feature, x, y))
        database.execute("INSERT INTO FeatureCoords VALUES (?, 21, 0, 0, 1)", (face,))
    database.commit()
    database.close()


def write_aflw_mat(folder: Path, faces: Faces, hidden: tuple[int, ...] = ()) -> np.ndarray:
    """Returns `ra`, counted from 1."""
    _write_photographs(folder, faces)
    corners = np.array([aflw_corner(number) for number in range(len(faces))])
    points = np.zeros((len(faces), 19, 2))
    points[:, (7, 10, 13, 15, 17)] = faces.points5 + corners[:, None]
    mask = np.ones((len(faces), 19))
    mask[list(hidden), 10] = 0
    mask[:, 0] = 0  # not one of the five
    order = np.random.default_rng(3).permutation(len(faces)) + 1
    names = np.empty((len(faces), 1), dtype=object)
    names[:, 0] = [aflw_name(number) for number in range(len(faces))]
    left, top = corners.T
    scipy.io.savemat(
        folder / "AFLWinfo_release.mat",
        {
            "bbox": np.stack([left, left + SIZE, top, top + SIZE], axis=1),
            "data": np.concatenate([points[..., 0], points[..., 1]], axis=1),
            "mask_new": mask,
            "nameList": names,
            "ra": order[None],
        },
    )
    return order


def write_aflw2000(folder: Path, faces: Faces) -> None:
    for number, image in enumerate(faces.images):
        save(folder / f"image{number:05d}.jpg", image)
        roll, pitch, yaw = np.deg2rad(faces.angles[number])
        points = np.vstack([faces.points68[number].T + 0.5, np.zeros(68)])
        pt2d = np.full((2, 21), -1.0)  # all invisible
        pose = np.array([[pitch, -yaw, roll, 0, 0, 0, 1]])
        scipy.io.savemat(folder / f"image{number:05d}.mat", {"Pose_Para": pose, "pt3d_68": points, "pt2d": pt2d})


# -- expressions and units ------------------------------------------------------------------------------------------

AFFECTNET_COLUMNS = [
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
]


def write_affectnet(folder: Path, faces: Faces, test: int, header: bool = True) -> list[str]:
    """The last `test` faces are the validation set; training also holds a row of each of the kinds 8 to 10."""
    names = [f"{number % 7}/{number * 7919:040x}.jpg" for number in range(len(faces))]
    rows = []
    for number, name in enumerate(names):
        save(folder / "Manually_Annotated_Images" / name, faces.images[number])
        marks = ";".join(f"{value:.2f}" for value in faces.points68[number].ravel())
        kind = EXPRESSIONS.index(faces.expressions[number])
        rows.append([name, 5, 5, SIZE - 10, SIZE - 10, marks, kind, -0.65331, 0.65331])
    others = [[f"9/{kind}.jpg", 5, 5, 5, 5, "0;0", kind, -2, -2] for kind in (8, 9, 10)]
    for file, part in (("training.csv", rows[:-test] + others), ("validation.csv", rows[-test:])):
        with open(folder / file, "w", newline="") as output:
            csv.writer(output).writerows([*([AFFECTNET_COLUMNS] if header else []), *part])
    return names


def write_affectnet_arrays(folder: Path, faces: Faces, test: int) -> None:
    """The later release: numbers as text in files of their own."""
    for number, image in enumerate(faces.images):
        first = len(faces) - test
        part, name = ("train_set", number) if number < first else ("val_set", number - first)
        save(folder / part / "images" / f"{name}.jpg", image)
        annotations = folder / part / "annotations"
        annotations.mkdir(parents=True, exist_ok=True)
        kind = EXPRESSIONS.index(faces.expressions[number])
        values = {"exp": str(kind), "val": "-0.65", "aro": "0.65", "lnd": faces.points68[number].ravel()}
        for key, value in values.items():
            np.save(annotations / f"{name}_{key}.npy", np.array(value))


def emotionet_name(number: int) -> str:
    return f"N_{number:010d}_{number * 37 % 100000:05d}.jpg"


def _sixty(units: np.ndarray, unknown: bool = False) -> list[int]:
    values = [999] * 60
    for unit, value in zip(UNITS, units.tolist(), strict=True):
        values[unit - 1] = value
    if unknown:
        values[4 - 1] = 999
    return values


def write_emotionet(folder: Path, faces: Faces, test: int, unknown: tuple[int, ...] = ()) -> None:
    """The last `test` faces are in the manual file, the others in two automatic ones; `unknown` lack unit 4."""
    lines, first = [], len(faces) - test
    for number, image in enumerate(faces.images):
        save(folder / "images" / emotionet_name(number), on_canvas(image, 10, 0, SIZE + 20, SIZE))
        address = f"http://mirror.example/a/{emotionet_name(number)}"
        lines.append((address, f"http://dead.example/{number}", _sixty(faces.units[number], number in unknown)))
    for file, part in (("dataFile_0001.txt", lines[: first // 2]), ("dataFile_0002.txt", lines[first // 2 : first])):
        text = ["\t".join([address, original, *map(str, units)]) for address, original, units in part]
        (folder / file).write_text("\n".join(text) + "\n")
    names = ["URL", "URL orig", *(f"'AU {unit}'" for unit in range(1, 61))]
    text = [",".join(names)]
    text += [
        ",".join([f"'{address}'", f"'{original}'", *map(str, units)]) for address, original, units in lines[first:]
    ]
    (folder / "EmotioNet_FACS_aws_2020_24600.csv").write_text("\n".join(text) + "\n")


_MEAD = {"anger": "angry", "disgust": "disgusted", "surprise": "surprised"}


def write_clips(folder: Path, faces: Faces, frames: int = 4) -> list[str]:
    """A clip of every face, which brightens a little from frame to frame; names are MEAD's, of both kinds."""
    names = []
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(faces.images):
        emotion = _MEAD.get(faces.expressions[number], faces.expressions[number])
        person = faces.people[number]
        name = f"{person}_front_{emotion}_level3_{number:03d}.mp4"
        if number % 2:
            name = f"{person}_level_1_{emotion}_{number:03d}.mp4"
        shown = [np.clip(image.astype(int) + 20 * step, 0, 255).astype(np.uint8) for step in range(frames)]
        encode(folder / name, shown, 2.0, SIZE)
        names.append(name)
    return names


# -- anybody's own --------------------------------------------------------------------------------------------------


def own_table(faces: Faces) -> pd.DataFrame:
    """All labels under our names, with our conventions; people are whole in a split."""
    person = pd.Series(faces.people)
    number = person.str[1:].astype(int)
    table = pd.DataFrame({"image": [f"face{n:03d}.png" for n in range(len(faces))], "identity": person})
    table["split"] = np.where(number % 5 == 4, "test", np.where(number % 5 == 3, "validation", "train"))
    table[["left", "top", "right", "bottom"]] = [2, 1, SIZE - 2, SIZE - 3]
    table["landmarks68"] = list(faces.points68.reshape(len(faces), -1))
    table["landmarks5"] = list(faces.points5.reshape(len(faces), -1))
    table[["roll_deg", "pitch_deg", "yaw_deg"]] = faces.angles
    table["expression"] = faces.expressions
    table[[f"au{unit:02d}" for unit in UNITS]] = faces.units
    return table


def write_own(folder: Path, faces: Faces, table: pd.DataFrame, name: str = "labels.csv") -> None:
    """The table as CSV (landmarks as text) or Parquet, and the images of `own_table`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(faces.images):
        save(folder / "pictures" / f"face{number:03d}.png", image)
    if name.endswith(".parquet"):
        table.to_parquet(folder / name, index=False)
        return
    text = table.copy()
    for column in table.columns.intersection(["landmarks68", "landmarks5"]):
        text[column] = [";".join(map(repr, map(float, points))) for points in table[column]]
    text.to_csv(folder / name, index=False)
