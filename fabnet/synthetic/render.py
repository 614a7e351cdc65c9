"""Draws a face: rays are cast on the head, the points they meet are painted, lit and laid over the background.

Head coordinates: x to the image's right when frontal, y up, z towards the camera; the origin lies inside the head and
the distance from chin to crown is about 2. Pixels are continuous: the image spans [0, size], pixel centres lie at
integer + 0.5.
"""

from functools import lru_cache

import numpy as np

from fabnet.synthetic.features import features
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.layers import Canvas, linear, smoothstep
from fabnet.synthetic.paint import glasses, paint_face, paint_hair, paint_temples
from fabnet.synthetic.portable import bell, dot, falloff, hypot, sin_cos, unit
from fabnet.synthetic.relief import noise_of, relief
from fabnet.synthetic.shape import Head
from fabnet.synthetic.state import FaceState, Light

#: Distance of the camera in head units: a portrait lens.
DISTANCE = 7.0

#: Pixels per head unit, and the head's origin, in fractions of the image's side at scale 1 without shift.
HEAD_SCALE = 0.425
HEAD_CENTRE = (0.5, 0.475)

#: The background reaches this far beyond the image on each side, in fractions of its side, so that the camera can move.
_BORDER = 0.15

#: Rays are followed this far behind the head's bounds, in head units, for its soft outline reaches beyond them.
_BEYOND = np.float32(0.2)


def rotation(state: FaceState) -> np.ndarray:
    """The (3, 3) float64 matrix that takes head to camera coordinates: roll after yaw after pitch."""
    (sy, cy), (sp, cp), (sr, cr) = sin_cos(state.yaw), sin_cos(state.pitch), sin_cos(state.roll)
    nodded = (0.0, cp, sp)
    turned = (cy, -sy * sp, sy * cp)
    tilted = [[cr * a + sr * b for a, b in zip(turned, nodded, strict=True)]]
    tilted.append([cr * b - sr * a for a, b in zip(turned, nodded, strict=True)])
    return np.array([*tilted, (-sy, -cy * sp, cy * cp)])


def placement(state: FaceState, size: int) -> tuple[float, float, float]:
    """Pixel of the head's origin (x, y), and pixels per head unit at its depth.

    Args:
        state: with the head's position and distance.
        size: side of the image in pixels.
    """
    x = (HEAD_CENTRE[0] + state.shift[0]) * size
    y = (HEAD_CENTRE[1] + state.shift[1]) * size
    return float(x), float(y), float(HEAD_SCALE * state.scale * size)


def project(points: np.ndarray, state: FaceState, size: int) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in head coordinates.

    Args:
        points: in head units.
        state: with the head's pose and position.
        size: side of the image in pixels.
    """
    x, y, scale = placement(state, size)
    across, up, towards = (dot(row, points.T) for row in rotation(state))
    near = scale * DISTANCE / (DISTANCE - towards)
    return np.stack([x + near * across, y - near * up], axis=1)


def rays(columns: np.ndarray, rows: np.ndarray, state: FaceState, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rays through the centres of pixels (columns, rows), in head coordinates.

    Args:
        columns, rows: of pixels, (N,) each.
        state: with the head's pose and position.
        size: side of the image in pixels.

    Returns:
        origin (3,) and unit directions (3, N), float32.
    """
    x, y, scale = placement(state, size)
    across = (columns + np.float32(0.5 - x)) / np.float32(scale)
    up = (np.float32(y - 0.5) - rows) / np.float32(scale)
    length = np.sqrt(across * across + up * up + np.float32(DISTANCE * DISTANCE))
    back = rotation(state).T.astype(np.float32)
    direction = np.stack([(a * across + b * up - c * np.float32(DISTANCE)) / length for a, b, c in back])
    return back[:, 2] * np.float32(DISTANCE), direction


def background(identity: Identity, state: FaceState, size: int) -> np.ndarray:
    """Linear background (size, size, 3) float32, a new array; it moves with a part of the head's shift (parallax).

    Args:
        identity: the person, whose room it is.
        state: with the head's position.
        size: side of the image in pixels.
    """
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
    # A generator of its own: a draw more for the face does not change what is behind it.
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
    """Paint neck, shoulders and collar into `image` (size, size, 3). `light_x` is -1 (light from the left) to 1.

    Args:
        image: float32 RGB.
        identity: the person.
        state: with the head's position.
        light_x: where the light comes from.
        brightness: factor of all colours.
    """
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


def render(identity: Identity, state: FaceState, size: int) -> np.ndarray:
    """Draw a face.

    Args:
        identity: the person.
        state: pose, expression and so on.
        size: pixels of the side of the image.

    Returns:
        uint8 (size, size, 3), sRGB.
    """
    face = features(identity, state)
    maps = relief(identity, state, face)
    noise = noise_of(identity.seed)
    head = Head(identity, face, maps, noise)
    pixel = 1 / placement(state, size)[2]

    columns, rows = _pixels(size)
    origin, direction = rays(columns, rows, state, size)
    at, start, end = head.bound.passages(origin, direction)
    direction = direction[:, at]
    surface = head.cast(origin, direction, start, end + _BEYOND, pixel)
    # Rays that pass within a pixel of the head are its soft outline.
    cover = np.clip(1.25 - surface.gap / np.float32(pixel), 0, 1)
    seen = np.flatnonzero(cover > 0)

    to_light, to_eye = _directions(state, origin)
    brightness = float(state.light.ambient + 0.55 * state.light.key)
    image = background(identity, state, size)
    image *= np.float32(0.45 + 0.5 * brightness)
    light_x = sin_cos(state.light.azimuth)[0]
    paint_body(image, identity, state, light_x, brightness)
    flat = image.reshape(-1, 3)

    canvas = Canvas(
        x=surface.x[seen],
        y=surface.y[seen],
        z=surface.z[seen],
        albedo=np.broadcast_to(linear(identity.skin), (len(seen), 3)).copy(),
        gloss=np.full(len(seen), 0.16, np.float32),
        pixel=pixel,
    )
    samples = maps.sample(canvas.x, canvas.y, 5)
    paint_face(canvas, identity, face, noise, samples[:, 3], samples[:, 4])
    if identity.glasses != "none":
        paint_temples(canvas, identity)
    hanging = head.curtain_share(canvas.x, canvas.y, canvas.z, pixel)
    hair, strand = paint_hair(canvas, identity, head, hanging)
    normal = head.normal(canvas.x, canvas.y, canvas.z, samples[:, 1:3] * (1 - hair)[:, None], hanging)
    lit = _light(canvas, normal, hair, strand, to_light, to_eye, state.light)
    pixels = at[seen]
    under = flat[pixels]
    flat[pixels] = under + cover[seen][:, None] * (lit - under)

    if identity.glasses != "none":
        t = np.where(cover > 0, surface.t, np.inf).astype(np.float32)
        rim, lens = glasses(identity, face, origin, direction, t, pixel)
        under = flat[at]
        under = under + (np.float32(0.05) * lens)[:, None] * (np.float32(0.9 * brightness) - under)
        flat[at] = under + rim[:, None] * (linear(identity.glasses_color) * np.float32(brightness) - under)
    return _develop(image, state.light)


@lru_cache(maxsize=4)
def _pixels(size: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.divmod(np.arange(size * size), size)
    return columns.astype(np.float32), rows.astype(np.float32)


def _directions(state: FaceState, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (3,) to the light and to the camera, in head coordinates."""
    (right, front), (up, level) = sin_cos(state.light.azimuth), sin_cos(state.light.elevation)
    light = dot(np.array([right * level, up, front * level]), rotation(state))
    return light.astype(np.float32), unit(origin)


def _light(
    canvas: Canvas,
    normal: np.ndarray,
    hair: np.ndarray,
    strand: np.ndarray,
    to_light: np.ndarray,
    to_eye: np.ndarray,
    light: Light,
) -> np.ndarray:
    """Linear colours (N, 3) of the canvas under a wrapped diffuse light with a soft highlight."""
    facing = dot(to_light, normal)
    diffuse = np.clip((facing + np.float32(0.22)) / np.float32(1.22), 0, 1)
    # Skin lets red light through where it turns away from the lamp.
    bleed = bell((facing - np.float32(0.02)) * np.float32(3.74)) * (1 - hair) * np.float32(0.07 * light.key)
    sky = np.float32(0.82) + np.float32(0.18) * normal[1]
    rim = np.clip(dot(to_eye, normal), 0, 1)
    ambient = np.float32(light.ambient) * sky * (np.float32(0.62) + np.float32(0.38) * rim)
    energy = ambient + np.float32(1.15 * light.key) * diffuse
    color = canvas.albedo * energy[:, None]
    color[:, 0] += bleed * canvas.albedo[:, 0]
    shine = np.clip(dot(unit(to_light + to_eye), normal), 0, 1)
    broad = shine * shine
    broad *= broad
    broad *= broad
    broad *= shine
    narrow = broad * broad
    highlight = canvas.gloss * narrow + hair * np.float32(0.10) * broad * np.clip(1 + np.float32(0.6) * strand, 0, 2)
    color += (np.float32(light.key) * highlight)[:, None] * (np.float32(0.55) + np.float32(0.45) * canvas.albedo)
    return color + canvas.glow * np.float32(light.key + light.ambient)


def _develop(image: np.ndarray, light: Light) -> np.ndarray:
    """Tint by the light's warmth and turn linear light into 8-bit sRGB, rolling off the brightest."""
    tint = np.asarray((1 + 0.12 * light.warmth, 1.0, 1 - 0.14 * light.warmth), np.float32)
    image = np.maximum(image * tint, 0)
    image = np.sqrt(image / (1 + np.float32(0.22) * image * image))
    return (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
