"""EmotioNet: which of eleven action units a face shows.

Two annotations, of which one will do. The automatic one is `dataFile_NNNN.txt`: 62 fields separated by tabs, without a
header: two addresses, then units 1 to 60. The manual one is CSV exported from the released spreadsheet,
`EmotioNet_FACS*.csv`: the columns URL, URL orig, 'AU 1', 'AU 2' ..., with quotes of their own around names and
addresses. A unit is 0, 1, or 999 where it was not annotated. A face of which one of the eleven units was not annotated
is left out.

Where both are there, the automatic one is training and the manual one the test set, as in the challenge: there it was
the validation set. Where one is there, it is split by splits.split_of. The set names no subjects: every image is its
own identity.

Images lie in `images`, under the last part of the first address. The crop is the box in `boxes` where given, made
square by its longer side; else the centred square of the image.
"""

from pathlib import Path

import pandas as pd

from fabnet.attributes.boxes import BOX, read_boxes, squares
from fabnet.attributes.folder import Annotation, LeftOut, base_name, first_folder, joined, splits_of, without_suffix
from fabnet.attributes.label_files import as_numbers, header_fields, place, read_text
from fabnet.config import SetParams
from fabnet.errors import UserError
from fabnet.progress import track
from fabnet.tables import UNIT_COLUMNS, UNITS

#: Round numbers: the releases were 950 thousand automatic annotations, and 24.6 thousand manual ones.
PUBLISHED = {"train": 950_000, "test": 24_600}

NOT_ANNOTATED = 999

_FIELDS = ["url", "original", *(f"AU{unit}" for unit in range(1, 61))]
_UNITS = [f"AU{unit}" for unit in UNITS]


def read(name: str, params: SetParams) -> Annotation:
    """The faces of EmotioNet.

    Args:
        name: of the set, for lines of progress.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    automatic = sorted(params.path.glob("dataFile_*.txt"))
    manual = sorted(params.path.glob("EmotioNet_FACS*.csv"))
    if not automatic and not manual:
        raise UserError(f"{params.path}: has neither dataFile_*.txt nor EmotioNet_FACS*.csv")
    left_out = LeftOut()
    files = [(path, "train") for path in automatic] + [(path, "test") for path in manual]
    read_all = track(files, f"{name}: reading labels", len(files), "file")
    faces = joined({path.name: _annotated(path, left_out).assign(split=split) for path, split in read_all})
    stem = without_suffix(faces["image"])
    faces = faces.assign(face_id=stem, identity=stem)
    source = str(params.path)
    # The test set's images are among those that were labelled automatically.
    if automatic and manual:
        tested = faces["image"].isin(faces.loc[faces["split"] == "test", "image"])
        faces = left_out.without(faces, tested & (faces["split"] == "train"), "also in the test set", source)
        published = dict(PUBLISHED)
    else:
        faces["split"] = splits_of(faces["identity"], params.seed)
        published = {"all": PUBLISHED["train" if automatic else "test"]}
    if params.boxes is not None:
        faces = faces.join(squares(read_boxes(params.path / params.boxes, faces["image"])))
        faces = left_out.without(faces, faces[BOX].isna().any(axis=1), f"no box in {params.boxes}", source)
    root = first_folder(params.path, ("images", "imgs"), "images")
    return Annotation(faces, source, root, left_out, published, whole="centred square")


def _annotated(path: Path, left_out: LeftOut) -> pd.DataFrame:
    """Columns image and UNIT_COLUMNS of the faces in a file whose eleven units are all annotated."""
    if path.suffix == ".txt":
        table = read_text(path, ["url", *_UNITS], "\t", _FIELDS)
    else:
        names = [_bare(field) for field in header_fields(path)]
        if "URL" not in names:
            raise UserError(f"{path}, line 1: names no column URL, but {', '.join(names[:5])}")
        table = read_text(path, ["URL", *_UNITS], ",", names).iloc[1:].rename(columns={"URL": "url"})
    faces = pd.DataFrame({"image": base_name(table["url"].str.strip("'\" "))})
    empty = faces["image"] == ""
    if empty.any():
        raise UserError(f"{place(path, faces.index, faces.index[empty.to_numpy()][0])}: names no image")
    complete = pd.Series(True, faces.index)
    for column, name in zip(UNIT_COLUMNS, _UNITS, strict=True):
        values = as_numbers(table[name].str.strip("'"), path)
        complete &= values.notna() & (values != NOT_ANNOTATED)
        wrong = values.notna() & ~values.isin([0, 1, NOT_ANNOTATED])
        if wrong.any():
            row = values.index[wrong.to_numpy()][0]
            raise UserError(
                f"{place(path, values.index, row)}: {name} is {values.loc[row]:g}, not 0, 1 or {NOT_ANNOTATED}"
            )
        faces[column] = values
    return left_out.without(faces, ~complete, "one of the eleven units is not annotated", str(path))


def _bare(name: str) -> str:
    return name.replace("'", "").replace('"', "").replace(" ", "")
