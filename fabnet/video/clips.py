"""Clips, and lists of more of them than memory holds."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from fabnet.errors import UserError
from fabnet.files import atomic_file
from fabnet.video.faces import Track

#: Of the containers that fabnet.video.decode opens.
SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".flv", ".wmv", ".asf"),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".mxf", ".dv"),
)


@dataclass(frozen=True)
class Clip:
    """A recording that is decoded once: a video file, or a folder of its images.

    Attributes:
        path: where it lies: `name` below the folder of clips.
        name: its path below the folder of clips, with "/".
        identity: who it shows; of its first track where an annotation names several people.
        video: the recording it was cut from.
        annotations: what tells where its faces are, in the words of its source.
    """

    path: Path
    name: str
    identity: str
    video: str
    annotations: tuple[str, ...] = ()

    def track(self, number: int) -> Track:
        """Track `number` of this clip, for sources that know no better name of it."""
        return named_track(self.identity, self.video, stem(self.name), number)


def named_track(identity: str, video: str, part: str, number: int) -> Track:
    """Track `number` of a part of a video, with an id without white space.

    Args:
        identity: who it shows.
        video: the recording.
        part: of the video, such as a clip's name.
        number: of the track within the part.
    """
    return Track("_".join(f"{identity}/{video}/{part}/{number}".split()), identity, video)


def stem(name: str) -> str:
    """The last part of a clip's name, without the suffix of a video."""
    last = PurePosixPath(name)
    return last.stem if last.suffix.lower() in SUFFIXES else last.name


class ClipList:
    """Clips in a mapped Arrow file, made by `write`: opening it, and its length, cost nothing per clip."""

    _ROWS = 4096  # of every batch but the last, so that a clip's place is known
    _SCHEMA = pa.schema(
        {"name": pa.string(), "identity": pa.string(), "video": pa.string(), "annotations": pa.list_(pa.string())}
    )

    def __init__(self, path: Path) -> None:
        self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        self._root = Path(self._file.schema.metadata[b"root"].decode())

    def __len__(self) -> int:
        batches = self._file.num_record_batches
        return (batches - 1) * self._ROWS + self._file.get_batch(batches - 1).num_rows if batches else 0

    def slice(self, first: int, count: int) -> list[Clip]:
        """Clips by their numbers, as far as there are any.

        Args:
            first: number of the first, from 0.
            count: of them, at most.
        """
        clips: list[Clip] = []
        end = min(first + count, len(self))
        while first < end:
            batch = self._file.get_batch(first // self._ROWS)
            rows = batch.slice(first % self._ROWS, end - first)
            clips.extend(self._clip(row) for row in rows.to_pylist())
            first += rows.num_rows
        return clips

    def _clip(self, row: dict[str, Any]) -> Clip:
        annotations = tuple(row["annotations"])
        return Clip(self._root / row["name"], row["name"], row["identity"], row["video"], annotations)

    @classmethod
    def write(cls, clips: Iterable[Clip], path: Path) -> "ClipList":
        """Write clips, which all lie at their names below one folder, as they come.

        Args:
            clips: any number.
            path: of the list; written atomically.

        Raises:
            UserError: two clips would give tracks of the same name, or what `clips` raises.
        """
        clips = iter(clips)
        begin = list(islice(clips, 1))
        root = _root(begin[0]) if begin else Path()
        tracks = Distinct()
        schema = cls._SCHEMA.with_metadata({"root": str(root)})
        with atomic_file(path) as temporary:
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, schema) as writer:
                for rows in _batches(chain(begin, clips), cls._ROWS):
                    for clip in rows:
                        if clip.path != root / clip.name:
                            raise ValueError(f"clip {clip.name} does not lie at its name below {root}")
                        tracks.add(clip.track(0).id)
                    columns = [[getattr(clip, field.name) for clip in rows] for field in schema]
                    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                    writer.write_batch(pa.record_batch(arrays, schema=schema))
            written = cls(temporary)
            for one, other in tracks.candidates():
                first, second = written.slice(one, 1)[0], written.slice(other, 1)[0]
                if first.name == second.name:
                    raise UserError(f"{root}: {first.name} is listed twice; it can show one identity only")
                if first.track(0).id == second.track(0).id:
                    raise UserError(
                        f"{root}: {first.name} and {second.name} would share the track {first.track(0).id}; rename one"
                    )
        return cls(path)


def _root(clip: Clip) -> Path:
    return clip.path.parents[len(PurePosixPath(clip.name).parts) - 1]


def _batches(clips: Iterator[Clip], size: int) -> Iterator[list[Clip]]:
    while batch := list(islice(clips, size)):
        yield batch


class Distinct:
    """Finds texts that come twice among millions, in 8 bytes for each."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, text: str) -> None:
        self._hashes.append(hash(text))

    def candidates(self) -> list[tuple[int, int]]:
        """Numbers of two texts each, by their order of coming, that are most likely equal."""
        hashes = np.frombuffer(self._hashes, dtype=np.int64) if self._hashes else np.empty(0, dtype=np.int64)
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(np.diff(hashes[order]) == 0)
        return sorted((int(order[i]), int(order[i + 1])) for i in same)
