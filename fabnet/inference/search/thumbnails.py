"""How rows of an index look, where their pictures can be reached."""

import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg

from fabnet.attributes.crops import crop_box
from fabnet.errors import UserError
from fabnet.frames.store import FrameStore
from fabnet.video.images import decode_image
from fabnet.video.reject import Rejected
from fabnet.video.still import still

_SIDE = 96


class Thumbnails:
    """Pictures of the rows of an index, by their numbers.

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
                self._tar = tarfile.open(images, "r:")  # noqa: SIM115 - open as long as pictures are asked for
            except (OSError, tarfile.TarError) as error:
                raise UserError(f"{images}: neither a folder nor a tar of images: {error}") from None
        self._store = None if frames is None else FrameStore(frames)
        self._tracks = {} if self._store is None else _tracks(self._store)

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
        return decode_image(member.read() if member is not None else b"")

    def _stored(self, id_: str) -> bytes | None:
        """The frame TRACK/NUMBER or TRACK#NUMBER of the store."""
        if self._store is None:
            return None
        track, _, number = id_.removesuffix(".jpg").replace("#", "/").rpartition("/")
        if track not in self._tracks or not number.isdigit():
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
