"""Faults of the frames: their index and their shards."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import simplejpeg

from fabnet import contract, tables
from tests.data.good_data import SIZE, TRACK, Place
from tests.data.planting import Faults

FAULTS = Faults()
fault, cell, whole = FAULTS.fault, FAULTS.cell, FAULTS.whole

# -- index ----------------------------------------------------------------------------------------------------------

whole("index", "left and right swapped", lambda f: f.rename(columns={"left": "right", "right": "left"}))
whole("index", "a column is missing", lambda f: f.drop(columns="time_s"))
whole("index", "a column is misspelt", lambda f: f.rename(columns={"sharpness": "sharpnes"}))
whole("index", "numbers as floats", lambda f: f.astype({"frame_no": float}))
whole("index", "offsets as text", lambda f: f.astype({"offset": str}))
whole("index", "boxes in fractions of the frame", lambda f: f.assign(right=1.0, bottom=1.0))
whole("index", "brightness from 0 to 1", lambda f: f.assign(brightness=f["brightness"] / 255))
whole("index", "no rows", lambda f: f.iloc[:0])
whole("index", "a row twice", lambda f: pd.concat([f.iloc[:6], f.iloc[5:]], ignore_index=True))
whole("index", "frames of a track unsorted", lambda f: f.iloc[[1, 0, *range(2, len(f))]])
whole(
    "index", "tracks unsorted", lambda f: f.iloc[[*range(TRACK, 2 * TRACK), *range(TRACK), *range(2 * TRACK, len(f))]]
)
whole("index", "a track taken up again", lambda f: f.iloc[[*range(3), *range(4, len(f)), 3]])
cell("index", "brightness is NaN", "brightness", float("nan"))
cell("index", "brightness above 255", "brightness", 300.0)
cell("index", "sharpness is infinite", "sharpness", float("inf"))
cell("index", "a presence above 1", "presence", 1.2)
cell("index", "a pose without a presence", "presence", float("nan"))
cell("index", "a yaw beyond a profile's", "yaw_deg", 120.0)
whole("index", "faces that the frame cuts off", lambda f: f.assign(cut_off=0.6))
whole("index", "heads in profile", lambda f: f.assign(yaw_deg=-80.0 + 0 * f["presence"]))
cell("index", "a negative time", "time_s", -1.0)
cell("index", "a size of zero", "size", 0)
cell("index", "a box without area", "right", 0.0)
cell("index", "another person within a track", "identity", "syn0009")
cell("index", "an empty identity", "identity", "")
cell("index", "a space in a track's name", "track_id", "syn0001 interview")
cell("index", "a file that is no shard", "shard", "frames.tar")
cell("index", "a shard that does not exist", "shard", "tracks-00042.tar")
whole("index", "offsets of the tar's headers", lambda f: f.assign(offset=f["offset"] - 512))
whole("index", "an offset too far by one", lambda f: f.assign(offset=f["offset"] + (f.index == 7)))
whole("index", "sizes too small by one", lambda f: f.assign(size=f["size"] - 1))
whole("index", "a frame was dropped", lambda f: f.drop(index=5))


@fault("index", "two frames of a track exchanged")
def _(place: Place) -> None:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[[5, 6], ["offset", "size"]] = frame.loc[[6, 5], ["offset", "size"]].to_numpy()

    place.edit("index", change)


@fault("index", "the file is cut short")
def _(place: Place) -> None:
    path = place.path("index")
    path.write_bytes(path.read_bytes()[:-100])


@fault("index", "written by a later version")
def _(place: Place) -> None:
    table = pq.read_table(place.path("index"))
    later = f"Index {contract.version(tables.Index) + 1}".encode()
    pq.write_table(table.replace_schema_metadata({contract.WRITTEN_UNDER: later}), place.path("index"))


@fault("index", "another table under its name")
def _(place: Place) -> None:
    place.path("splits").replace(place.path("index"))
    tables.write(pd.DataFrame({"identity": ["a"], "split": ["train"]}), place.path("splits"), tables.Splits)


# -- shards ---------------------------------------------------------------------------------------------------------


def _shard(place: Place) -> Path:
    return next((place.root / "frames").glob("*.tar"))


@fault("shards", "a shard is cut short")
def _(place: Place) -> None:
    _shard(place).write_bytes(_shard(place).read_bytes()[:20_000])


@fault("shards", "zeros in the middle of a shard")
def _(place: Place) -> None:
    place.damage(30_000, bytes(10_000))


def _middle(place: Place) -> int:
    """Where the scan of a JPEG is under way: after its headers, before its end."""
    row = pd.read_parquet(place.path("index")).iloc[9]
    return int(row["offset"] + row["size"] - 60)


@fault("shards", "a JPEG whose inside is damaged")
def _(place: Place) -> None:
    place.damage(_middle(place), b"\xff\xc4" * 20)  # a marker that no decoder knows


@fault("shards", "a bit of a JPEG flipped, which decodes all the same")
def _(place: Place) -> None:
    shard, middle = _shard(place), _middle(place)
    flipped = bytes([shard.read_bytes()[middle] ^ 1])
    place.damage(middle, flipped, told=False)
    row = pd.read_parquet(place.path("index")).iloc[9]
    simplejpeg.decode_jpeg(shard.read_bytes()[row["offset"] : row["offset"] + row["size"]])


@fault("shards", "bytes between two JPEGs changed")
def _(place: Place) -> None:
    place.damage(int(pd.read_parquet(place.path("index"))["offset"].iloc[9]) - 300, b"x", told=False)


@fault("shards", "a shard is empty")
def _(place: Place) -> None:
    _shard(place).write_bytes(b"")


@fault("shards", "bytes after the end of a shard")
def _(place: Place) -> None:
    with open(_shard(place), "ab") as file:
        file.write(bytes(512))


@fault("shards", "half of the tracks black")
def _(place: Place) -> None:
    images = place.images()
    images[: len(images) // 2] = 0
    place.rewrite(images)


@fault("shards", "a black frame in some tracks")
def _(place: Place) -> None:
    images = place.images()
    images[:: 2 * TRACK] = 0
    place.rewrite(images)


@fault("shards", "overexposed tracks")
def _(place: Place) -> None:
    images = place.images()
    images[: 4 * TRACK] = 255
    place.rewrite(images)


@fault("shards", "other frames than the index tells of")
def _(place: Place) -> None:
    images = place.images()
    images[: 2 * TRACK] = 255 - images[: 2 * TRACK]
    place.rewrite(images, told=False)


@fault("shards", "blurred frames")
def _(place: Place) -> None:
    images = place.images()
    place.rewrite(np.stack([cv2.GaussianBlur(image, (0, 0), 5) for image in images]))


@fault("shards", "blurred frames that the index calls sharp")
def _(place: Place) -> None:
    images = place.images()
    place.rewrite(np.stack([cv2.GaussianBlur(image, (0, 0), 5) for image in images]), told=False)


@fault("shards", "crops of another size")
def _(place: Place) -> None:
    place.rewrite(place.images(), size=SIZE // 2)


def _rows_of(place: Place, split: str) -> np.ndarray:
    splits = pd.read_parquet(place.path("splits")).set_index("identity")["split"]
    return np.flatnonzero(pd.read_parquet(place.path("index"))["identity"].map(splits) == split)


@fault("shards", "a video of train in test as well")
def _(place: Place) -> None:
    images = place.images()
    images[_rows_of(place, "test")[:TRACK]] = images[_rows_of(place, "train")[:TRACK]]
    place.rewrite(images)


@fault("shards", "a video of train in test, brighter and compressed again")
def _(place: Place) -> None:
    images = place.images()
    copied = images[_rows_of(place, "train")[:TRACK]].astype(int) + 3
    images[_rows_of(place, "test")[:TRACK]] = copied.clip(0, 255)
    place.rewrite(images, jpeg_quality=85)
