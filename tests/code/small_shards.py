"""Track shards of a few noisy frames, with an index, a recipe and splits."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

from fabnet import tables
from fabnet.frames.shards import TarWriter, member_name, merge, shard_name

SIZE = 16
RECIPE = {"size": SIZE, "hash": "0123456789abcdef"}


def write_small_shards(folder: Path, size: int = SIZE) -> Path:
    """Six identities with two tracks of four frames: `frames` and splits.parquet in `folder`, which is returned."""
    part, frames = folder / "part", folder / "frames"
    part.mkdir()
    frames.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    with open(part / shard_name(0), "wb") as file:
        tar = TarWriter(file)
        for person in range(6):
            for video in range(2):
                track = f"p{person}/v{video}/c/0"
                for frame in range(4):
                    picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                    jpeg = simplejpeg.encode_jpeg(picture)
                    offset = tar.add(member_name(track, frame), jpeg)
                    place = (shard_name(0), offset, len(jpeg), 0.0, 0.0, 16.0, 16.0, 1.0, 1.0)
                    clip = f"p{person}/v{video}/c.mp4"
                    rows.append((track, f"p{person}", f"v{video}", clip, frame, float(frame), *place))
        tar.close()
    columns = list(tables.Index.to_schema().columns)
    known = pd.DataFrame(rows, columns=columns[: len(rows[0])])  # all others may be unknown
    tables.write(known.reindex(columns=columns), part / "index.parquet", tables.Index)
    merge([part], frames, 1)
    (frames / "crop.json").write_text(json.dumps(RECIPE | {"size": size}))
    people = [f"p{person}" for person in range(6)]
    split = ["train"] * 4 + ["validation", "test"]
    tables.write(pd.DataFrame({"identity": people, "split": split}), folder / "splits.parquet", tables.Splits)
    return folder
