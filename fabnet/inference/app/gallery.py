"""Faces that an upload is compared with, and the most similar of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet.attributes.sets import open_set
from fabnet.config import load_params
from fabnet.errors import UserError, one_line
from fabnet.files import read_json
from fabnet.frames.shards import INDEX, RECIPE
from fabnet.frames.store import FrameStore
from fabnet.inference.app.analysis import Reader
from fabnet.probing.embeddings import read_embeddings, rows_of
from fabnet.retrieval.exact import search, unit
from fabnet.video.crop import Box, crop
from fabnet.video.images import still
from fabnet.video.reject import Rejected

#: Faces of a gallery: of more, so many are taken, evenly spread.
MOST = 100_000
#: Crops of a store of frames that are embedded at the start.
SAMPLED = 2_000

FRAMES = Path("data/frames")
EMBEDDINGS = Path("embeddings")

#: The crop of a face, or None if its file is gone, and its name.
Picture = Callable[[int], tuple[NDArray[np.uint8] | None, str]]


class Neighbours(NamedTuple):
    """The most similar faces first: crops uint8 (K, H, W, 3), cosine similarities (K,), and names."""

    crops_KHWC: NDArray[np.uint8]
    similarities_K: NDArray[np.float32]
    names: list[str]


@dataclass(frozen=True)
class Gallery:
    """Faces with their embeddings.

    Attributes:
        title: what they are, and how many.
        directions_ND: embeddings, float32, of length 1.
        picture: of the face that has this number.
        size: side of the crops.
    """

    title: str
    directions_ND: NDArray[np.float32]
    picture: Picture
    size: int

    def nearest(self, embedding_D: NDArray[np.float32], count: int) -> Neighbours:
        """The `count` faces, or all if there are fewer, whose embeddings have the smallest angle to this one.

        Args:
            embedding_D: of any length but 0; only its direction counts.
            count: of the faces at most.
        """
        found = search(self.directions_ND, unit(embedding_D[None]), min(count, len(self.directions_ND)))
        crops, names = [], []
        for number in found.rows[0].tolist():
            image, name = self.picture(number)
            crops.append(np.full((self.size, self.size, 3), 200, np.uint8) if image is None else image)
            names.append(name if image is not None else f"gone: {name}")
        return Neighbours(np.stack(crops), found.similarity[0], names)


def open_gallery(reader: Reader, path: Path) -> Gallery:
    """The gallery in `path`: a folder of embeddings, the table of `fabnet embed`, or a folder of frames.

    Args:
        reader: the model whose embeddings the faces must be of.
        path: of the folder or file.

    Raises:
        UserError: it is none of these, or belongs to another model.
    """
    if path.is_file():
        return _of_table(reader, path)
    if (path / "embeddings.npy").is_file():
        return _of_set(reader, path)
    if (path / INDEX).is_file():
        return _of_frames(reader, path)
    raise UserError(
        f"{path}: no gallery; give embeddings/SET/trained/NAME, a Parquet file of `fabnet embed`, or data/frames"
    )


def find_gallery(reader: Reader) -> tuple[Gallery | None, str]:
    """The project's labelled faces if this model embedded them, else a sample of its frames; or None, and why."""
    missing = "No gallery: there are no embeddings of this model here; --gallery names some."
    for meta in sorted(EMBEDDINGS.glob("*/trained/*/meta.json")):
        try:
            if read_json(meta).get("weights_sha256") == reader.model.weights_sha256:
                return _of_set(reader, meta.parent), ""
        except (UserError, ValueError) as error:
            missing = f"No gallery: {error}"
    if (FRAMES / INDEX).is_file() and (FRAMES / RECIPE).is_file():
        try:
            return _of_frames(reader, FRAMES), ""
        except UserError as error:
            missing = f"No gallery: {error}"
    return None, missing


def _of_set(reader: Reader, path: Path) -> Gallery:
    ids, embeddings, meta = read_embeddings(path)
    reader.model.accept(meta, path, crops=False)
    name = str(meta["set"])
    labelled = open_set(name, load_params().labelled_set(name))
    chosen = _spread(len(ids), MOST)
    table = labelled.table()
    rows = rows_of([ids[number] for number in chosen], table["face_id"].tolist(), labelled.name)

    def picture(number: int) -> tuple[NDArray[np.uint8] | None, str]:
        row = next(table.iloc[[rows[number]]].itertuples())
        return labelled.crop(row, reader.model.size), ids[chosen[number]]

    title = f"{_count(chosen, len(ids))} faces of the labelled set {name}"
    return Gallery(title, unit(np.asarray(embeddings[chosen])), picture, reader.model.size)


def _of_frames(reader: Reader, path: Path) -> Gallery:
    try:
        store = FrameStore(path)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{path}: its index cannot be read: {one_line(error)}") from None
    if store.recipe.get("hash") != reader.model.recipe.get("hash"):
        raise UserError(
            f"{path}: its crops are of recipe {store.recipe.get('hash')}, the model learnt from "
            f"{reader.model.recipe.get('hash')}; name another gallery by --gallery"
        )
    chosen = _spread(store.frame_count, SAMPLED)
    embeddings = reader.model.embed(store.decode(chosen))
    tracks = store.tracks

    def picture(number: int) -> tuple[NDArray[np.uint8] | None, str]:
        row = int(chosen[number])
        track = int(np.searchsorted(tracks.start, row, side="right")) - 1
        return store.decode([row])[0], f"{tracks.names[track].as_py()} {store.frame_no[row]}"

    return Gallery(
        f"{_count(chosen, store.frame_count)} frames of {path}", unit(embeddings), picture, reader.model.size
    )


def _of_table(reader: Reader, path: Path) -> Gallery:
    wanted = ["input", "time_s", "left", "top", "right", "bottom", "embedding"]
    try:
        with pq.ParquetFile(path) as file:
            about = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
            table = file.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file: {one_line(error)}") from None
    if table.column_names != wanted or "fps" not in about:
        raise UserError(f"{path}: not a table of `fabnet embed`")
    reader.model.accept(about, path, crops=False)
    chosen = _spread(len(table), MOST)
    table = table.take(pa.array(chosen)).combine_chunks()
    embeddings = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)

    def picture(number: int) -> tuple[NDArray[np.uint8] | None, str]:
        row = table.slice(number, 1).to_pylist()[0]
        name = Path(row["input"]).name
        try:
            image = still(Path(row["input"]), row["time_s"] or 0.0)
        except Rejected:  # the file is gone, or is no longer what it was
            return None, name
        box = Box(*(row[edge] for edge in ("left", "top", "right", "bottom")))
        return crop(image, box, reader.model.size), f"{name} {row['time_s']:.1f} s" if row["time_s"] else name

    return Gallery(f"{_count(chosen, len(chosen))} faces of {path}", unit(embeddings), picture, reader.model.size)


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the numbers below `count`, evenly spread."""
    if not count:
        raise UserError("the gallery holds no faces")
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _count(chosen: NDArray[np.int64], count: int) -> str:
    return f"{count:,}" if len(chosen) == count else f"{len(chosen):,} of {count:,}"
