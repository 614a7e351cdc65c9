"""Draws a face: rays are cast on the head, the points they meet are painted, lit and laid over the background."""

from functools import lru_cache

import numpy as np

from fabnet.synthetic.camera import placement, rays, rotation
from fabnet.synthetic.features import features
from fabnet.synthetic.hair import glasses, paint_hair, paint_temples
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.layers import Canvas, linear
from fabnet.synthetic.noise import noise_of
from fabnet.synthetic.paint import paint_face
from fabnet.synthetic.portable import bell, dot, sin_cos, unit
from fabnet.synthetic.relief import relief
from fabnet.synthetic.scenery import background, paint_body
from fabnet.synthetic.shape import Head
from fabnet.synthetic.state import FaceState, Light

#: Rays are followed this far behind the head's bounds, in head units, for its soft outline reaches beyond them.
_BEYOND = np.float32(0.2)


def render(identity: Identity, state: FaceState, size: int) -> np.ndarray:
    """Draw a face.

    Args:
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
