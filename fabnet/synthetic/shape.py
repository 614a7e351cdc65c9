"""The head as a solid: how far a point is from its surface, and where rays meet it.

Skull, face and ears are ellipsoids blended into each other, the relief of the face is added towards the camera, hair
thickens the skull behind the hairline. Rays walk by the distance to the surface (sphere tracing); the relief makes that
distance an estimate, hence the shortened steps.
"""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.features import Features
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.noise import Noise
from fabnet.synthetic.relief import Relief

#: Steps of all rays, then of those that have neither met the surface nor left the solid's bounds.
_STEPS, _STRIDE = 9, 0.8
_MORE_STEPS, _SHORT_STRIDE = 22, 0.42

#: The second walk goes on by at least the precision asked for, up to this: beside a surface strides would shrink to
#: nothing.
_LEAST_STEP = 0.03

#: Thickness of hair on the head in head units, by style.
_THICKNESS = {"bald": 0.0, "cropped": 0.035, "short": 0.085, "full": 0.15, "bob": 0.12, "long": 0.12}


@dataclass(frozen=True)
class Ellipsoid:
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """First-order signed distance, and the outward direction scaled to unit length."""
        a, b, c = (np.float32(1 / radius) for radius in self.radii)
        x = (x - np.float32(self.centre[0])) * a
        y = (y - np.float32(self.centre[1])) * b
        z = (z - np.float32(self.centre[2])) * c
        level = x * x + y * y + z * z
        x, y, z = x * a, y * b, z * c
        steepness = np.sqrt(x * x + y * y + z * z) + np.float32(1e-6)
        return (level - 1) / (2 * steepness), (x / steepness, y / steepness, z / steepness)


def _smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Surface:
    """Points where rays meet, or come closest to, the head; all arrays (N,) float32."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    t: np.ndarray  # along the ray
    gap: np.ndarray  # smallest distance to the solid along the ray; about 0 where the ray hits


class Head:
    """The solid of one frame.

    Args:
        relief: the maps of this frame's face.
        hairy: without it the head is bald, as landmarks want it.
    """

    def __init__(self, identity: Identity, face: Features, relief: Relief, noise: Noise, hairy: bool = True) -> None:
        drop = face.jaw_drop
        w, d = identity.width, identity.depth
        self.identity, self.relief, self.noise = identity, relief, noise
        self.skull = Ellipsoid((0, 0.22, -0.12), (0.718 * w, 0.79, 0.92 * d))
        self.jaw = Ellipsoid(
            (0, -0.25 - 0.5 * drop, 0.12),
            (0.605 * identity.jaw_width * (1 - 0.3 * drop), 0.72 * identity.length + 0.5 * drop, 0.63 * d),
        )
        self.ear = Ellipsoid((0.718 * w, -0.03, -0.06), (0.085, 0.19, 0.12))
        self.thickness = _THICKNESS[identity.hair_style] * identity.hair_volume if hairy else 0.0
        self.curtain = _curtain(identity) if hairy else None
        self.shows_ears = not (hairy and self.curtain)

    @property
    def bound(self) -> Ellipsoid:
        """An ellipsoid that holds everything."""
        low = self.jaw.centre[1] - self.jaw.radii[1]
        if self.curtain is not None:
            low = min(low, self.curtain.centre[1] - self.curtain.radii[1])
        top = 1.04 + self.thickness
        return Ellipsoid(
            (0, (low + top) / 2, -0.03), (0.95 + self.thickness, 0.54 * (top - low) + 0.02, 1.22 + self.thickness)
        )

    # -- distance -------------------------------------------------------------------------------------------------

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Estimated signed distance (N,) of points from the surface, negative inside."""
        solid = self._grown(x, y, z)
        if self.curtain is not None:
            solid = np.minimum(solid, self.curtain.distance(x, y, z)[0])
        return solid

    def curtain_share(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, softness: float) -> np.ndarray:
        """How much of points of the surface (N,) belongs to hanging hair rather than to the head."""
        if self.curtain is None:
            return np.zeros_like(x)
        before = self._grown(x, y, z) - self.curtain.distance(x, y, z)[0]
        return np.clip(before * np.float32(1 / softness) + np.float32(0.5), 0, 1)

    def _grown(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Distance of the head with its relief and the hair on it."""
        solid = self._plain(x, y, z)[0]
        solid -= self.relief.sample(x, y, 1) * _smoothstep(-0.05, 0.3, z)
        if self.thickness:
            solid -= self.thickness * self.hair(x, y, z)
        return solid

    def _plain(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Distance and outward direction of the head without relief and hair."""
        skull, skull_out = self.skull.distance(x, y, z)
        jaw, jaw_out = self.jaw.distance(x, y, z)
        solid, share = _blend(skull, jaw, 0.22)
        out = tuple(a + share * (b - a) for a, b in zip(skull_out, jaw_out, strict=True))
        if self.shows_ears:
            ear, ear_out = self.ear.distance(np.abs(x), y, z)
            solid, share = _blend(solid, ear, 0.04)
            ear_out = (ear_out[0] * np.sign(x), ear_out[1], ear_out[2])
            out = tuple(a + share * (b - a) for a, b in zip(out, ear_out, strict=True))
        return solid, out

    def normal(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, slopes: np.ndarray, hanging: np.ndarray
    ) -> np.ndarray:
        """Outward unit normals (3, N), given the relief's slopes (N, 2) and the share of hanging hair (N,)."""
        _, out = self._plain(x, y, z)
        front = _smoothstep(-0.05, 0.3, z)
        normal = np.stack([out[0] - slopes[:, 0] * front, out[1] - slopes[:, 1] * front, out[2]])
        if self.curtain is not None:
            normal += hanging * (np.stack(self.curtain.distance(x, y, z)[1]) - normal)
        return normal / (np.sqrt((normal * normal).sum(axis=0)) + np.float32(1e-6))

    # -- hair -----------------------------------------------------------------------------------------------------

    def hairline(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How far a point of the skin lies behind the hairline, in head units; negative in the face."""
        one = self.identity
        top = y - np.float32(one.hairline)
        # A fringe comes down on the forehead, most beside the parting.
        fringe = 0.22 * one.fringe * np.exp(-(((x + np.float32(0.9 * one.hair_part)) / np.float32(0.34)) ** 2))
        top = top + fringe + np.float32(0.30) * x * x * (1 - 1.3 * max(one.fringe, 0.0)) - np.float32(0.05) * np.abs(x)
        side = np.minimum(
            np.float32(one.hair_side) - z + 0.18 * np.maximum(y - 0.1, 0), y + np.float32(0.42) - 0.35 * z
        )
        return np.maximum(top, side)

    def hair(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Relative thickness of hair, 0 in the face to 1."""
        return _smoothstep(-0.03, 0.16, self.hairline(x, y, z))

    # -- rays -----------------------------------------------------------------------------------------------------

    def entries(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which rays (3, N) meet the bounding ellipsoid, bool (N,), and where along themselves those (M,) enter it."""
        bound = self.bound
        scale = 1 / np.asarray(bound.radii, np.float32)
        start = (origin - np.asarray(bound.centre, np.float32)) * scale
        toward = direction * scale[:, None]
        a = (toward * toward).sum(axis=0)
        b = start @ toward
        c = float(start @ start) - 1
        inside = b * b - a * c
        meets = inside > 0
        return meets, (-b[meets] - np.sqrt(inside[meets])) / a[meets]

    def cast(self, origin: np.ndarray, direction: np.ndarray, start: np.ndarray, precision: float) -> Surface:
        """Walk along rays to the surface.

        Args:
            origin: (3,) of all rays, or (3, N).
            direction: (3, N), unit.
            start: (N,), where along the rays to begin.
            precision: a distance from the surface, in head units, below which a ray has met it.
        """
        t, gap, best = self._walk(origin, direction, start, np.full_like(start, np.inf), start, _STEPS, _STRIDE, 0.0)
        # Rays that graze a nearer part of the head are slow to reach what lies behind it; where relief or hair is
        # steep, long strides swing to and fro about the surface.
        late = np.flatnonzero((gap > np.float32(0.25 * precision)) & (t < start + np.float32(3)))
        if len(late):
            origins = origin if origin.ndim == 1 else origin[:, late]
            least = min(precision, _LEAST_STEP)
            _, gap[late], best[late] = self._walk(
                origins, direction[:, late], t[late], gap[late], best[late], _MORE_STEPS, _SHORT_STRIDE, least
            )
        x, y, z = (origin[axis] + best * direction[axis] for axis in range(3))
        return Surface(x, y, z, best, gap)

    def _walk(
        self,
        origin: np.ndarray,
        direction: np.ndarray,
        t: np.ndarray,
        gap: np.ndarray,
        best: np.ndarray,
        steps: int,
        stride: float,
        least: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        for _ in range(steps):
            distance = self.distance(*(origin[axis] + t * direction[axis] for axis in range(3)))
            size = np.abs(distance)
            closer = size < gap
            best = np.where(closer, t, best)
            gap = np.where(closer, size, gap)
            step = np.float32(stride) * distance
            t = t + np.where(distance > 0, np.maximum(step, np.float32(least)), step)
        return t, gap, best


def _blend(a: np.ndarray, b: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Smooth minimum of two distances, and the share of the second."""
    share = np.clip(np.float32(0.5) + (a - b) * np.float32(0.5 / width), 0, 1)
    return a + share * (b - a) - np.float32(width) * share * (1 - share), share


def _curtain(identity: Identity) -> Ellipsoid | None:
    """The mass of hair that hangs from the crown beside and behind the face."""
    width = 0.98 * identity.width * (0.93 + 0.07 * identity.hair_volume)
    if identity.hair_style == "bob":
        return Ellipsoid((0, 0.13, -0.28), (0.97 * width, 1.00, 0.80))
    if identity.hair_style == "long":
        return Ellipsoid((0, -0.16, -0.30), (width, 1.34, 0.80))
    return None
