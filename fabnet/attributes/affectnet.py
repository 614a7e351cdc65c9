"""AffectNet: one of eight expressions per image, in either of its two releases.

With `training.csv` and `validation.csv` the images are in `Manually_Annotated_Images`, or beside the files; either file
may lack its header. In the later release they are in `train_set/images` and `val_set/images`, and each has files of
its own in `annotations`, of which `*_exp.npy` is read. Expressions 8 to 10 (none, uncertain, no face) are left out.

The official validation set is the test set here; validation is carved from training. The set names no subjects: every
image is its own identity. A crop is the whole image, as FAb-Net's authors took it: the released images are crops of
faces. Its landmarks, valence and arousal are not read.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from fabnet.attributes.folder import Annotation, LeftOut, first_folder, joined, without_suffix
from fabnet.attributes.label_files import as_numbers, header_fields, place, read_text
from fabnet.config import SetParams
from fabnet.errors import UserError
from fabnet.progress import track
from fabnet.tables import EXPRESSIONS

COLUMNS = [
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
]
CSV = {"train": "training.csv", "test": "validation.csv"}
FOLDERS = {"train": "train_set", "test": "val_set"}

#: Images with one of the eight expressions (Mollahosseini et al. 2017, table 3).
PUBLISHED = {"train": 287_651, "test": 4_000}

#: What follows the eight expressions.
_OTHERS = ("none", "uncertain", "no face")


def read(name: str, params: SetParams) -> Annotation:
    """The faces of AffectNet.

    Args:
        name: of the set, for lines of progress.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    if (params.path / CSV["train"]).is_file():
        root = first_folder(params.path, ("Manually_Annotated_Images", "."), "images")
        parts = {file: _csv(params.path / file).assign(split=split) for split, file in CSV.items()}
    elif (params.path / FOLDERS["train"]).is_dir():
        root = params.path
        parts = {
            f"{folder}/annotations": _arrays(params.path, folder, name).assign(split=split)
            for split, folder in FOLDERS.items()
        }
    else:
        raise UserError(f"{params.path}: has neither {CSV['train']} nor the folder {FOLDERS['train']}")
    left_out, faces = LeftOut(), joined(parts)
    del parts
    faces = _of_eight(faces, left_out, params.path)
    stem = without_suffix(faces["image"])
    faces = faces.assign(face_id=stem, identity=stem)
    return Annotation(faces, str(params.path), root, left_out, dict(PUBLISHED))


def _csv(path: Path) -> pd.DataFrame:
    """Columns image and expression (its number, float64)."""
    header = header_fields(path)
    headed = COLUMNS[0] in header
    if not headed and len(header) != len(COLUMNS):
        raise UserError(f"{path}, line 1: must have the {len(COLUMNS)} fields {', '.join(COLUMNS)}, not {len(header)}")
    table = read_text(path, [COLUMNS[0], "expression"], names=None if headed else COLUMNS)
    table = table.rename(columns={COLUMNS[0]: "image"})
    table["expression"] = as_numbers(table["expression"], path)
    return _checked(table, path)


def _arrays(root: Path, folder: str, name: str) -> pd.DataFrame:
    """The same from a file per image."""
    annotations = root / folder / "annotations"
    ids = sorted((path.name.removesuffix("_exp.npy") for path in annotations.glob("*_exp.npy")), key=_number_or_name)
    if not ids:
        raise UserError(f"{annotations}: holds no *_exp.npy")
    numbers = np.empty(len(ids))
    for row, image in enumerate(track(ids, f"{name}: reading labels", len(ids), "file")):
        numbers[row] = _expression(annotations / f"{image}_exp.npy")
    images = pd.Series(ids, dtype="str")
    table = pd.DataFrame({"image": f"{folder}/images/" + images + ".jpg", "expression": numbers})
    table.index = pd.Index(images, name="image")
    return _checked(table, annotations)


def _expression(path: Path) -> float:
    """The one number of a file, which may be text."""
    try:
        value = np.load(path, allow_pickle=False)
        return float(value.reshape(()).item()) if value.dtype.kind in "fiu" else float(str(value.reshape(()).item()))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: must hold the number of an expression: {error}") from None


def _checked(table: pd.DataFrame, where: Path) -> pd.DataFrame:
    wrong = table["expression"].notna() & ~table["expression"].isin(range(len(EXPRESSIONS) + len(_OTHERS)))
    if wrong.any():
        row = table.index[wrong.to_numpy()][0]
        value = table["expression"].loc[row]
        raise UserError(f"{place(where, table.index, row)}: expression is {value:g}, not 0 to 10")
    return table


def _of_eight(table: pd.DataFrame, left_out: LeftOut, path: Path) -> pd.DataFrame:
    """The rows of the eight expressions, by name."""
    table = left_out.without(table, table["expression"].isna(), "expression is not given", str(path))
    for number, other in enumerate(_OTHERS, len(EXPRESSIONS)):
        table = left_out.without(table, table["expression"] == number, f"labelled `{other}`", str(path))
    names = dict(enumerate(EXPRESSIONS))
    return table.assign(expression=table["expression"].map(names).astype("str"))


def _number_or_name(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (-1, name)
