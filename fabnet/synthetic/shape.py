"""The head as a solid: how far a point is from its surface, and where rays meet it.

Skull, face and ears are ellipsoids blended into each other, the relief of the face is added towards the camera, hair
thickens the skull behind the hairline. Rays walk by the distance to the surface (sphere tracing); the relief makes that
distance an estimate, hence the shortened steps.
"""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.features import Features
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.layers import clamp, smoothstep
from fabnet.synthetic.portable import dot
from fabnet.synthetic.relief import Noise, Relief

#: Walks of the rays: steps, share of the distance that a step goes, its least length, and how near, in multiples of the
#: precision asked for, a ray has met the surface and goes no further. Rays that graze a nearer part of the head are
#: slow to reach what lies behind it, and where relief or hair is steep, long strides swing to and fro about the
#: surface: hence the shorter ones at last. Beside a surface strides would shrink to nothing without a least length.
_WALKS = (
    (4, 0.8, 0.0, 0.03),
    (2, 0.8, 0.0, 0.03),
    (3, 0.8, 0.0, 0.25),
    (5, 0.42, 0.03, 0.1),
    (6, 0.42, 0.03, 0.1),
    (11, 0.42, 0.03, 0.1),
)

#: Widths over which jaw and ears go over into the skull, and z where the relief sets in and where it is whole.
_JAW_BLEND, _EAR_BLEND = 0.22, 0.04
_FRONT = (-0.05, 0.3)

#: Thickness of hair on the head in head units, by style.
_THICKNESS = {"bald": 0.0, "cropped": 0.035, "short": 0.085, "full": 0.15, "bob": 0.12, "long": 0.12}


@dataclass(frozen=True)
class Ellipsoid:
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """First-order signed distance (N,) of points: a new array.

        Args:
            x, y, z: of the points, (N,) each, in head units.
        """
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
        """Directions (3, N) in which the distance grows, of unit length.

        Args:
            x, y, z: of the points, (N,) each, in head units.
        """
        slope = np.stack(
            [
                (value - np.float32(middle)) * np.float32(1 / (radius * radius))
                for value, middle, radius in zip((x, y, z), self.centre, self.radii, strict=True)
            ]
        )
        slope /= np.sqrt(dot(slope, slope)) + np.float32(1e-6)
        return slope

    def passages(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers (M,) of the rays from (3,) along (3, N) that meet it, and where along them each enters and leaves.

        Args:
            origin: of all rays.
            direction: of each, of unit length.
        """
        scale = 1 / np.asarray(self.radii, np.float32)
        start = (origin - np.asarray(self.centre, np.float32)) * scale
        toward = direction * scale[:, None]
        a, b, c = dot(toward, toward), dot(start, toward), dot(start, start) - 1
        inside = b * b - a * c
        at = np.flatnonzero(inside > 0)
        a, b, reach = a[at], b[at], np.sqrt(inside[at])
        return at, (-b - reach) / a, (reach - b) / a


def join(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Make distances `a` the smooth minimum of `a` and `b`, and return the share of the second; `b` is used up.

    Args:
        a, b: distances, (N,) each.
        width: of the zone where the two surfaces blend, in head units.
    """
    np.subtract(a, b, out=b)
    share = b * np.float32(0.5 / width)
    share += np.float32(0.5)
    clamp(share)
    b += np.float32(width)
    b -= np.float32(width) * share
    b *= share
    a -= b
    return share


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
        """Estimated signed distance (N,) of points from the surface, negative inside.

        Args:
            x, y, z: of the points, (N,) each, in head units.
        """
        solid = self._grown(x, y, z)
        if self.curtain is not None:
            solid = np.minimum(solid, self.curtain.distance(x, y, z))
        return solid

    def curtain_share(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, softness: float) -> np.ndarray:
        """How much of points of the surface (N,) belongs to hanging hair rather than to the head.

        Args:
            x, y, z: of the points, (N,) each, in head units.
            softness: width of the transition, in head units.
        """
        if self.curtain is None:
            return np.zeros_like(x)
        before = self._grown(x, y, z) - self.curtain.distance(x, y, z)
        return np.clip(before * np.float32(1 / softness) + np.float32(0.5), 0, 1)

    def _grown(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Distance of the head with its relief and the hair on it."""
        solid = self._plain(x, y, z)
        # The relief lies on the front alone.
        front = np.flatnonzero(z > np.float32(_FRONT[0]))
        height = self.relief.sample(x[front], y[front], 1)
        height *= smoothstep(*_FRONT, z[front])
        solid[front] -= height
        if self.thickness:
            hair = self.hair(x, y, z)
            hair *= np.float32(self.thickness)
            solid -= hair
        return solid

    def _plain(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Distance of the head without relief and hair."""
        solid = self.skull.distance(x, y, z)
        join(solid, self.jaw.distance(x, y, z), _JAW_BLEND)
        if self.shows_ears:
            join(solid, self.ear.distance(np.abs(x), y, z), _EAR_BLEND)
        return solid

    def normal(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, slopes: np.ndarray, hanging: np.ndarray
    ) -> np.ndarray:
        """Outward unit normals (3, N), given the relief's slopes (N, 2) and the share of hanging hair (N,).

        Args:
            x, y, z: of the points, (N,) each, in head units.
            slopes: of the relief along x and y.
            hanging: 0 to 1.
        """
        solid, normal = self.skull.distance(x, y, z), self.skull.outward(x, y, z)
        share = join(solid, self.jaw.distance(x, y, z), _JAW_BLEND)
        normal += share * (self.jaw.outward(x, y, z) - normal)
        if self.shows_ears:
            side = np.abs(x)
            share = join(solid, self.ear.distance(side, y, z), _EAR_BLEND)
            ear = self.ear.outward(side, y, z)
            ear[0] *= np.sign(x)
            normal += share * (ear - normal)
        normal[:2] -= slopes.T * smoothstep(*_FRONT, z)
        if self.curtain is not None:
            normal += hanging * (self.curtain.outward(x, y, z) - normal)
        normal /= np.sqrt(dot(normal, normal)) + np.float32(1e-6)
        return normal

    # -- hair -----------------------------------------------------------------------------------------------------

    def hairline(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How far a point of the skin lies behind the hairline, in head units; negative in the face.

        Args:
            x, y, z: of the points, (N,) each, in head units.
        """
        one = self.identity
        top = y - np.float32(one.hairline)
        # A fringe comes down on the forehead, most beside the parting: a bell that ends 0.54 from its middle.
        bell = x + np.float32(0.9 * one.hair_part)
        bell *= np.float32(1 / 0.54)
        bell *= bell
        np.subtract(1, bell, out=bell)
        np.maximum(bell, 0, out=bell)
        bell *= bell
        bell *= np.float32(0.22 * one.fringe)
        top += bell
        bow = x * x
        bow *= np.float32(0.30 - 0.39 * max(one.fringe, 0.0))
        top += bow
        bow = np.abs(x)
        bow *= np.float32(0.05)
        top -= bow
        side = y - np.float32(0.1)
        np.maximum(side, 0, out=side)
        side *= np.float32(0.18)
        side -= z
        side += np.float32(one.hair_side)
        low = z * np.float32(-0.35)
        low += y
        low += np.float32(0.42)
        np.minimum(side, low, out=side)
        return np.maximum(top, side, out=top)

    def hair(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Relative thickness of hair, 0 in the face to 1.

        Args:
            x, y, z: of the points, (N,) each, in head units.
        """
        return smoothstep(-0.03, 0.16, self.hairline(x, y, z))

    # -- rays -----------------------------------------------------------------------------------------------------

    def cast(
        self, origin: np.ndarray, direction: np.ndarray, start: np.ndarray, end: np.ndarray, precision: float
    ) -> Surface:
        """Walk along rays to the surface.

        Args:
            origin: (3,) of all rays, or (3, N).
            direction: (3, N), unit.
            start: (N,), where along the rays to begin.
            end: (N,), beyond which there is nothing.
            precision: a distance from the surface, in head units, below which a ray has met it.
        """
        t, best, gap = start.copy(), start.copy(), np.full_like(start, np.inf)
        going = np.arange(len(start))
        for steps, stride, least, close in _WALKS:
            origins = origin if origin.ndim == 1 else origin[:, going]
            state = t[going], best[going], gap[going]
            self._walk(origins, direction[:, going], *state, steps, stride, min(precision, least))
            t[going], best[going], gap[going] = state
            going = going[(state[2] > np.float32(close * precision)) & (state[0] < end[going])]
            if not len(going):
                break
        x, y, z = (origin[axis] + best * direction[axis] for axis in range(3))
        return Surface(x, y, z, best, gap)

    def _walk(
        self,
        origin: np.ndarray,
        direction: np.ndarray,
        t: np.ndarray,
        best: np.ndarray,
        gap: np.ndarray,
        steps: int,
        stride: float,
        least: float,
    ) -> None:
        """Go on from `t`; keep in `best` and `gap` where the surface was nearest, and how near. All three change."""
        for _ in range(steps):
            distance = self.distance(*(origin[axis] + t * direction[axis] for axis in range(3)))
            size = np.abs(distance)
            np.copyto(best, t, where=size < gap)
            np.minimum(gap, size, out=gap)
            outside = distance > 0
            distance *= np.float32(stride)
            if least:
                np.maximum(distance, np.float32(least), out=distance, where=outside)
            t += distance


def _curtain(identity: Identity) -> Ellipsoid | None:
    """The mass of hair that hangs from the crown beside and behind the face."""
    width = 0.98 * identity.width * (0.93 + 0.07 * identity.hair_volume)
    if identity.hair_style == "bob":
        return Ellipsoid((0, 0.13, -0.28), (0.97 * width, 1.00, 0.80))
    if identity.hair_style == "long":
        return Ellipsoid((0, -0.16, -0.30), (width, 1.34, 0.80))
    return None
