"""Neighbours of faces in an index of embeddings, and a page that shows them.

A query is a face of an image or a video, or a row of the index. The page is one HTML file that holds its pictures: no
network, no script, no other file.
"""

import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
from numpy.typing import NDArray

from fabnet import tables
from fabnet.attributes.images import crop_box
from fabnet.config import ExtractParams
from fabnet.errors import UserError, counted
from fabnet.faces.face_params import check_recipe
from fabnet.faces.found import Faces, find_faces
from fabnet.faces.inputs import find_input
from fabnet.frames.store import FrameStore
from fabnet.model import Model
from fabnet.pages import render
from fabnet.retrieval import ann, exact
from fabnet.retrieval.exact import unit
from fabnet.retrieval.index import Index
from fabnet.video.images import decode_upright, still
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected

_BATCH = 64


@dataclass(frozen=True)
class Query:
    """A face to search for.

    Attributes:
        name: of the face: an id of the index, or the file, and the number of the track where a file has several.
        vector: (D,), of length 1.
        video, track, identity: what rows may share with it, empty where it is not known.
        row: of the index, -1 where it is none of them.
        jpeg: how it looks, empty where that is not known.
    """

    name: str
    vector: NDArray[np.float32]
    video: str = ""
    track: str = ""
    identity: str = ""
    row: int = -1
    jpeg: bytes = b""


def of_index(index: Index, id_: str) -> Query | None:
    """A row of the index, if there is one with this id.

    Args:
        index: to look in.
        id_: a value of its column `id`.
    """
    at = pc.index(index.column("id"), id_).as_py()
    if at < 0:
        return None
    row = index.take(np.array([at])).iloc[0].fillna("")
    vector = unit(index.vectors.take(np.array([at])))[0]
    return Query(id_, vector, row["video"], row["track"], row["identity"], at)


def check_model(index: Index, model: Model, params: ExtractParams, force: bool) -> None:
    """Refuse embeddings that cannot be compared with those of the index.

    Args:
        index: whose `origin` says which weights and recipe its embeddings come from.
        model: whose embeddings the queries are.
        params: how the faces of queries are found.
        force: accept another recipe of the crops, and an index that does not say whose embeddings it holds.

    Raises:
        UserError: other weights, or another recipe of the crops.
    """
    known, crops = index.origin.get("weights_sha256"), index.origin.get("recipe_hash")
    if known or not force:
        try:
            model.accept(index.origin, index.directory, crops=False)
        except UserError as error:
            raise error if known else UserError(f"{error}, or, if it did, use --force") from None
    if force:
        return
    check_recipe(model.recipe, params)
    if crops is not None and crops != (ours := recipe(params)["hash"]):
        raise UserError(
            f"{index.directory}: holds faces cropped under recipe {crops}, the query's would be under {ours}; choose "
            "--faces and --margin as they were for the gallery, or go on all the same with --force"
        )


def of_file(path: str, model: Model, params: ExtractParams, each_frame: bool = False) -> list[Query]:
    """The faces of an image, or the tracks of a video: the mean direction of a track's frames, or each of them.

    Args:
        path: of the image or video.
        model: embeds the faces.
        params: how faces are found.
        each_frame: every frame is a query, not the mean of each track.

    Raises:
        UserError: it cannot be read, or shows no face.
    """
    each = find_input(path, "--query names an image, a video or an id of the index")
    try:
        faces = Faces(each.name, find_faces(each, params), params)
    except Rejected as reject:
        raise UserError(f"{path}: {reject.reason}: {reject.detail}") from None
    tracks: dict[int, _Track] = {}
    singles = []
    rest = iter(faces)
    while batch := list(islice(rest, _BATCH)):
        embeddings = model.embed(np.stack([face.image for face in batch]))
        for face, vector in zip(batch, unit(embeddings), strict=True):
            tracks.setdefault(face.track, _Track(face.image, np.zeros_like(vector, np.float64))).add(vector)
            if each_frame:
                name = f"{each.name}#{face.track}"
                singles.append(Query(f"{name}#{face.frame}", vector, each.name, name, jpeg=_jpeg(face.image)))
    if each_frame:
        return singles
    return [
        Query(
            each.name if len(tracks) == 1 else f"{each.name}#{number}",
            unit(track.total[None])[0],
            each.name,
            f"{each.name}#{number}",
            jpeg=_jpeg(track.image),
        )
        for number, track in tracks.items()
    ]


@dataclass
class _Track:
    """The first crop of a track, and the sum of its directions so far."""

    image: NDArray[np.uint8]
    total: NDArray[np.float64]

    def add(self, vector: NDArray[np.float32]) -> None:
        self.total += vector


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(image, quality=88, colorspace="RGB"))


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        table: fabnet.tables.Neighbours.
        rows: numbers of the rows of the index, of each line of the table.
        missing: neighbours that were asked for and are not there, because rows were left out.
        recall: of the approximate part at this k, and the number of vectors that it was measured on; None if exact.
    """

    table: pd.DataFrame
    rows: np.ndarray
    missing: int
    recall: tuple[float, int] | None


def answer(
    index: Index,
    queries: Sequence[Query],
    k: int,
    left_out: Sequence[str] = ("track", "video"),
    approximate: bool = False,
    sample: int = 100,
) -> Answer:
    """The k nearest rows to each query, without the query itself.

    Args:
        index: of N rows.
        queries: their vectors have unit length and as many dimensions as the index.
        k: neighbours of each query.
        left_out: of track, video, identity: rows that share it with the query, as far as it is known.
        approximate: use the approximate part, and measure what it misses on so many vectors of the index.
        sample: number of vectors of the index that are searched both ways to measure the recall.

    Raises:
        UserError: the index has fewer than k rows, or no approximate part.
    """
    count, vectors = len(index.vectors), np.stack([query.vector for query in queries])
    if k > count:
        raise UserError(f"--k {k}: the index has {counted(count, 'row')}; ask for at most {count}")
    # A query that is a row of the index is its own nearest neighbour, which nobody asks for; -1 matches none.
    own = exact.Alike(np.array([query.row for query in queries]), np.arange(count))
    pairs = [own, *(_alike([getattr(one, name) for one in queries], index.column(name)) for name in left_out)]
    recall = None
    if approximate:
        if index.ann is None:
            raise UserError(
                f"{index.directory}: has no approximate part; build it with `fabnet index build ... --ann hnsw`"
            )
        part = ann.read(index.ann, count, index.vectors.shape[1])
        found = ann.search_ann(part, vectors, k, pairs)
        chosen = np.unique(np.linspace(0, count - 1, min(sample, count)).astype(np.int64))
        # The vectors that are searched are rows themselves, each without itself.
        others = min(k, count - 1)
        if others:
            recall = ann.recall(part, index.vectors, chosen, index.vectors.take(chosen), others), len(chosen)
    else:
        found = exact.search(index.vectors, vectors, k, pairs)
    there = found.rows >= 0
    table = _table(index, queries, found, there)
    return Answer(table, found.rows[there], int((~there).sum()), recall)


def _alike(names: Sequence[str], column: pa.ChunkedArray) -> exact.Alike:
    """As exact.alike, without an object for each row."""
    asked = sorted({name for name in names if name})
    if not asked:
        return exact.Alike(np.full(len(names), -1), np.full(len(column), -1))
    rows = pc.fill_null(pc.index_in(column, pa.array(asked, column.type)), -1).to_numpy().astype(np.int64)
    return exact.Alike(np.array([asked.index(name) if name else -1 for name in names]), rows)


def _table(index: Index, queries: Sequence[Query], found: exact.Neighbours, there: np.ndarray) -> pd.DataFrame:
    query, rank = np.nonzero(there)
    rows = index.take(found.rows[there]).reset_index(drop=True)
    table = pd.DataFrame(
        {
            "query": pd.Series([queries[i].name for i in query.tolist()], dtype="str"),
            "rank": (rank + 1).astype(np.int64),
            "id": rows["id"],
            "similarity": found.similarity[there].astype(np.float64),
            **{name: rows[name] for name in ("video", "track", "identity", "time_s")},
        }
    )
    return tables.check(table, tables.Neighbours, "neighbours")


#: Side in pixels of a thumbnail.
_SIDE = 96


def page(answer: Answer, queries: Sequence[Query], jpeg: Callable[[int], bytes], line: str) -> str:
    """A row of pictures for each query, the query first.

    Args:
        answer: the neighbours of all queries.
        queries: in the order of the rows.
        jpeg: how a row of the index looks, by its number; empty where that is not known.
        line: what was searched, and how.
    """
    found = answer.table.assign(row=answer.rows)
    rows = []
    for query in queries:
        own = query.jpeg or (jpeg(query.row) if query.row >= 0 else b"")
        mine = found[found["query"] == query.name].to_dict("records")
        cards = [{"jpeg": own, "words": [query.identity]}, *(_card(one, jpeg(one["row"])) for one in mine)]
        rows.append({"name": query.name, "cards": cards})
    return render("search.html", title="Nearest faces", line=line, rows=rows)


def _card(neighbour: dict[Any, Any], jpeg: bytes) -> dict[str, Any]:
    words = [neighbour["id"], "" if pd.isna(neighbour["identity"]) else neighbour["identity"]]
    if not pd.isna(neighbour["time_s"]):
        words.append(f"{neighbour['time_s']:.1f} s")
    return {"jpeg": jpeg, "rank": neighbour["rank"], "similarity": f"{neighbour['similarity']:.3f}", "words": words}


class Thumbnails:
    """Pictures of the rows of an index, by their numbers; use it as a context manager.

    Args:
        rows: fabnet.tables.IndexRows of those that may be asked for, indexed by their numbers.
        images: a folder of images and videos, or a tar of images, in which the column `image` names files; without
            it, they are named from here.
        frames: a folder of track shards; its frames are named by track/number, as ids or by their members' names.

    Raises:
        UserError: a folder is none.
    """

    def __init__(self, rows: pd.DataFrame, images: Path | None, frames: Path | None) -> None:
        self._rows: dict[int, Any] = dict(zip(rows.index.tolist(), rows.itertuples(), strict=True))
        self._images = images
        self._tar = None
        if images is not None and not images.is_dir():
            try:
                self._tar = tarfile.open(images, "r:")  # noqa: SIM115 - see __exit__
            except (OSError, tarfile.TarError) as error:
                raise UserError(f"{images}: neither a folder nor a tar of images: {error}") from None
        self._store = None if frames is None else FrameStore(frames)
        self._tracks = {} if self._store is None else _tracks(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def jpeg(self, number: int) -> bytes:
        """A small picture of a row, empty where there is none that can be read."""
        row = self._rows[number]
        if (stored := self._stored(row.id)) is not None:
            return stored
        if not isinstance(row.image, str):
            return b""
        with suppress(OSError, KeyError, Rejected, UserError):
            image = self._image(row.image, row.time_s)
            if np.isfinite([row.left, row.top, row.right, row.bottom]).all():
                image = crop_box(image, row, _SIDE)
            return bytes(simplejpeg.encode_jpeg(image, quality=88, colorspace="RGB"))
        return b""

    def _image(self, name: str, time_s: float) -> np.ndarray:
        """The image of this name, or the frame of the video at this time (of an unknown time, the first)."""
        if self._tar is None:
            return still((self._images or Path()) / name, time_s if np.isfinite(time_s) else 0.0)
        member = self._tar.extractfile(name)
        return decode_upright(member.read() if member is not None else b"")

    def _stored(self, id_: str) -> bytes | None:
        """The frame TRACK/NUMBER or TRACK#NUMBER of the store."""
        if self._store is None:
            return None
        track, _, number = id_.removesuffix(".jpg").replace("#", "/").rpartition("/")
        if track not in self._tracks or not number.isdecimal():
            return None
        start, end = self._tracks[track]
        at = np.flatnonzero(self._store.frame_no[start:end] == int(number))
        return self._store.read(start + int(at[0])) if len(at) else None


def _tracks(store: FrameStore) -> dict[str, tuple[int, int]]:
    tracks = store.tracks
    return {
        name: (int(start), int(start + length))
        for name, start, length in zip(tracks.names.to_pylist(), tracks.start, tracks.length, strict=True)
    }
