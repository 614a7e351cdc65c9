"""Pixels that are being painted, and the soft masks they are painted through."""

from dataclasses import dataclass, field

import numpy as np

from fabnet.synthetic.identity import Color
from fabnet.synthetic.portable import bell


def linear(color: Color) -> np.ndarray:
    """Linear light (3,) float32 of an sRGB colour, by the square that stands for the true curve here."""
    return np.square(np.asarray(color, np.float32))


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high` (or the other way round), a cubic between: a new array.

    Args:
        low, high: where the cubic begins and ends, in the unit of `value`.
        value: any shape.
    """
    t = value - np.float32(low)
    t *= np.float32(1 / (high - low))
    clamp(t)
    rest = t * np.float32(-2)
    rest += 3
    t *= t
    t *= rest
    return t


def clamp(value: np.ndarray) -> np.ndarray:
    """Bring an array into [0, 1], in place."""
    np.maximum(value, 0, out=value)
    return np.minimum(value, 1, out=value)


@dataclass
class Canvas:
    """Points of the head's surface, one per pixel, and their colours so far.

    x, y, z: (N,) head coordinates; albedo: (N, 3) linear; glow: (N, 3) light added after shading;
    gloss: (N,) strength of the highlight; pixel: side of a pixel in head units, over which edges are softened.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    glow: np.ndarray = field(init=False)
    pixel: float = 0.03

    def __post_init__(self) -> None:
        self.glow = np.zeros_like(self.albedo)

    def near(self, x: float, y: float, width: float, height: float) -> np.ndarray:
        """Indices of the points of the front whose (x, y) lies in a box given by its centre and half sides.

        Args:
            x, y: centre, in head units.
            width, height: half sides, in head units.
        """
        inside = (np.abs(self.x - np.float32(x)) < width) & (np.abs(self.y - np.float32(y)) < height) & (self.z > 0.1)
        return np.flatnonzero(inside)

    def paint(self, at: np.ndarray, alpha: np.ndarray, color: np.ndarray) -> None:
        """Lay colour (3,) or (n, 3) over the points `at` (n,) with opacity `alpha` (n,).

        Args:
            at: indices of points.
            alpha: 0 to 1.
            color: RGB, 0 to 1.
        """
        under = self.albedo[at]
        self.albedo[at] = under + alpha[:, None] * (color - under)

    def darken(self, at: np.ndarray, alpha: np.ndarray) -> None:
        """Take light from the points.

        Args:
            at: indices of points, (n,).
            alpha: share of the albedo that goes, (n,), 0 to 1.
        """
        self.albedo[at] *= (1 - alpha)[:, None]

    def edge(self, inside: np.ndarray) -> np.ndarray:
        """Coverage of a region from the signed depth (head units) in it."""
        return np.clip(inside * np.float32(1 / self.pixel) + np.float32(0.5), 0, 1)

    def line(self, offset: np.ndarray, half_width: float) -> np.ndarray:
        """Coverage of a line from the distance to it; a line thinner than a pixel becomes fainter, not thinner.

        Args:
            offset: distance to the middle of the line, in head units.
            half_width: in head units.
        """
        spread = max(half_width, 0.55 * self.pixel)
        return np.float32(min(1.0, half_width / spread)) * bell(offset * np.float32(1 / spread))
