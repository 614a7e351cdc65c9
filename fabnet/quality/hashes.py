"""Perceptual hashes of pictures, and pairs of pictures that are nearly the same."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

#: Side of the grey picture that is hashed, and of its low-frequency corner that becomes the bits.
HASHED_SIDE = 32
_CORNER = 8
#: Side of the thumbnail that decides whether pictures of like hashes are like.
THUMBNAIL_SIDE = 16

_BLOCK = 2048


def thumbnail(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A grey picture (H, W) as (side, side).

    Args:
        grey: any size.
        side: in pixels.
    """
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def phash(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The 64-bit pHash of pictures (N, 32, 32): which of the 8 x 8 lowest DCT frequencies exceed their median; (N,).

    The constant term, mere brightness, does not count: its bit says that the picture is not flat. A change of
    brightness or a recompression flips few bits.
    """
    spectrum = dctn(grey.astype(np.float32), axes=(1, 2), norm="ortho")[:, :_CORNER, :_CORNER].reshape(len(grey), -1)
    # Coefficients of a flat picture are rounding errors, whose signs would be noise.
    spectrum[np.abs(spectrum) < 1e-2] = 0
    median = np.median(spectrum[:, 1:], axis=1, keepdims=True)
    bits = spectrum > median
    bits[:, 0] = (spectrum[:, 1:] != 0).any(axis=1)
    return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)


def not_flat(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether the hashed picture shows anything."""
    return (hashes & np.uint64(1)).astype(bool)


@dataclass(frozen=True)
class Pairs:
    """Nearly equal pictures of two collections.

    Attributes:
        first, second: the pictures of the closest pairs, (P,) each, the closest first.
        distance: mean absolute difference of their thumbnails in grey levels, (P,).
        count: of all pairs, which may be more than P.
        members: of either collection with a partner in the other one: (2,) numbers.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    count: int
    members: tuple[int, int]


def near_pairs(
    hashes: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    thumbnails: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    bits: int,
    grey: float,
    kept: int,
) -> Pairs:
    """Pairs, one of each collection, whose hashes differ in at most `bits` and thumbnails by at most `grey` on average.

    Exact: every hash is compared with every other, a block at a time, so that memory does not grow with their number.

    Args:
        hashes: (N,) and (M,).
        thumbnails: (N, 16, 16) and (M, 16, 16).
        bits: of 64 that may differ.
        grey: levels of 255.
        kept: closest pairs to return.
    """
    best = np.empty((0, 3))
    count = 0
    partnered = np.zeros(len(hashes[0]), dtype=bool), np.zeros(len(hashes[1]), dtype=bool)
    for row in range(0, len(hashes[0]), _BLOCK):
        for column in range(0, len(hashes[1]), _BLOCK):
            block = hashes[0][row : row + _BLOCK, None] ^ hashes[1][None, column : column + _BLOCK]
            i, j = np.nonzero(np.bitwise_count(block) <= bits)
            i, j = i + row, j + column
            for start in range(0, len(i), _BLOCK):
                part = slice(start, start + _BLOCK)
                left, right = (images[at[part]].astype(np.int16) for images, at in zip(thumbnails, (i, j), strict=True))
                distance = np.abs(left - right).mean(axis=(1, 2))
                near = distance <= grey
                count += int(near.sum())
                a, b = i[part][near], j[part][near]
                partnered[0][a] = partnered[1][b] = True
                best = np.concatenate([best, np.stack([distance[near], a, b], axis=1)])
                best = best[np.lexsort((best[:, 2], best[:, 1], best[:, 0]))[:kept]]
    members = int(partnered[0].sum()), int(partnered[1].sum())
    return Pairs(best[:, 1].astype(np.int64), best[:, 2].astype(np.int64), best[:, 0], count, members)
