"""Neighbours as one HTML page with their pictures: no network, no script, no other file."""

import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import simplejpeg

from fabnet.attributes.images import crop_box
from fabnet.errors import UserError
from fabnet.frames.store import FrameStore
from fabnet.inference.search import Answer, Query
from fabnet.pages import render
from fabnet.video.images import decode_upright, still
from fabnet.video.reject import Rejected

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
