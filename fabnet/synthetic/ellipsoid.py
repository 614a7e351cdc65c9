"""Ellipsoids, of which the head is made, and how two solids become one."""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.layers import clamp
from fabnet.synthetic.portable import dot


@dataclass(frozen=True)
class Ellipsoid:
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """First-order signed distance (N,) of points: a new array."""
        # Half of the level, and the square of half its slope, kept from 0.
        level, steepness = np.full_like(x, -0.5), np.full_like(x, 1e-12)
        for value, middle, radius in zip((x, y, z), self.centre, self.radii, strict=True):
            weight = 1 / (radius * radius)
            square = value - np.float32(middle) if middle else value
            square = square * square
            square *= np.float32(0.5 * weight)
            level += square
            square *= np.float32(2 * weight)
            steepness += square
        np.sqrt(steepness, out=steepness)
        level /= steepness
        return level

    def outward(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Directions (3, N) in which the distance grows, of unit length."""
        slope = np.stack(
            [
                (value - np.float32(middle)) * np.float32(1 / (radius * radius))
                for value, middle, radius in zip((x, y, z), self.centre, self.radii, strict=True)
            ]
        )
        slope /= np.sqrt(dot(slope, slope)) + np.float32(1e-6)
        return slope

    def passages(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers (M,) of the rays from (3,) along (3, N) that meet it, and where along them each enters and leaves."""
        scale = 1 / np.asarray(self.radii, np.float32)
        start = (origin - np.asarray(self.centre, np.float32)) * scale
        toward = direction * scale[:, None]
        a, b, c = dot(toward, toward), dot(start, toward), dot(start, start) - 1
        inside = b * b - a * c
        at = np.flatnonzero(inside > 0)
        a, b, reach = a[at], b[at], np.sqrt(inside[at])
        return at, (-b - reach) / a, (reach - b) / a


def join(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Make distances `a` the smooth minimum of `a` and `b`, and return the share of the second; `b` is used up."""
    np.subtract(a, b, out=b)
    share = b * np.float32(0.5 / width)
    share += np.float32(0.5)
    clamp(share)
    b += np.float32(width)
    b -= np.float32(width) * share
    b *= share
    a -= b
    return share
