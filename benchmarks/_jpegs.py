"""Pictures as JPEG in memory, in place of shards."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


class Jpegs:
    """Smooth random pictures: what a shard costs once it is in the page cache.

    Decoded by simplejpeg, as those of shards are, or by Pillow where that is not installed.
    """

    def __init__(self, size: int, count: int = 16) -> None:
        from PIL import Image

        coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        pictures = functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
        self.size = size
        self.jpegs = []
        for picture in (pictures * 255).byte().permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=95)
            self.jpegs.append(file.getvalue())
        self.decode_one: Callable[[bytes], Any]
        try:
            from simplejpeg import decode_jpeg

            self.decode_one, self.decoder = decode_jpeg, "simplejpeg"
        except ImportError:
            self.decode_one = lambda jpeg: np.asarray(Image.open(io.BytesIO(jpeg)))
            self.decoder = "Pillow"

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        for picture, row in zip(pictures, rows, strict=True):
            picture[:] = self.decode_one(self.jpegs[row % len(self.jpegs)])
        return pictures
