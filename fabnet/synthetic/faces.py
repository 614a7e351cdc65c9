"""The labelled set: faces.tar with JPEG images and labels.parquet, and a contact sheet of all synthetic data.

Poses are wider than in the videos, light and backgrounds others (a domain shift).
"""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg

from fabnet import tables
from fabnet.config import SynthesizeParams
from fabnet.files import atomic_directory
from fabnet.processes import ordered_map
from fabnet.progress import Progress
from fabnet.synthetic.identity import Identity, sample_identity
from fabnet.synthetic.landmarks import landmarks5, landmarks68
from fabnet.synthetic.portable import generator, normal
from fabnet.synthetic.render import render
from fabnet.synthetic.state import FaceState, Light, sample_expression
from fabnet.synthetic.videos import interview_of, video_identity
from fabnet.tables import EXPRESSIONS, UNITS

#: Standard deviations of yaw, pitch, roll in degrees, and where they are clipped.
POSE_SPREAD = (20.0, 8.0, 6.5)
POSE_LIMITS = (60.0, 30.0, 25.0)

#: Chance of each unit, in the order of `tables.UNITS`, to come on top of the expression's own.
EXTRA_UNITS = (0.02, 0.06, 0.02, 0.03, 0.13, 0.12, 0.05, 0.07, 0.14, 0.06, 0.13)
EXTRA_INTENSITY = (0.5, 1.0)
EXPRESSION_STRENGTH = (0.7, 1.0)

SHIFT_SPREAD = 0.015
SCALE = (1.04, 1.22)
BLINK_CHANCE = 0.05
GAZE_SPREAD = 0.45

BACKGROUNDS = ("gradient", "panels", "window", "foliage")
SATURATION = 0.9
LABELS = "labels.parquet"
IMAGES = "faces.tar"
_JPEG_QUALITY = 95
_SIZE = 128
_COLUMNS = 8
_VIDEOS = 5
_PEOPLE = 3


@dataclass(frozen=True)
class Portrait:
    state: FaceState
    expression: str


def sample_portrait(rng: np.random.Generator) -> Portrait:
    yaw, pitch, roll = np.clip(normal(rng, 3) * POSE_SPREAD, -np.asarray(POSE_LIMITS), POSE_LIMITS)
    name = str(rng.choice(EXPRESSIONS))
    expression = sample_expression(rng, name, float(rng.uniform(*EXPRESSION_STRENGTH)))
    extra = (rng.random(len(UNITS)) < EXTRA_UNITS) * rng.uniform(*EXTRA_INTENSITY, len(UNITS))
    units = np.maximum(expression.units, extra)
    gaze = np.clip(GAZE_SPREAD * normal(rng, 2), -1, 1)
    shift = np.clip(SHIFT_SPREAD * normal(rng, 2), -2.5 * SHIFT_SPREAD, 2.5 * SHIFT_SPREAD)
    state = FaceState(
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        units=tuple(float(value) for value in units),
        asymmetry=expression.asymmetry,
        blink=float(rng.random() < BLINK_CHANCE),
        gaze=(float(gaze[0]), float(gaze[1])),
        shift=(float(shift[0]), float(shift[1])),
        scale=float(rng.uniform(*SCALE)),
        light=Light(
            azimuth=float(rng.uniform(-75, 75)),
            elevation=float(rng.uniform(-5, 65)),
            key=float(rng.uniform(0.45, 1.0)),
            ambient=float(rng.uniform(0.28, 0.6)),
            warmth=float(rng.uniform(-0.9, 0.9)),
        ),
    )
    return Portrait(state, name)


@dataclass(frozen=True)
class _Person:
    seed: int
    number: int
    split: str
    faces: int
    size: int


@dataclass(frozen=True)
class _Face:
    labels: dict[str, Any]
    jpeg: bytes


def face_identity(number: int) -> str:
    """Name of the identity with this number, from 0, among the labelled faces."""
    return f"lab{number + 1:04d}"


def portraits_of(seed: int, number: int, faces: int) -> tuple[Identity, list[Portrait]]:
    """A person of the labelled set and the states of their faces.

    Args:
        seed: of the data set.
        number: of the person.
        faces: how many.
    """
    rng = generator(seed, "face", number)
    return sample_identity(rng, BACKGROUNDS, SATURATION), [sample_portrait(rng) for _ in range(faces)]


def write_faces(directory: Path | str, params: SynthesizeParams) -> None:
    """Draw the labelled faces into `directory`, which appears when all are done.

    The files depend on `params` but for `workers`, byte for byte.

    Args:
        directory: that is made.
        params: the section `synthesize`.
    """
    faces = params.faces
    splits = [split for split in tables.SPLITS for _ in range(getattr(faces, split))]
    people = [
        _Person(params.seed, number, split, faces.per_identity, params.image_size)
        for number, split in enumerate(splits)
    ]
    rows = []
    with (
        atomic_directory(directory) as temporary,
        Progress("labelled faces", len(people) * faces.per_identity, "faces") as progress,
    ):
        with tarfile.open(temporary / IMAGES, "w", format=tarfile.USTAR_FORMAT) as archive:
            for drawn in ordered_map(_draw, people, params.workers):
                for face in drawn:
                    member = tarfile.TarInfo(face.labels["image"])  # its time is 0, its owner 0
                    member.size = len(face.jpeg)
                    archive.addfile(member, io.BytesIO(face.jpeg))
                    rows.append(face.labels)
                progress.advance(len(drawn))
        tables.write(pd.DataFrame(rows), temporary / LABELS, tables.Labels)


def _draw(person: _Person) -> list[_Face]:
    name, size = face_identity(person.number), person.size
    identity, sampled = portraits_of(person.seed, person.number, person.faces)
    drawn = []
    for number, portrait in enumerate(sampled):
        state = portrait.state
        face_id = f"{name}-{number:03d}"
        points = landmarks68(identity, state, size)
        labels = {
            "face_id": face_id,
            "identity": name,
            "split": person.split,
            "image": f"{face_id}.jpg",
            "left": 0.0,
            "top": 0.0,
            "right": float(size),
            "bottom": float(size),
            "landmarks68": points.ravel().tolist(),
            "landmarks5": landmarks5(points).ravel().tolist(),
            "roll_deg": state.roll,
            "pitch_deg": state.pitch,
            "yaw_deg": state.yaw,
            "expression": portrait.expression,
            **dict(zip(tables.UNIT_COLUMNS, state.units, strict=True)),
        }
        jpeg = simplejpeg.encode_jpeg(render(identity, state, size), quality=_JPEG_QUALITY, colorsubsampling="444")
        drawn.append(_Face(labels, jpeg))
    return drawn


def sample_sheet(params: SynthesizeParams) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw frames of the first videos, then faces of the first labelled people with their landmarks, a row each.

    Returns:
        images uint8 (rows, columns, size, size, 3), landmarks (rows, columns, 68, 2) with NaN for video frames, titles
        of the rows.
    """
    rows: list[tuple[str, Identity, list[FaceState], bool]] = []
    for number in range(min(_VIDEOS, params.videos.identities)):
        identity, interview = interview_of(params.seed, number, params.videos.seconds)
        times = np.arange(_COLUMNS) * params.videos.seconds / _COLUMNS
        rows.append((video_identity(number), identity, [interview(float(time)) for time in times], False))
    people = params.faces.train + params.faces.validation + params.faces.test
    for number in range(min(_PEOPLE, people)):
        identity, sampled = portraits_of(params.seed, number, max(_COLUMNS, params.faces.per_identity))
        rows.append((face_identity(number), identity, [portrait.state for portrait in sampled[:_COLUMNS]], True))

    images = np.empty((len(rows), _COLUMNS, _SIZE, _SIZE, 3), np.uint8)
    landmarks = np.full((len(rows), _COLUMNS, 68, 2), np.nan)
    for row, (_, identity, states, labelled) in enumerate(rows):
        for column, state in enumerate(states):
            images[row, column] = render(identity, state, _SIZE)
            if labelled:
                landmarks[row, column] = landmarks68(identity, state, _SIZE)
    return images, landmarks, [title for title, *_ in rows]
