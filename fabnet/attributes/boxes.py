"""Boxes of faces: how tables write them, in which unit, and the squares around them.

A table may have several of the columns below for other reasons: `width` and `height` of its images, `x` and `y` of a
gaze. A box is what all four columns of a form are there for.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from fabnet.attributes.label_files import as_numbers, place, places, read_text
from fabnet.errors import UserError

Unit = Literal["pixels", "fraction", "percent"]

BOX = ["left", "top", "right", "bottom"]
_CORNER, _SIZED = ["left", "top", "width", "height"], ["x", "y", "width", "height"]
_CENTRED = ["x_center", "y_center", "width", "height"]
#: The ways to write a box; of several, the first is taken.
_FORMS = (BOX, _CORNER, _SIZED, _CENTRED)
COLUMNS = list(dict.fromkeys(column for form in _FORMS for column in form))

#: What a whole image measures in each unit, and how far a box may reach beyond it: detectors guess what is outside.
_WHOLE = {"fraction": 1.0, "percent": 100.0}
_BEYOND = 1.5
#: An image whose sides are so many times 100 pixels is no thumbnail, whose boxes might all be below 100 pixels.
_LARGE = 2
#: Two forms of one box may differ by so many pixels, as where the last pixel counts, or by this share of the image.
_SAME, _SAME_SHARE = 1.5, 0.01

logger = logging.getLogger(__name__)


def read_box(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame | None, bool]:
    """The edges of the boxes of a table in its own unit, and whether they have percent signs.

    Args:
        table: those of COLUMNS that a file has, text or numbers, among others.
        where: the file, for errors.

    Returns:
        Columns left, top, right and bottom, NaN in rows whose box is not complete; None where the table has no box.

    Raises:
        UserError: half of a box, two boxes that contradict each other, or something else than numbers.
    """
    forms = [form for form in _FORMS if set(form) <= set(table)]
    if BOX in forms and _CORNER in forms:  # the sides are the image's, as TensorFlow exports them, or the box's own
        forms.remove(_CORNER)
    values, percent = _values(table[list(dict.fromkeys(column for form in forms for column in form))], where)
    if _SIZED in forms and _mixed(values[_SIZED]):
        forms.remove(_SIZED)
    if not forms:
        _refuse_half(table, where)
    used = forms[0] if forms else []
    if other := [column for column in COLUMNS if column in table and column not in used]:
        logger.info("%s: no box is taken from %s", where, ", ".join(other))
    if not forms:
        return None, False
    edges = _edges(values, used)
    for form in forms[1:]:
        _refuse_contradiction(edges, used, _edges(values, form), form, where)
    return edges.where(edges.notna().all(axis=1)), percent


def in_pixels(edges: pd.DataFrame, told: Unit | None, sizes: np.ndarray, where: str) -> pd.DataFrame:
    """Boxes in pixels of their images.

    Args:
        edges: as `read_box` gives them, without NaN.
        told: their unit. Where it is not told, boxes that do not look like pixels are refused.
        sizes: width and height of the images, (n, 2).
        where: the file, for errors.

    Raises:
        UserError: boxes are in another unit than told, in several, or have no area; names the rows.
    """
    refuse_flat(edges, where)  # first: zeros, which some detectors write where they found nothing, are of no unit
    if len(edges) and told != "pixels" and (found := looks_like(edges, where, sizes)) not in (told, None):
        insist = "; `boxes: pixels` insists that they are pixels" * (told is None)
        raise UserError(
            f"{where}: boxes look like {_words(found)} of the image ({_first(edges)}); `boxes: {found}` converts "
            f"them{insist}"
        )
    if told in _WHOLE:
        beyond = edges.abs().max(axis=1) > _BEYOND * _WHOLE[told]
        if beyond.any():
            row = edges.index[beyond.to_numpy()][0]
            raise UserError(
                f"{place(where, edges.index, row)}: the box {_shown(edges[beyond])} is not in {_words(told)} of the "
                f"image, as `boxes: {told}` says"
            )
        edges = edges * (np.tile(sizes, 2) / _WHOLE[told])
    return edges


def refuse_flat(edges: pd.DataFrame, where: str) -> None:
    """Raises UserError where a box has no area.

    Args:
        edges: left, top, right, bottom; NaN is passed over.
        where: the file, for errors.
    """
    flat = (edges["right"] <= edges["left"]) | (edges["bottom"] <= edges["top"])
    if flat.any():
        row = edges.index[flat.to_numpy()][0]
        raise UserError(f"{place(where, edges.index, row)}: the box {_shown(edges[flat])} has no area")


def looks_like(edges: pd.DataFrame, where: str, sizes: np.ndarray | None = None) -> Unit | None:
    """The unit that boxes have to be in; None where they may be pixels.

    Args:
        edges: without NaN.
        where: the file, for errors.
        sizes: width and height of the images, (n, 2), where they are known.

    Raises:
        UserError: some look like fractions, and others like pixels.
    """
    farthest = edges.abs().max(axis=1)
    small = farthest <= _BEYOND
    if small.all():
        return "fraction"
    if small.any():
        one, other = edges.index[small.to_numpy()][0], edges.index[~small.to_numpy()][0]
        raise UserError(
            f"{places(where, edges.index, one, other)}: boxes are of different units: {_shown(edges[small])} is in "
            f"fractions of the image, {_shown(edges[~small])} is not; give all in one unit"
        )
    whole = _WHOLE["percent"]
    if sizes is not None and (farthest <= whole).all() and (np.asarray(sizes) >= _LARGE * whole).all():
        return "percent"
    return None


def in_fractions(points: np.ndarray) -> bool:
    """Whether points, of any shape, can be no pixels, and so are fractions of the image.

    Args:
        points: x and y.
    """
    return bool(np.abs(points).max() <= _BEYOND)


def read_boxes(path: Path, images: pd.Series) -> pd.DataFrame:
    """Boxes of images from a CSV image,left,top,right,bottom: a row per image, in order, NaN where it has none.

    Args:
        path: of the CSV.
        images: names whose boxes are wanted.

    Raises:
        UserError: the file cannot be read, has no number where one is due, an image twice, or boxes in fractions.
    """
    table = read_text(path, ["image", *BOX])
    twice = table["image"].duplicated()
    if twice.any():
        row = table.index[twice.to_numpy()][0]
        raise UserError(f"{place(path, table.index, row)}: {table['image'].loc[row]} comes a second time")
    for column in BOX:
        table[column] = as_numbers(table[column], path)
    given = table[BOX].dropna()
    if len(given) and looks_like(given, str(path)) == "fraction":
        raise UserError(f"{path}: boxes are in fractions of the image ({_first(given)}); write pixels")
    refuse_flat(table, str(path))
    return table.set_index("image")[BOX].reindex(images.to_numpy()).set_index(images.index)


def squares(boxes: pd.DataFrame, margin: float = 0.0) -> pd.DataFrame:
    """Squares of whole pixels around boxes, by their longer side; NaN stays NaN.

    Args:
        boxes: left, top, right, bottom.
        margin: by which a box grows on each side first, as a share of that side.
    """
    width, height = boxes["right"] - boxes["left"], boxes["bottom"] - boxes["top"]
    side = ((1 + 2 * margin) * width.where(width > height, height)).round().clip(lower=1)
    left = ((boxes["left"] + boxes["right"] - side) / 2).round()
    top = ((boxes["top"] + boxes["bottom"] - side) / 2).round()
    return pd.DataFrame({"left": left, "top": top, "right": left + side, "bottom": top + side})


def _values(table: pd.DataFrame, where: str) -> tuple[pd.DataFrame, bool]:
    """The numbers, and whether all of them are in percent by their signs."""
    values, signs = {}, pd.DataFrame(index=table.index)
    for name in table:
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column):
            text = column.astype("str").str.strip()
            signs[name] = text.str.endswith("%")
            column = column.mask(signs[name], text.str.removesuffix("%").str.strip())
        numbers = as_numbers(column, where)
        infinite = np.isinf(numbers.to_numpy())
        if infinite.any():
            row = numbers.index[infinite][0]
            raise UserError(f"{place(where, numbers.index, row)}: {name} is infinite")
        values[name] = numbers
    frame = pd.DataFrame(values)
    given = frame.notna()
    if not signs.shape[1] or not signs.to_numpy().any():
        return frame, False
    bare = (given & ~signs.reindex(columns=frame.columns, fill_value=False)).any(axis=1)
    if bare.any():
        one, other = frame.index[signs.any(axis=1).to_numpy()][0], frame.index[bare.to_numpy()][0]
        raise UserError(
            f"{places(where, frame.index, one, other)}: boxes are of different units, with percent signs and without; "
            "give all in one unit"
        )
    return frame, True


def _edges(values: pd.DataFrame, form: list[str]) -> pd.DataFrame:
    first, second, third, fourth = (values[column] for column in form)
    if form == _CENTRED:
        first, second = first - third / 2, second - fourth / 2
    if form != BOX:
        third, fourth = first + third, second + fourth
    return pd.DataFrame(dict(zip(BOX, (first, second, third, fourth), strict=True)))


def _mixed(values: pd.DataFrame) -> bool:
    """Whether the places are no pixels but the sides are: a gaze and the size of the image."""
    x, y, width, height = (values[column] for column in values)
    close = max(x.abs().max(), y.abs().max()) <= _BEYOND < min(width.min(), height.min())
    return bool(close and ((x % 1 != 0) | (y % 1 != 0)).any())


def _refuse_half(table: pd.DataFrame, where: str) -> None:
    """Raises UserError where columns are most of a box, and can hardly be anything else."""
    for form in _FORMS:
        has = [column for column in form if column in table]
        corner = {"left", "top"} <= set(has) or {"right", "bottom"} <= set(has) or "x_center" in has
        if len(has) == 3 or (corner and form in (BOX, _CENTRED)):
            raise UserError(f"{where}: has {', '.join(has)}, but not {', '.join(sorted(set(form) - set(has)))}")


def _refuse_contradiction(
    ours: pd.DataFrame, form: list[str], theirs: pd.DataFrame, other: list[str], where: str
) -> None:
    both = ours.notna().all(axis=1) & theirs.notna().all(axis=1)
    ours, theirs = ours[both], theirs[both]
    if not len(ours):
        return
    fractions = max(ours.abs().to_numpy().max(), theirs.abs().to_numpy().max()) <= _BEYOND
    apart = (ours - theirs).abs().max(axis=1) > (_SAME_SHARE if fractions else _SAME)
    if apart.any():
        row = ours.index[apart.to_numpy()][0]
        raise UserError(
            f"{place(where, ours.index, row)}: {', '.join(form)} give the box {_shown(ours[apart])}, but "
            f"{', '.join(other)} give {_shown(theirs[apart])}; correct them, or rename those that are no box"
        )


def _shown(edges: pd.DataFrame) -> str:
    """The first of some boxes."""
    return ", ".join(f"{value:g}" for value in edges[BOX].iloc[0])


def _first(edges: pd.DataFrame) -> str:
    return f"{_shown(edges)} in {edges.index.name} {edges.index[0]}"


def _words(unit: str | None) -> str:
    return "fractions" if unit == "fraction" else str(unit)
