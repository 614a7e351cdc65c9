"""Random access to the crops of a directory of track shards."""

import mmap
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.errors import UserError, one_line
from fabnet.files import read_json
from fabnet.frames.corrupt import CorruptFrame
from fabnet.frames.shards import INDEX, RECIPE, member_name, run_starts, shard_name, shard_number

_COLUMNS = ("track_id", "identity", "frame_no", "shard", "offset", "size")


@dataclass(frozen=True)
class Tracks:
    """The tracks of a store, by name.

    Attributes:
        start, length: first row of the index and number of rows, int64 (T,).
        identity: number of the identity in `identities`, int64 (T,).
        identities: sorted names.
        names: Arrow strings (T,).
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    identity: NDArray[np.int64]
    identities: tuple[str, ...]
    names: pa.Array

    def __len__(self) -> int:
        return len(self.start)


class FrameStore:
    """The frames of `directory`, numbered as the rows of its index, and its tracks.

    Shards are mapped when first read, again in every process that the store is sent to. Threads may share a store.

    Attributes:
        recipe: the content of crop.json.
        frame_count: N, rows of the index.
        frame_no: number of each frame within its clip, int32 (N,).
        tracks: see Tracks.
        size: H = W of the crops in pixels.

    Raises:
        UserError: the directory holds no index or no crop.json.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        for name in (INDEX, RECIPE):
            if not (self.directory / name).is_file():
                raise UserError(f"{self.directory / name}: no such file; run the stage `extract` first")
        self.recipe: dict[str, Any] = read_json(self.directory / RECIPE)
        self.size = int(self.recipe["size"])
        self._maps: dict[int, mmap.mmap] = {}
        self._read_index()

    def _read_index(self) -> None:
        """One batch of rows at a time; what stays are a few integers per frame and a name per track."""
        index = pq.ParquetFile(self.directory / INDEX)
        self.frame_count = count = index.metadata.num_rows
        self.frame_no, self._shard = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
        self._offset, self._size = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int32)
        starts, names, people = [], [], []
        row, last = 0, None
        for batch in index.iter_batches(columns=list(_COLUMNS)):
            rows = slice(row, row + len(batch))
            self.frame_no[rows], self._offset[rows], self._size[rows] = (
                batch[name].to_numpy() for name in ("frame_no", "offset", "size")
            )
            shards = batch["shard"].dictionary_encode()
            numbers = np.array([shard_number(name) for name in shards.dictionary.to_pylist()], dtype=np.int32)
            self._shard[rows] = numbers[shards.indices.to_numpy()]
            track = batch["track_id"]
            first = run_starts(track)
            if track[0].as_py() == last:
                first = first[1:]  # the batch begins in the middle of a track, which the one before has counted
            starts.append(first + row)
            names.append(track.take(pa.array(first)))
            people.append(batch["identity"].take(pa.array(first)))
            row, last = row + len(batch), track[-1].as_py()
        start = np.concatenate([np.zeros(0, dtype=np.int64), *starts])
        self.tracks = Tracks(
            start,
            np.diff(start, append=count),
            *_numbered(pa.chunked_array(people, pa.string())),
            pa.chunked_array(names, pa.string()).combine_chunks(),
        )

    def select(self, identities: Iterable[str]) -> NDArray[np.int64]:
        """Numbers of the tracks of these identities, in order."""
        wanted = set(identities)
        chosen = np.array([name in wanted for name in self.tracks.identities], dtype=bool)
        return np.flatnonzero(chosen[self.tracks.identity]) if len(chosen) else np.zeros(0, dtype=np.int64)

    def read(self, row: int) -> bytes:
        """The JPEG of a frame."""
        return bytes(self._view(row))

    def decode(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """RGB images (N, H, W, 3) of the frames `rows`, (N,).

        Raises:
            CorruptFrame: one of them is no whole JPEG.
        """
        import simplejpeg

        images = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        for image, row in zip(images, rows, strict=True):
            try:
                decoded = simplejpeg.decode_jpeg(self._view(int(row)), "RGB", buffer=image)
            except ValueError as error:
                problem = one_line(error, None)
                raise CorruptFrame(f"{self.member(int(row))} cannot be decoded: {problem}", int(row)) from None
            if decoded.shape != image.shape:
                raise UserError(
                    f"{self.directory}: frame {row} is {decoded.shape[1]} x {decoded.shape[0]} pixels, not "
                    f"{self.size} x {self.size} as {RECIPE} says; run the stage `extract` again"
                )
        return images

    def member(self, row: int) -> str:
        """Where a frame lies, for messages: shard and name in it."""
        track = int(np.searchsorted(self.tracks.start, row, side="right")) - 1
        name = member_name(self.tracks.names[track].as_py(), int(self.frame_no[row]))
        return f"{self.directory / shard_name(int(self._shard[row]))}: {name}"

    def _view(self, row: int) -> memoryview:
        begin = int(self._offset[row])
        return memoryview(self._map(int(self._shard[row])))[begin : begin + int(self._size[row])]

    def _map(self, shard: int) -> mmap.mmap:
        if shard not in self._maps:
            path = self.directory / shard_name(shard)
            if not path.is_file():
                raise UserError(f"{path}: no such shard; run the stage `extract` again")
            here = self._shard == shard
            # Beyond the end of a mapped file the process is killed (SIGBUS), so a shard cut short is found out here.
            needed = int((self._offset[here] + self._size[here]).max())
            with open(path, "rb") as file:
                if (size := os.fstat(file.fileno()).st_size) < needed:
                    raise UserError(
                        f"{path}: has {size} bytes of the {needed} that {INDEX} tells of; run `extract` again"
                    )
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        # Maps cannot be sent to another process, which makes its own.
        return {**self.__dict__, "_maps": {}}


class NvJpeg:
    """Frames of a store decoded by a GPU, by nvJPEG through torchvision; pixels differ from the CPU's by rounding.

    Args:
        store: of the frames.
        device: the GPU.

    Raises:
        UserError: torchvision is absent.
    """

    def __init__(self, store: FrameStore, device: torch.device) -> None:
        try:
            from torchvision.io import ImageReadMode, decode_jpeg
        except ImportError:
            raise UserError(
                "nvjpeg: true needs torchvision, which is not installed; install the build that goes with torch, or "
                "set nvjpeg to false"
            ) from None
        self.store, self.device = store, device
        self._decode = partial(decode_jpeg, mode=ImageReadMode.RGB, device=device)

    def decode(self, rows: NDArray[np.int64]) -> Tensor:
        """RGB images (N, H, W, 3) of the frames `rows`, (N,), on the GPU.

        Raises:
            CorruptFrame: one of them is no whole JPEG.
        """
        size = self.store.size
        if len(rows) == 0:
            return torch.empty((0, size, size, 3), dtype=torch.uint8, device=self.device)
        files = [torch.frombuffer(bytearray(self.store.read(int(row))), dtype=torch.uint8) for row in rows]
        try:
            pictures = torch.stack(self._decode(files))
            if pictures.shape[1:] == (3, size, size):
                return pictures.movedim(1, -1).contiguous()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            pass  # of the whole batch: the CPU tells which frame it is, and decodes what nvJPEG does not know
        return torch.from_numpy(self.store.decode(rows)).to(self.device)


def _numbered(names: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The place of each name among the sorted different ones, and those."""
    encoded = names.combine_chunks().dictionary_encode()
    different = encoded.dictionary.to_pylist()
    order = sorted(range(len(different)), key=different.__getitem__)
    place = np.empty(len(different), dtype=np.int64)
    place[order] = np.arange(len(different))
    return place[encoded.indices.to_numpy()], tuple(different[i] for i in order)
