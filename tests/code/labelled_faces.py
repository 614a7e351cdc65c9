"""A tiny labelled set in the on-disk format of the embedded one."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

from fabnet import tables


def write_labelled_faces(folder: Path, identities: int = 20, per_identity: int = 4, size: int = 32) -> pd.DataFrame:
    """Write labels.parquet and faces.tar and return the labels: discs whose place and colour tell all labels."""
    random = np.random.default_rng(7)
    count = identities * per_identity
    rows, images = [], []
    for number in range(count):
        angles = random.uniform(-20, 20, 3)
        units = random.uniform(0, 1, len(tables.UNITS))
        expression = number % len(tables.EXPRESSIONS)
        centre = size / 2 + angles[[2, 1]] * size / 100
        points = centre + np.stack([np.linspace(-1, 1, 68), np.sin(np.arange(68))], axis=1) * size / 5
        y, x = np.mgrid[:size, :size] + 0.5
        disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (size / 4) ** 2
        colour = np.array([units[0], units[1], expression / 7]) * 255
        images.append(np.where(disc[..., None], colour, 40).astype(np.uint8))
        identity = number // per_identity
        rows.append(
            {
                "face_id": f"face{number:04d}",
                "identity": f"person{identity:03d}",
                "split": "train" if identity % 5 < 3 else "validation" if identity % 5 == 3 else "test",
                "image": f"face{number:04d}.jpg",
                **dict(zip(("left", "top", "right", "bottom"), (0.0, 0.0, float(size), float(size)), strict=True)),
                "landmarks68": points.ravel(),
                "landmarks5": points[[0, 67, 30, 10, 50]].ravel(),
                **dict(zip(tables.ANGLE_COLUMNS, angles, strict=True)),
                "expression": tables.EXPRESSIONS[expression],
                **dict(zip(tables.UNIT_COLUMNS, units, strict=True)),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    labels = pd.DataFrame(rows)
    tables.write(labels, folder / "labels.parquet", tables.Labels)
    with tarfile.open(folder / "faces.tar", "w") as tar:
        for row, image in zip(rows, images, strict=True):
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95)
            member = tarfile.TarInfo(str(row["image"]))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return labels
