"""A labelled set that is a folder of image files: from what its annotation says to a legal table of faces."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fabnet import tables
from fabnet.attributes.boxes import BOX, Unit, in_fractions, in_pixels
from fabnet.attributes.images import ABSENT, UNREADABLE, crop_box, read_image, sizes_of
from fabnet.attributes.label_files import lines_in, place, places
from fabnet.attributes.names import Spellings, nfc
from fabnet.attributes.tasks import Task, tasks_of
from fabnet.config import SetParams
from fabnet.errors import UserError

#: Share of the training people of a set with an official test set who become validation.
VALIDATION = 0.1
logger = logging.getLogger(__name__)

_KEYS = ["face_id", "identity", "split", "image", *BOX]
LABEL_COLUMNS = [column for column in tables.Labels.to_schema().columns if column not in _KEYS]


class LeftOut:
    """Counts faces left out, by reason; rows of the tables given are named by their index, as `place` takes it."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, first: str, count: int = 1) -> None:
        """Count faces; `first` says which the first one is, and where it comes from.

        Args:
            reason: in a few words.
            first: the first such face, and where it stands.
            count: of faces.
        """
        if count:
            known, place = self._rows.get(reason, (0, first))
            self._rows[reason] = known + count, place

    def without(self, faces: pd.DataFrame, bad: "pd.Series[bool]", reason: str, source: str) -> pd.DataFrame:
        """The `faces` that are not `bad`; the others are counted. They need the column `image`.

        Args:
            faces: with the column image.
            bad: one value per face.
            reason: in a few words.
            source: the file that the rows stand in, or the folder of several.
        """
        if not bad.any():
            return faces
        first = faces.index[bad.to_numpy()][0]
        self.add(
            reason, f"{place(source, faces.index, first)}: {faces['image'][bad.to_numpy()].iloc[0]}", int(bad.sum())
        )
        return faces[~bad.to_numpy()]

    def table(self) -> pd.DataFrame:
        """Columns reason, faces (int64) and first, the most frequent reason first."""
        rows = [(reason, count, first) for reason, (count, first) in self._rows.items()]
        frame = pd.DataFrame(rows, columns=["reason", "faces", "first"]).astype(
            {"reason": "str", "faces": "int64", "first": "str"}
        )
        return frame.sort_values(["faces", "reason"], ascending=[False, True], ignore_index=True)

    def line(self) -> str:
        """All of it in one line."""
        return "; ".join(
            f"{count:,} left out: {reason} (first: {first})" for reason, (count, first) in self._rows.items()
        )


def share_of(name: str, seed: int) -> float:
    """A number in [0, 1), uniform over names: a function of the name and the seed only.

    Args:
        name: of an identity or image.
        seed: of the splits.
    """
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) / 2**32


def split_of(name: str, seed: int) -> str:
    """The split of a person, or image, of a set without an official one: 60 % train, 15 % validation, 25 % test.

    Args:
        name: of an identity or image.
        seed: of the splits.
    """
    share = share_of(name, seed)
    return "train" if share < 0.60 else "validation" if share < 0.75 else "test"


def splits_of(identities: pd.Series, seed: int) -> pd.Series:
    """`split_of` every row.

    Args:
        identities: one per face.
        seed: of the splits.
    """
    chosen = {name: split_of(name, seed) for name in identities.unique()}
    return identities.map(chosen).astype("str")


def carve_validation(faces: pd.DataFrame, seed: int) -> pd.Series:
    """The column split, with VALIDATION of the training people in `validation`, unless it has some already.

    All faces of an identity move together, and none leaves `test`.

    Args:
        faces: with the columns split and identity.
        seed: of the choice.
    """
    split = faces["split"]
    if (split == "validation").any():
        return split
    people = faces.loc[split == "train", "identity"].unique()
    chosen = {name for name in people if share_of(f"validation:{name}", seed) < VALIDATION}
    return split.mask((split == "train") & faces["identity"].isin(chosen), "validation")


@dataclass
class Annotation:
    """What the files of a set say about its faces.

    Attributes:
        faces: columns of tables.Labels; split holds train and test, and validation where the set says so; without the
            columns of the box, a crop is the image as `whole` says. The index says where a face stands in `source`, as
            label_files.place takes it.
        source: the file of the labels, or the folder of several.
        root: folder that the column `image` starts from.
        left_out: faces that are not in `faces`.
        published: faces of the published set, by "train" (with validation) and "test", or "all", where known.
        counted: what `published` counts.
        share: of the side of the centred square.
        size: width and height that every image has to have, if the set has one.
        exif: whether labels are about images as viewers show them, turned as EXIF says, or about stored pixels, as
            those of the published sets are.
        unit: of the boxes (and of landmarks that are fractions where boxes are); None where nobody told it.
    """

    faces: pd.DataFrame
    source: str
    root: Path
    left_out: LeftOut = field(default_factory=LeftOut)
    published: dict[str, int] = field(default_factory=dict)
    counted: Literal["faces", "images"] = "faces"
    whole: Literal["resized", "centred square"] = "resized"
    share: float = 1.0
    size: tuple[int, int] | None = None
    exif: bool = False
    unit: Unit | None = "pixels"

    @cached_property
    def files(self) -> Spellings:
        """The images, by the column `image`."""
        return Spellings(self.root)


class ImageFolder:
    """Reader of a folder of images by the function that reads its annotation, which it calls when first asked."""

    def __init__(self, name: str, params: SetParams, read: Callable[[str, SetParams], Annotation]) -> None:
        self.name = name
        self.params = params
        self._read = read
        if not params.path.is_dir():
            raise UserError(f"{params.path}: no such folder; put the set there or correct sets.{name}.path")

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tasks_of(self.table())

    @property
    def left_out(self) -> pd.DataFrame:
        return self.counted_out.table()

    @property
    def counted_out(self) -> LeftOut:
        """What `left_out` is made of."""
        return self._loaded[1].left_out

    def table(self) -> pd.DataFrame:
        return self._loaded[0]

    def crop(self, row: Any, size: int) -> np.ndarray:
        """The face of one row: uint8 RGB (size, size, 3).

        Args:
            row: of `table().itertuples()`.
            size: side of the crop, in pixels.

        Raises:
            UserError: its image cannot be read; names the set and the face.
        """
        try:
            return crop_box(self.image(row.image), row, size)
        except UserError as error:
            raise UserError(f"labelled set {self.name}, face {row.face_id}: {error}") from None

    def image(self, name: str) -> np.ndarray:
        """An image that the table names: uint8 RGB (H, W, 3)."""
        path = self.file(name)
        try:
            return read_image(path.read_bytes(), path, self._loaded[1].exif)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None

    def file(self, name: str) -> Path:
        """The file of an image that the table names."""
        return self._loaded[1].files.path(name)

    def fingerprint(self) -> str:
        """See LabelledSet.

        Raises:
            UserError: an image is no longer there.
        """
        table = self.table()
        return crops_fingerprint(table, map(self.file, table["image"].unique()), self._loaded[1].exif)

    def sizes(self, said: Annotation, names: list[str]) -> np.ndarray:
        """Width and height of images, and whether they are turned, as images.sizes_of gives them.

        Args:
            said: what the set's files say.
            names: of the images.
        """
        return sizes_of((said.files.path(name) for name in names), len(names), self.name, said.exif)

    @cached_property
    def _loaded(self) -> tuple[pd.DataFrame, Annotation]:
        said = self._read(self.name, self.params)
        faces = self._usable(said)
        if faces.empty:
            raise UserError(f"{said.source}: no face can be used; {said.left_out.line() or 'it names none'}")
        faces = faces.assign(split=carve_validation(faces, self.params.seed))
        faces = faces[[column for column in (*_KEYS, *LABEL_COLUMNS) if column in faces]]
        faces = tables.check(faces, tables.Labels, said.source).reset_index(drop=True)
        logger.info(_told(self.name, faces, said))
        return faces, said

    def _usable(self, said: Annotation) -> pd.DataFrame:
        """The faces whose labels and images can be used, each once."""
        faces, left_out, source = said.faces, said.left_out, said.source
        faces = faces.assign(**{column: nfc(faces[column]) for column in ("face_id", "identity", "image")})
        if self.params.exclude is not None:
            listed = nfc(lines_in(self.params.path / self.params.exclude))
            clip = faces["image"].str.replace("@[^@]*$", "", regex=True)  # of a frame of a clip
            bad = faces["image"].isin(listed) | clip.isin(listed)
            faces = left_out.without(faces, bad, "listed in `exclude`", source)
        # Left out as a whole: a set is labelled for all of its tasks, and a gap would be learnt as a number.
        for column in [column for column in LABEL_COLUMNS if column in faces]:
            faces = left_out.without(faces, faces[column].isna(), f"{column} is not given", source)
        box = [column for column in BOX if column in faces]
        faces = left_out.without(faces, faces[box].isna().any(axis=1), "its box is not given", source)
        faces = each_once(
            faces,
            ["image", *box],
            ["identity", "split", *(column for column in LABEL_COLUMNS if column in faces)],
            source,
            left_out,
            lambda face, column: (
                f"are about the same face of {face['image']}, but differ in {column}; correct one, or list the image "
                "in `exclude`"
            ),
        )
        faces = each_once(
            faces,
            ["face_id"],
            ["image", *box],
            source,
            left_out,
            lambda face, column: f"are both called {face['face_id']}, but differ in {column}; a name means one face",
        )
        names = faces["image"].unique()
        known = self.sizes(said, names.tolist())
        sizes = known[pd.Index(names).get_indexer(pd.Index(faces["image"]))]

        def drop(bad: NDArray[np.bool_], reason: str) -> None:
            nonlocal faces, sizes
            faces, sizes = left_out.without(faces, pd.Series(bad), reason, source), sizes[~bad]

        drop(sizes[:, 0] == ABSENT[0], "the image is missing")
        drop(sizes[:, 0] == UNREADABLE[0], "the image cannot be read")
        # The labels of an aligned release are pixels of images of its size, and of no others.
        if said.size is not None:
            other = (sizes[:, :2] != said.size).any(axis=1)
            drop(other, f"the image is not {said.size[0]} x {said.size[1]}")
        turned = int((known[:, 2] == 1).sum())
        if turned:
            logger.info(
                "labelled set %s: %s photos are turned upright, as their EXIF orientation says; boxes and landmarks "
                "have to be of the upright ones",
                self.name,
                f"{turned:,}",
            )
        faces = faces.assign(**_points_in_pixels(faces, said.unit, sizes[:, :2]))
        # Aligned images show nothing but a face: the box is the image.
        if not box:
            return faces.assign(**_whole(pd.DataFrame(sizes[:, :2], faces.index, ["width", "height"]), said))
        edges = in_pixels(faces[BOX], said.unit, sizes[:, :2], source)
        faces = faces.assign(**edges)
        # Rounded as the crop will be: at least a pixel of the box has to be in the image.
        shown = edges.round().to_numpy()
        drop(
            (shown[:, :2] >= sizes[:, :2]).any(axis=1) | (shown[:, 2:] <= 0).any(axis=1),
            "the box lies outside the image",
        )
        return faces


def crops_fingerprint(table: pd.DataFrame, files: Iterable[Path], exif: bool) -> str:
    """SHA-256 of all that crops are made from: names, images and boxes of faces, and path, size and time of files.

    Args:
        table: of the faces, tables.Labels.
        files: of their images, each once.
        exif: whether images are turned as EXIF says.

    Raises:
        UserError: a file is no longer there.
    """
    digest = hashlib.sha256(f"{exif}\n".encode())
    digest.update(pd.util.hash_pandas_object(table[["face_id", "image", *BOX]], index=False).to_numpy().tobytes())
    for path in files:
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        digest.update(f"{path.absolute().as_posix()!a} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def first_folder(path: Path, names: tuple[str, ...], what: str) -> Path:
    """The first of some folders below `path` that exists.

    Args:
        path: of the set.
        names: of the folders, in the order tried.
        what: should be in it, for the error.

    Raises:
        UserError: none does.
    """
    for name in names:
        if (path / name).is_dir():
            return path / name
    raise UserError(f"{path}: has no folder {' or '.join(names)} of {what}")


def base_name(names: pd.Series) -> pd.Series:
    """What follows the last slash."""
    return names.str.replace("^.*/", "", regex=True)


def without_suffix(names: pd.Series) -> pd.Series:
    """What comes before the last dot."""
    return names.str.replace("[.][^./]*$", "", regex=True)


def joined(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of several files as one table, whose index says in words where a row stands.

    Args:
        parts: by the file's name below the set's folder; rows are named by their index.
    """
    placed = [
        part.set_index(f"{name}, {part.index.name} " + part.index.astype("str")).rename_axis(None)
        for name, part in parts.items()
    ]
    return pd.concat(placed).astype({"split": "str"})


def each_once(
    faces: pd.DataFrame,
    key: Sequence[str],
    columns: Iterable[str],
    source: str,
    left_out: LeftOut,
    conflict: Callable[[pd.Series, str], str],
) -> pd.DataFrame:
    """The `faces` without rows that repeat what an earlier row says; they are counted in `left_out`.

    Args:
        faces: rows are named by their index.
        key: columns that say which face a row is about.
        columns: those that have to be the same in all rows about a face.
        source: what the rows stand in.
        left_out: what counts them.
        conflict: what an error says of two rows, from the later one and the column in which they differ.

    Raises:
        UserError: two rows say different things about the same face.
    """
    again = faces.duplicated(list(key))
    if not again.any():
        return faces
    repeated = faces[again]
    earlier = repeated[list(key)].merge(
        faces[~again].assign(row=faces.index[~again.to_numpy()]), on=list(key), how="left"
    )
    for column in columns:
        for number, (later, first) in enumerate(zip(repeated[column], earlier[column], strict=True)):
            if not np.array_equal(later, first):
                rows = places(source, faces.index, earlier["row"].iloc[number], repeated.index[number])
                raise UserError(f"{rows} {conflict(repeated.iloc[number], column)}")
    return left_out.without(faces, again, "listed twice", source)


def _points_in_pixels(faces: pd.DataFrame, unit: Unit | None, sizes: np.ndarray) -> dict[str, pd.Series]:
    """Landmarks that are fractions of the image, as boxes are, in pixels."""
    if unit != "fraction":
        return {}
    found = {}
    for column in [column for column in ("landmarks68", "landmarks5") if column in faces]:
        points = np.array(faces[column].tolist()).reshape(len(faces), -1, 2)
        if len(points) and in_fractions(points):
            found[column] = pd.Series(list((points * sizes[:, None]).reshape(len(faces), -1)), faces.index)
    return found


def _whole(sizes: pd.DataFrame, said: Annotation) -> dict[str, pd.Series]:
    """The box of images without one, in whole pixels."""
    width, height = sizes["width"], sizes["height"]
    if said.whole == "resized":
        zero = width * 0.0
        return {"left": zero, "top": zero, "right": width.astype(float), "bottom": height.astype(float)}
    side = (width.where(width < height, height) * said.share).round().clip(lower=1)
    left, top = (width - side) // 2, (height - side) // 2
    return {key: edge.astype(float) for key, edge in zip(BOX, (left, top, left + side, top + side), strict=True)}


def _told(name: str, faces: pd.DataFrame, said: Annotation) -> str:
    """One line: how many faces there are, how many are published, and what was left out."""
    column = "face_id" if said.counted == "faces" else "image"
    test = faces["split"] == "test"
    parts = {"train": ("train and validation", ~test), "test": ("test", test)}
    if "all" in said.published:
        parts = {"all": ("all splits", test | ~test)}
    told = []
    for key, (words, rows) in parts.items():
        count, wanted = faces.loc[rows, column].nunique(), said.published.get(key)
        beside = " (as published)" if wanted == count else ""
        if wanted is not None and wanted != count:
            beside = f" (published: {wanted:,}; {abs(wanted - count):,} {'fewer' if count < wanted else 'more'})"
        told.append(f"{count:,} {said.counted} of {words}{beside}")
    out = said.left_out.line()
    return f"labelled set {name}: {', '.join(told)}{'; ' + out if out else ''}"
