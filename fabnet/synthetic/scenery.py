"""What surrounds the head: a background of the identity, neck and clothes."""

from functools import lru_cache

import numpy as np

from fabnet.synthetic.camera import project
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.layers import linear, smoothstep
from fabnet.synthetic.portable import falloff, hypot, sin_cos
from fabnet.synthetic.state import FaceState

#: The background reaches this far beyond the image on each side, in fractions of its side, so that the camera can move.
_BORDER = 0.15


def background(identity: Identity, state: FaceState, size: int) -> np.ndarray:
    """Linear background (size, size, 3) float32, a new array; it moves with a part of the head's shift (parallax)."""
    whole = _whole_background(identity, size)
    slack = (whole.shape[0] - 1 - size) / 2
    x = float(np.clip(slack - 0.6 * state.shift[0] * size, 0, 2 * slack))
    y = float(np.clip(slack - 0.6 * state.shift[1] * size, 0, 2 * slack))
    column, row = int(x), int(y)
    right, down = np.float32(x - column), np.float32(y - row)
    strip = whole[row : row + size + 1, column : column + size + 1]
    strip = strip[:-1] + down * (strip[1:] - strip[:-1])
    return strip[:, :-1] + right * (strip[:, 1:] - strip[:, :-1])


@lru_cache(maxsize=8)
def _whole_background(identity: Identity, size: int) -> np.ndarray:
    side = int(size * (1 + 2 * _BORDER)) + 2
    rng = np.random.default_rng([identity.seed, 2])
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    u, v = np.meshgrid(axis, axis)
    first, second, third = (linear(color) for color in identity.background_colors)
    down, right = sin_cos(rng.uniform(0, 360))
    slope = smoothstep(-0.6, 0.6, (right * (u - 0.5) + down * (v - 0.5)).astype(np.float32))
    image = first + slope[..., None] * (second - first)
    kind = identity.background
    if kind == "blobs":
        for color in (third, second, first, third):
            x, y, width = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.12, 0.35)
            blob = falloff((np.square(u - x) + np.square(v - y)) / (width * width))
            image += blob[..., None] * (color - image)
    elif kind == "bokeh":
        image *= 0.55
        for _ in range(16):
            x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.03, 0.10)
            disc = np.clip((radius - hypot(u - x, v - y)) / 0.02, 0, 1) * rng.uniform(0.15, 0.6)
            image += disc[..., None] * ((first, second, third)[int(rng.integers(3))] * 1.3 - image)
    elif kind == "panels":
        edges = np.sort(rng.uniform(0, 1, 4))
        for number, edge in enumerate(edges):
            panel = np.clip((u - edge) / 0.012, 0, 1) * 0.8
            image += panel[..., None] * ((third, first, second, third)[number] * rng.uniform(0.6, 1.1) - image)
        image *= (1 - 0.25 * v)[..., None]
    elif kind == "window":
        left, top = rng.uniform(0.0, 0.6), rng.uniform(0.0, 0.3)
        wide, high = rng.uniform(0.25, 0.4), rng.uniform(0.4, 0.6)
        inside = np.minimum(np.minimum(u - left, left + wide - u), np.minimum(v - top, top + high - v))
        pane = np.clip(inside / 0.01, 0, 1) * np.clip((np.abs(u - left - wide / 2) - 0.012) / 0.01, 0.25, 1)
        image = image * 0.7
        image += pane[..., None] * (0.35 + 0.65 * third - image) * 0.9
    elif kind == "foliage":
        for _ in range(40):
            x, y, width = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.02, 0.09)
            square = (np.square(u - x) + np.square(v - y)) / (width * width)
            leaf = falloff(square * np.sqrt(square)) * 0.7
            image += leaf[..., None] * ((first, second, third)[int(rng.integers(3))] * rng.uniform(0.5, 1.3) - image)
    return np.clip(image, 0, 1).astype(np.float32)


def paint_body(image: np.ndarray, identity: Identity, state: FaceState, light_x: float, brightness: float) -> None:
    """Paint neck, shoulders and collar into `image` (size, size, 3). `light_x` is -1 (light from the left) to 1."""
    size = image.shape[0]
    # The body follows the head's shift, but hardly its rotation.
    body = FaceState(yaw=0.12 * state.yaw, roll=0.15 * state.roll, shift=state.shift, scale=state.scale)
    nape = project(np.array([[0, -0.62, -0.22]]), state, size)[0]
    throat, shoulder, end = project(np.array([[0, -1.30, -0.25], [0, -1.13, -0.25], [1.0, -1.13, -0.25]]), body, size)
    unit = float(hypot(*(end - shoulder)))
    first = max(0, int(min(nape[1], size * 0.6)))
    part = image[first:]
    rows = np.arange(first, size, dtype=np.float32)[:, None] + np.float32(0.5)
    columns = np.arange(size, dtype=np.float32)[None] + np.float32(0.5)

    across = (columns - np.float32(shoulder[0])) / np.float32(unit)
    top = shoulder[1] + unit * (0.06 + 0.34 * smoothstep(0.15, 1.5, np.abs(across)))
    cloth = np.clip(rows - top + 0.5, 0, 1)
    fall = 0.75 + 0.2 * light_x * across - 0.25 * across * across
    _lay(part, cloth, linear(identity.clothes) * (brightness * np.clip(fall, 0.25, 1.2))[..., None])

    way = np.clip((rows - nape[1]) / max(throat[1] - nape[1], 1.0), 0, 1.4)
    middle = nape[0] + way * (throat[0] - nape[0])
    half = 0.36 * identity.jaw_width * unit * (1 + 0.12 * way * way)
    side = (columns - middle) / half
    reach = 1.18 if identity.collar == "round" else 1.32
    open_neck = (
        reach * unit - (rows - nape[1]) - (0.9 if identity.collar != "round" else 0.15) * np.abs(side) * 0.4 * unit
    )
    neck = np.clip((1 - np.abs(side)) * half + 0.5, 0, 1) * np.clip(open_neck - 0.35 * unit + 0.5, 0, 1)
    # Darkest under the chin, where the head keeps the light off.
    tone = (0.42 + 0.30 * smoothstep(0.5, 1.2, way)) * (1 - 0.45 * side * side + 0.28 * light_x * side)
    _lay(part, neck, linear(identity.skin) * (brightness * np.clip(tone, 0.08, 1))[..., None])


def _lay(image: np.ndarray, alpha: np.ndarray, color: np.ndarray) -> None:
    image += alpha[..., None].astype(np.float32) * (color.astype(np.float32) - image)
