"""Embeddings of any supported form become an index, with the known metadata of each face."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fabnet.errors import UserError, counted, one_line
from fabnet.probing.outside import Outside, open_outside
from fabnet.retrieval.index import Index, write_index
from fabnet.tables import IndexRows

_TEXTS = ("video", "track", "identity", "image")
_NUMBERS = ("time_s", "left", "top", "right", "bottom")

#: What tables call a column of ours.
_NAMES = {"face_id": "id", "track_id": "track"}


def build_index(
    embeddings: Path,
    out: Path,
    ids: Path | None = None,
    about: Path | None = None,
    half: bool = False,
    build_ann: Callable[..., dict[str, Any]] | None = None,
) -> Index:
    """Write the index `out` of embeddings, see fabnet.probing.outside.open_outside for their forms.

    Args:
        embeddings: a file or folder of N embeddings.
        out: the folder to write.
        ids: what names the rows of an .npy file.
        about: a table with a column id or face_id and any of video, track, identity, time_s, image and a box, such as
            the labels of a set.
        half: keep float16 vectors, half the space, instead of float32.
        build_ann: makes the approximate part (`retrieval.ann.build`); None leaves it out.

    Raises:
        UserError: a file is absent or damaged, or an embedding has no direction; names the row.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-table-") as scratch:
        found = open_outside(embeddings, Path(scratch), ids)
        rows = _rows(found, embeddings, about)
        return write_index(out, found.array, rows, found.origin, str(embeddings), half, build_ann)


def _rows(found: Outside, embeddings: Path, about: Path | None) -> pd.DataFrame:
    count = len(found.ids)
    rows = pd.DataFrame({"id": pd.Series(found.ids, dtype="str")})
    for name in _TEXTS:
        rows[name] = pd.Series([None] * count, dtype="str")
    for name in _NUMBERS:
        rows[name] = np.full(count, np.nan)
    if embeddings.suffix.lower() == ".parquet":
        _fill(rows, _of_table(embeddings))
    if about is not None:
        known = _read(about).drop_duplicates("id").set_index("id")
        here = known.reindex(rows["id"])
        if not rows["id"].isin(known.index).any():
            raise UserError(
                f"{about}: names none of the {counted(count, 'face')} (such as {rows['id'].iloc[0]}; it names "
                f"{', '.join(map(str, known.index[:1]))})"
            )
        _fill(rows, here.reset_index(drop=True))
    return rows[list(IndexRows.to_schema().columns)]


def _fill(rows: pd.DataFrame, known: pd.DataFrame) -> None:
    """Copy the known columns into `rows`."""
    for name in _TEXTS:
        if name in known:
            text = known[name].astype("object").where(known[name].notna() & (known[name] != ""), None)
            rows[name] = text.map(str, na_action="ignore").astype("str")
    for name in _NUMBERS:
        if name in known:
            rows[name] = known[name].astype(np.float64)


def _of_table(path: Path) -> pd.DataFrame:
    """The known columns of a table of embeddings, in the order of its rows."""
    has = pq.read_schema(path).names
    wanted = {"input", "frame", "track", "face_id", "track_id", *_TEXTS, *_NUMBERS} & set(has)
    table = pq.read_table(path, columns=sorted(wanted)).to_pandas()
    if {"input", "track"} <= set(has):  # of `fabnet embed`: a track is a number within its input
        table["track"] = table["input"] + "#" + table["track"].astype("str")
        table["video"] = table["image"] = table["input"]
    return table.rename(columns=_NAMES)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: no such file; --about names a table, Parquet or CSV")
    try:
        if path.suffix.lower() == ".csv":
            table = pd.read_csv(path, dtype=dict.fromkeys((*_TEXTS, *_NAMES, "id"), "str"))
        else:
            names = {"id", *_NAMES, *_TEXTS, *_NUMBERS}
            table = pq.read_table(
                path, columns=[name for name in pq.read_schema(path).names if name in names]
            ).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as a table: {one_line(error)}") from None
    table = table.rename(columns=_NAMES)
    if "id" not in table:
        raise UserError(f"{path}: has no column id or face_id; it has {', '.join(map(str, table.columns[:20]))}")
    try:
        return table.astype({name: np.float64 for name in _NUMBERS if name in table})
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {one_line(error)}") from None
