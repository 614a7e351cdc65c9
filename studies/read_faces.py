"""Crops of a frame store as a labelled set: FaceMesh's readings stand in for labels that nobody made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from fabnet.attributes.aflw2000 import face_box
from fabnet.attributes.folder import LeftOut
from fabnet.attributes.tasks import Task, tasks_of
from fabnet.errors import UserError
from fabnet.files import atomic_file, hash_file
from fabnet.frames.store import FrameStore
from fabnet.tables import ANGLE_COLUMNS
from fabnet.video.crop import Box, crop
from fabnet.video.mesh import MIN_PRESENCE, read_face

#: Of five people to learn from, one to choose penalties on.
CHOOSING = 5


def read_crops(frames: Path, out: Path, turn: float = 0.0) -> pd.DataFrame:
    """What FaceMesh reads of every crop of a store, one row each in its order; of the file if that is there.

    Args:
        frames: directory of track shards.
        out: Parquet with the columns turned_deg, presence, roll_deg, pitch_deg, yaw_deg and landmarks68 (136, pixels of
            the turned crop).
        turn: crops are turned first, each by another angle up to so many degrees to either side: people in
            photographs tilt their heads more than people who talk.

    Raises:
        UserError: the file is of other crops, or of an older version.
    """
    from fabnet.progress import track

    store = FrameStore(frames)
    if out.is_file():
        kept = pd.read_parquet(out)
        if "turned_deg" not in kept or len(kept) != store.frame_count or kept["turned_deg"].abs().max() > turn:
            raise UserError(f"{out}: is not what was read of these {store.frame_count} crops; delete it to read them")
        return kept
    whole = Box(0, 0, store.size, store.size)
    rows: list[dict[str, Any]] = []
    turned = np.random.default_rng(0).uniform(-turn, turn, store.frame_count)
    for row in track(range(store.frame_count), "readings", store.frame_count, "crop"):
        face = read_face(rotated(store.decode([row])[0], turned[row]), whole)
        angles = dict(zip(ANGLE_COLUMNS, (face.roll_deg, face.pitch_deg, face.yaw_deg), strict=True))
        points = {"landmarks68": face.landmarks68.ravel()}
        rows.append({"turned_deg": turned[row], "presence": face.presence, **angles, **points})
    readings = pd.DataFrame(rows)
    with atomic_file(out) as temporary:
        readings.to_parquet(temporary)
    return readings


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """A square picture turned about its middle, with its edge continued where it does not reach.

    Args:
        image: uint8 RGB (side, side, 3).
        degrees: clockwise; 0 gives the picture itself.
    """
    if degrees == 0:
        return image
    side = len(image)
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), -degrees, 1)
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class ReadFaces:
    """Faces that FaceMesh is sure of, cut as the reader of AFLW2000-3D cuts its own around the same 68 points.

    Probes learn from the people that networks learnt from, choose penalties on every fifth of these, and are scored on
    the store's validation people: `split` says train, validation and test for the three.
    """

    def __init__(self, name: str, frames: Path, splits: Path, readings: pd.DataFrame) -> None:
        """Put labels and crops together.

        Args:
            name: of the set.
            frames: directory of track shards.
            splits: table of identities and splits.
            readings: as `read_crops` gives them.

        Raises:
            UserError: a person of the store is in no split.
        """
        self.name = name
        self._frames, self._store = frames, FrameStore(frames)
        index = pd.read_parquet(frames / "index.parquet", columns=["track_id", "frame_no", "identity"])
        own = pd.read_parquet(splits).set_index("identity")["split"]
        if missing := sorted(set(index["identity"]) - set(own.index)):
            raise UserError(f"{splits}: has no row of {missing[0]}, who is in {frames}; split the store again")
        learnt = sorted(own.index[own == "train"])
        parts = {name: "validation" if at % CHOOSING == 0 else "train" for at, name in enumerate(learnt)}
        parts |= dict.fromkeys(own.index[own == "validation"], "test")
        boxes = np.array([face_box(points.reshape(-1, 2)) for points in readings["landmarks68"]])
        table = pd.DataFrame(
            {
                "face_id": index["track_id"] + "/" + index["frame_no"].astype(str),
                "identity": index["identity"],
                "split": index["identity"].map(parts),
                "row": np.arange(len(index)),
                **dict(zip(("left", "top", "right", "bottom"), boxes.T, strict=True)),
                **{name: readings[name] for name in ("turned_deg", *ANGLE_COLUMNS, "landmarks68")},
            }
        )
        sure = (readings["presence"] >= MIN_PRESENCE).to_numpy()
        self._table = table[sure & table["split"].notna()].reset_index(drop=True)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tasks_of(self._table)

    def table(self) -> pd.DataFrame:
        return self._table

    @property
    def left_out(self) -> pd.DataFrame:
        return LeftOut().table()

    def fingerprint(self) -> str:
        """See LabelledSet."""
        columns = self._table[["face_id", "turned_deg", "left", "top", "right", "bottom"]]
        return f"{hash_file(self._frames / 'index.parquet')} {pd.util.hash_pandas_object(columns).sum()}"

    def crop(self, row: Any, size: int) -> np.ndarray:
        """The face of one row: uint8 RGB (size, size, 3).

        Args:
            row: of `table().itertuples()`.
            size: side of the crop, in pixels.
        """
        return crop(
            rotated(self._store.decode([row.row])[0], row.turned_deg),
            Box(row.left, row.top, row.right, row.bottom),
            size,
        )
