"""Writes the labelled set: faces.tar with JPEG images and labels.parquet."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import simplejpeg

from fabnet import tables
from fabnet.config import SynthesizeParams
from fabnet.files import atomic_directory
from fabnet.parallel import ordered_map
from fabnet.progress import Progress
from fabnet.synthetic import portraits
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.landmarks import landmarks5, landmarks68
from fabnet.synthetic.people import sample_identity
from fabnet.synthetic.portraits import Portrait, sample_portrait
from fabnet.synthetic.render import render
from fabnet.synthetic.seeds import generator

LABELS = "labels.parquet"
IMAGES = "faces.tar"

_JPEG_QUALITY = 95


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
    """A person of the labelled set and the states of their faces."""
    rng = generator(seed, "face", number)
    return sample_identity(rng, portraits.BACKGROUNDS, portraits.SATURATION), [
        sample_portrait(rng) for _ in range(faces)
    ]


def write_faces(directory: Path | str, params: SynthesizeParams) -> None:
    """Draw the labelled faces into `directory`, which appears when all are done.

    The files depend on `params` but for `workers`, byte for byte.
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
