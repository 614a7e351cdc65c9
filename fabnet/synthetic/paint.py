"""Paints a face on the canvas: skin, beard, nose, brows, eyes, mouth, hair and glasses."""

import math

import numpy as np

from fabnet.synthetic.features import Brow, Eye, Features, Mouth
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.layers import Canvas, linear, smoothstep
from fabnet.synthetic.portable import angle, bell, falloff, hypot
from fabnet.synthetic.relief import Noise
from fabnet.synthetic.shape import Head


def paint_face(
    canvas: Canvas, identity: Identity, face: Features, noise: Noise, creases: np.ndarray, redness: np.ndarray
) -> None:
    """Paint all of the face but its hair. `creases` and `redness` (N,) are the relief's maps at the canvas' points.

    Args:
        canvas: the points of the head that are seen.
        identity: the person.
        face: places of the features.
        noise: of the skin.
        creases: depth of the wrinkles.
        redness: of the skin.
    """
    _paint_skin(canvas, identity, noise, creases, redness)
    if identity.beard != "none":
        _paint_beard(canvas, identity, face, noise)
    _paint_nostrils(canvas, face)
    for brow in face.brows:
        _paint_brow(canvas, identity, brow, noise)
    for eye in face.eyes:
        _paint_eye(canvas, identity, eye)
    _paint_mouth(canvas, identity, face.mouth)


def _paint_skin(canvas: Canvas, identity: Identity, noise: Noise, creases: np.ndarray, redness: np.ndarray) -> None:
    canvas.albedo *= (1 + np.float32(0.035) * noise.grain(0.35 * canvas.x, 0.35 * canvas.y))[:, None]
    front = smoothstep(0.0, 0.3, canvas.z)
    if identity.freckles > 0:
        spots = smoothstep(0.9, 1.6, noise.grain(0.9 * canvas.x + 0.3, 0.9 * canvas.y)) * bell((canvas.y + 0.15) / 0.2)
        canvas.albedo *= 1 - (identity.freckles * 0.5 * spots * front)[:, None] * np.asarray(
            (0.5, 0.8, 0.9), np.float32
        )
    flush = np.minimum(redness, 1) * front
    canvas.albedo *= 1 - flush[:, None] * np.asarray((0.02, 0.30, 0.26), np.float32)
    shade = np.float32(1) - falloff(np.float32(1.15) * np.maximum(creases, 0) * front)
    canvas.albedo *= 1 - shade[:, None] * np.asarray((0.72, 0.84, 0.86), np.float32)


def _paint_beard(canvas: Canvas, identity: Identity, face: Features, noise: Noise) -> None:
    mouth = face.mouth
    low = mouth.lowest
    at = np.flatnonzero((canvas.y < -0.1) & (canvas.z > -0.15))
    x, y, z = canvas.x[at], canvas.y[at], canvas.z[at]
    side = np.abs(x)
    outer = np.clip(side / (mouth.width + 0.06), 0, 1.2)
    moustache = smoothstep(1.05, 0.85, outer) * smoothstep(
        -0.015, 0.03, face.nose.base - 0.035 - 0.07 * outer * outer - y
    )
    moustache = moustache * smoothstep(0.12, 0.02, low - y)
    around = hypot(side / (mouth.width + 0.07), (y - low + 0.02) / (0.29 + 0.5 * face.jaw_drop))
    goatee = smoothstep(1.08, 0.86, around) * smoothstep(-0.03, 0.03, mouth.y - y)
    cheek_line = -0.36 + 0.35 * smoothstep(0.40, 0.66, side) - 0.14 * smoothstep(0.30, 0.12, side)
    full = smoothstep(-0.05, 0.08, cheek_line - y)
    mask = {
        "stubble": np.maximum(full, moustache),
        "moustache": moustache,
        "goatee": np.maximum(goatee, moustache),
        "full": np.maximum(full, moustache),
    }[identity.beard]
    grain = noise.strand(1.7 * angle(x, z + 0.3) + 0.4 * y)
    density = 0.32 if identity.beard == "stubble" else 0.86
    alpha = np.clip(mask * density * identity.beard_strength * (1 + 0.10 * grain), 0, 0.95)
    canvas.paint(at, alpha.astype(np.float32), linear(identity.hair_color) * np.float32(1.05) + np.float32(0.004))
    canvas.gloss[at] *= 1 - 0.8 * alpha


def _paint_nostrils(canvas: Canvas, face: Features) -> None:
    nose = face.nose
    at = canvas.near(0, nose.base, 0.2, 0.09)
    x, y = np.abs(canvas.x[at]), canvas.y[at]
    across, up = (x - 0.50 * nose.width) / 0.045, (y - nose.base - 0.004 - 0.15 * (x - 0.5 * nose.width)) / 0.022
    hole = bell(across * across + up * up) * min(1.0, 0.045 / canvas.pixel + 0.25)
    canvas.darken(at, np.float32(0.68) * hole)
    wing = hypot((x - 0.98 * nose.width) / 0.9, y - nose.base - 0.035)
    canvas.darken(at, np.float32(0.22) * bell(wing / 0.032))


def _paint_brow(canvas: Canvas, identity: Identity, brow: Brow, noise: Noise) -> None:
    low, high = min(brow.x[0], brow.x[2]), max(brow.x[0], brow.x[2])
    at = canvas.near((low + high) / 2, (brow.y[0] + brow.y[1] + brow.y[2]) / 3, (high - low) / 2 + 0.06, 0.22)
    x, y = canvas.x[at], canvas.y[at]
    s = brow.along(x)
    outwards = np.clip(s, 0, 1)
    half = brow.thickness * (0.55 + 0.45 * smoothstep(-0.05, 0.15, s)) * (1 - 0.62 * outwards * np.sqrt(outwards))
    inside = half - np.abs(y - brow.curve(x))
    length = abs(brow.x[2] - brow.x[0])
    ends = np.minimum(s + 0.02, 1.02 - s) * length
    alpha = canvas.edge(inside) * canvas.edge(ends) * np.clip(0.92 + 0.06 * noise.strand(1.3 * x + 0.6 * y), 0.7, 1)
    canvas.paint(at, alpha.astype(np.float32), linear(identity.brow_color))
    canvas.gloss[at] *= 1 - 0.9 * alpha


def _paint_eye(canvas: Canvas, identity: Identity, eye: Eye) -> None:
    at = canvas.near(eye.x, eye.y, 1.35 * eye.width, 0.24)
    x, y = canvas.x[at], canvas.y[at]
    s = eye.along(x)
    upper, lower = eye.lids(s)
    arch = 1 - s * s
    # The upper lid: a fold where it slides under the brow, darker skin below the fold.
    fold = eye.line(s) + (0.55 * eye.open_upper + 0.45 * eye.upper + 0.040) * (0.25 + 0.75 * arch)
    in_reach = smoothstep(1.2, 0.9, np.abs(s))
    canvas.darken(at, np.float32(0.35) * canvas.line(y - fold, 0.014) * in_reach)
    canvas.darken(at, np.float32(0.18) * canvas.edge(np.minimum(fold - y, y - upper)) * in_reach)

    opening = canvas.edge(np.minimum(upper - y, y - lower)) * (np.abs(s) < 1.02)
    color = _eyeball(canvas, identity, eye, x, y, upper, s)
    canvas.paint(at, opening, color)
    canvas.gloss[at] *= 1 - opening

    ends = smoothstep(1.14, 0.96, np.abs(s))
    lashes = canvas.line(y - upper - 0.006, 0.017) * ends
    canvas.paint(at, np.float32(0.88) * lashes, np.asarray((0.012, 0.008, 0.007), np.float32))
    canvas.darken(at, np.float32(0.38) * canvas.line(y - lower + 0.004, 0.010) * ends)
    glint_x, glint_y = eye.iris[0] - 0.022, eye.iris[1] + 0.026
    wide = max(0.016, 0.5 * canvas.pixel)
    glint = falloff((np.square(x - glint_x) + np.square(y - glint_y)) / (wide * wide)) * opening
    # Smaller than a pixel it is fainter.
    share = 0.016 / wide
    canvas.glow[at] += (np.float32(0.75 * share * math.sqrt(math.sqrt(share))) * glint)[:, None]


def _eyeball(
    canvas: Canvas, identity: Identity, eye: Eye, x: np.ndarray, y: np.ndarray, upper: np.ndarray, s: np.ndarray
) -> np.ndarray:
    """Colours (n, 3) of white, iris and pupil, in the shadow of the upper lid."""
    radius = hypot(x - eye.iris[0], y - eye.iris[1])
    color = np.empty((len(x), 3), np.float32)
    color[:] = (0.80, 0.78, 0.76)
    color *= (1 - 0.30 * s * s)[:, None]
    iris = canvas.edge(identity.iris_radius - radius)
    limbus = smoothstep(0.55, 1.0, radius / identity.iris_radius)
    shade = linear(identity.iris) * np.float32(1.5) * (1.15 - 0.75 * limbus)[:, None]
    color += iris[:, None] * (shade - color)
    pupil = canvas.edge(0.42 * identity.iris_radius - radius)
    color *= (1 - 0.96 * pupil)[:, None]
    return color * (1 - 0.50 * bell((upper - y) / 0.035))[:, None]


def _paint_mouth(canvas: Canvas, identity: Identity, mouth: Mouth) -> None:
    at = canvas.near(0, mouth.y - 0.05, 1.25 * mouth.width, 0.42)
    x, y = canvas.x[at], canvas.y[at]
    s = x / np.float32(mouth.width)
    within = np.clip(s, -1, 1)
    top, bottom = mouth.outer(within)
    inner_top, inner_bottom = mouth.inner(within)
    ends = canvas.edge((1 - np.abs(s)) * mouth.width)
    lips = canvas.edge(np.minimum(top - y, y - bottom)) * ends
    line = (inner_top + inner_bottom) / 2
    color = linear(identity.lip_color) * np.where(y > line, np.float32(0.80), np.float32(1.06))[:, None]
    canvas.paint(at, np.float32(0.92) * lips, color)
    canvas.gloss[at] += 0.5 * lips * (y < line)

    gap = mouth.upper_gap + mouth.lower_gap
    if gap > 0.004:
        opening = canvas.edge(np.minimum(inner_top - y, y - inner_bottom)) * ends
        canvas.paint(at, opening, _mouth_inside(canvas, x, y, s, inner_top, inner_bottom))
        canvas.gloss[at] *= 1 - opening
    seam = np.where(y > line, y - np.maximum(inner_top, line), np.minimum(inner_bottom, line) - y)
    reach = canvas.edge((1.06 - np.abs(s)) * mouth.width)
    canvas.darken(at, np.float32(0.72) * canvas.line(seam, 0.014) * reach)
    # The lower lip shades the skin below it.
    canvas.darken(at, np.float32(0.22) * canvas.line(y - bottom + 0.02, 0.024) * smoothstep(0.9, 0.3, np.abs(s)))


def _mouth_inside(
    canvas: Canvas, x: np.ndarray, y: np.ndarray, s: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> np.ndarray:
    """Colours (n, 3) of the dark cavity with teeth and tongue."""
    color = np.empty((len(x), 3), np.float32)
    color[:] = (0.030, 0.006, 0.006)
    gap = np.maximum(top - bottom, 0)
    tongue = bell(x / 0.13) * canvas.edge(bottom + np.minimum(0.35 * gap, 0.07) - y) * smoothstep(0.06, 0.14, gap)
    color += tongue[:, None] * (np.asarray((0.28, 0.06, 0.06), np.float32) - color)
    dark_ends = smoothstep(0.95, 0.55, np.abs(s))
    white = np.asarray((0.98, 0.95, 0.88), np.float32)
    upper = canvas.edge(y - top + np.minimum(0.058, 0.70 * gap)) * dark_ends
    color += upper[:, None] * (white - color)
    lower = canvas.edge(bottom + np.minimum(0.022, 0.25 * gap) - y) * dark_ends * smoothstep(0.05, 0.10, gap)
    color += (0.7 * lower)[:, None] * (white - color)
    return color


def paint_hair(canvas: Canvas, identity: Identity, head: Head, hanging: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paint the hair.

    Args:
        canvas: the points of the head that are seen.
        identity: the person.
        head: the surface with its hair.
        hanging: share (N,) of each point that is hanging hair.

    Returns:
        how much of each point is hair (N,), and the brightness of its strand (N,), about 0 on average.
    """
    x, y, z = canvas.x, canvas.y, canvas.z
    if not head.thickness:
        return np.zeros_like(x), np.zeros_like(x)
    around = angle(x - np.float32(0.25 * identity.hair_part), z + np.float32(0.35))
    wave = _wave(5 * y + np.float32(identity.seed % 7))
    strand = head.noise.strand(np.float32(0.55) * around + wave + np.float32(0.06) * y)
    behind = head.hairline(x, y, z) + np.float32(0.014) * strand
    cover = smoothstep(-0.03, 0.045 + 0.5 * canvas.pixel, behind)
    cover = np.maximum(cover, hanging)
    if identity.hair_style == "cropped":
        cover = cover * np.float32(0.88)
    everywhere = np.arange(len(x))
    # Hair is darker in its depth: near its edge and low behind the ears.
    shade = np.clip(1 + np.float32(0.24) * strand, 0.35, 1.7) * (
        0.74 + 0.26 * np.maximum(smoothstep(0.0, 0.25, behind), hanging)
    )
    canvas.paint(everywhere, cover, (linear(identity.hair_color) + np.float32(0.006)) * shade[:, None])
    canvas.gloss *= 1 - cover
    return cover, strand


def _wave(phase: np.ndarray) -> np.ndarray:
    """Periodic as the sine, between -0.035 and 0.035, of parabolas."""
    turns = phase * np.float32(1 / (2 * math.pi))
    turns -= np.floor(turns)
    half = turns - np.float32(0.5)
    return np.float32(-0.035 * 16) * half * (np.float32(0.5) - np.abs(half))


def glasses(
    identity: Identity, face: Features, origin: np.ndarray, direction: np.ndarray, surface_t: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of the frame and of the lenses (N,) each along rays (3, N); `surface_t` is where the head is met.

    Args:
        identity: the person, who wears some.
        face: places of the features.
        origin: of the rays, (3,), in head units.
        direction: of the rays, of unit length.
        surface_t: distance along each ray, (N,).
        pixel: side of a pixel in head units.
    """
    depth = np.float32(0.88 * identity.depth)
    t = (depth - origin[2]) / np.minimum(direction[2], np.float32(-1e-3))
    x, y = np.abs(origin[0] + t * direction[0]), origin[1] + t * direction[1]
    before = smoothstep(0.0, 0.03, surface_t - t) * (direction[2] < -0.05)
    centre_x, centre_y = identity.eye_x + 0.012, identity.eye_y - 0.02
    if identity.glasses == "round":
        depth_in = 0.205 - hypot(x - centre_x, y - centre_y)
    else:
        across, up = np.abs(x - centre_x) - 0.165, np.abs(y - centre_y) - 0.115
        outside = hypot(np.maximum(across, 0), np.maximum(up, 0)) + np.minimum(np.maximum(across, up), 0)
        depth_in = 0.05 - outside
    width = 0.014
    bridge = np.where(x < 0.12, np.abs(y - centre_y - 0.05), 1.0) + np.where(depth_in > 0, 1.0, 0.0)
    distance = np.minimum(np.abs(depth_in), bridge)
    rim = np.clip((width - distance) / pixel + 0.5, 0, 1) * min(1.0, 2.4 * width / pixel)
    lens = np.clip(depth_in / pixel + 0.5, 0, 1)
    return (rim * before).astype(np.float32), (lens * before).astype(np.float32)


def paint_temples(canvas: Canvas, identity: Identity) -> None:
    """The arms of the glasses, on the sides of the head.

    Args:
        canvas: the points of the head that are seen.
        identity: the person.
    """
    side = np.abs(canvas.x)
    at = np.flatnonzero((side > identity.eye_x + 0.2) & (np.abs(canvas.y - identity.eye_y) < 0.15) & (canvas.z > -0.1))
    canvas.paint(at, canvas.line(canvas.y[at] - identity.eye_y - 0.03, 0.018), linear(identity.glasses_color))
