"""What is searched for: faces of an image or a video, embedded as `fabnet embed` does it, or a row of the index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.inference.inputs import Input, find_inputs
from fabnet.inference.job import seen
from fabnet.inference.looking import check_recipe, look
from fabnet.inference.model import Model, encoder
from fabnet.networks.embed import embed_images
from fabnet.retrieval.exact import unit
from fabnet.retrieval.index import Index
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected

_BATCH = 64


@dataclass(frozen=True)
class Query:
    """One thing that is searched for.

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
    """A row of the index, if there is one with this id."""
    at = pc.index(index.column("id"), id_).as_py()
    if at < 0:
        return None
    row = index.take(np.array([at])).iloc[0].fillna("")
    vector = unit(index.vectors.take(np.array([at])))[0]
    return Query(id_, vector, row["video"], row["track"], row["identity"], at)


def check_model(index: Index, model: Model, params: ExtractParams, force: bool) -> None:
    """Refuse embeddings that cannot be compared with those of the index.

    Raises:
        UserError: other weights, or another recipe of the crops; the recipe may be forced.
    """
    weights, crops = index.origin.get("weights_sha256"), index.origin.get("recipe_hash")
    if weights != model.weights_sha256 and not (weights is None and force):
        whose = f"weights {weights[:12]}..." if weights else "weights that nobody noted"
        raise UserError(
            f"{index.directory}: holds embeddings by {whose}, {model.directory} has {model.weights_sha256[:12]}...: "
            + ("they cannot be compared; embed the gallery again" if weights else "if these are the same, use --force")
        )
    if force:
        return
    check_recipe(model.recipe, params)
    if crops is not None and crops != (ours := recipe(params)["hash"]):
        raise UserError(
            f"{index.directory}: holds faces cropped under recipe {crops}, the query's would be under {ours}; choose "
            "--faces and --margin as they were for the gallery, or go on all the same with --force"
        )


def of_file(path: str, model: Model, params: ExtractParams, device: str, each_frame: bool = False) -> list[Query]:
    """The faces of an image, or the tracks of a video: the mean direction of a track's frames, or each of them.

    Raises:
        UserError: it cannot be read, or shows no face.
    """
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder; --query names an image, a video or an id of the index")
    inputs, bad = find_inputs([path])
    if bad:
        raise UserError(f"{bad[0].name}: {bad[0].reason}")
    tracks: dict[int, _Track] = {}
    lost: dict[int, str] = {}
    frames = _frames(inputs[0], params, lost)
    network = encoder(model.directory, model.weights_sha256)
    singles = []
    try:
        while batch := list(islice(frames, _BATCH)):
            (embeddings,) = embed_images(network, [np.stack([image for _, _, image in batch])], device)
            for (number, frame, image), vector in zip(batch, unit(embeddings), strict=True):
                tracks.setdefault(number, _Track(image, np.zeros_like(vector, np.float64))).add(vector)
                if each_frame:
                    singles.append((number, frame, image, vector))
    except Rejected as reject:
        raise UserError(f"{path}: {reject.reason}: {reject.detail}") from None
    kept = {number: track for number, track in tracks.items() if number not in lost}
    if not kept:
        why = next(iter(lost.values()), "no_face: none was found")
        raise UserError(f"{path}: shows no face to search for: {why}")
    name = inputs[0].name
    if each_frame:
        return [
            Query(f"{name}#{number}#{frame}", vector, name, f"{name}#{number}", jpeg=_jpeg(image))
            for number, frame, image, vector in singles
            if number in kept
        ]
    return [
        Query(
            name if len(kept) == 1 else f"{name}#{number}",
            unit(track.total[None])[0],
            name,
            f"{name}#{number}",
            jpeg=_jpeg(track.image),
        )
        for number, track in kept.items()
    ]


@dataclass
class _Track:
    """The first crop of a track, and the sum of its directions so far."""

    image: NDArray[np.uint8]
    total: NDArray[np.float64]

    def add(self, vector: NDArray[np.float32]) -> None:
        self.total += vector


def _frames(each: Input, params: ExtractParams, lost: dict[int, str]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Number of the track, number of the frame, and the crop, of all faces; fills in the tracks that are of no use."""
    numbers: dict[str, int] = {}
    for event in look(each, params):
        number = numbers.setdefault(event.track.id, len(numbers))
        if isinstance(event, Face):
            yield number, event.number, seen(event, params)[0]
        elif isinstance(event, TrackEnd) and event.rejected is not None:
            lost[number] = f"{event.rejected.reason}: {event.rejected.detail}"


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(image, quality=88, colorspace="RGB"))


def stacked(queries: Sequence[Query]) -> NDArray[np.float32]:
    return np.stack([query.vector for query in queries])
