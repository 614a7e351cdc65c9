"""Faults of the tables beside the frames, of labels, and of what later stages make."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.files import read_json, write_json
from tests.data.good_data import Place
from tests.data.planting import Fault, Faults

FAULTS = Faults()
BOX = ["left", "top", "right", "bottom"]
fault, cell, whole = FAULTS.fault, FAULTS.cell, FAULTS.whole

# -- splits, rejects, ledger, shards.parquet, recipe ------------------------------------------------------------------

whole("splits", "an identity in two splits", lambda f: pd.concat([f, f.iloc[:1].assign(split="test")]))
whole("splits", "an identity has none", lambda f: f.iloc[1:])
whole("splits", "an identity that is nowhere", lambda f: pd.concat([f, f.iloc[:1].assign(identity="nobody")]))
whole("splits", "nearly everybody in test", lambda f: f.assign(split=["train", "validation"] + ["test"] * (len(f) - 2)))
cell("splits", "a split of another name", "split", "dev")
cell("rejects", "a reason that is none", "reason", "ugly", 0)
cell("rejects", "a clip without a name", "clip", "", 0)
whole("rejects", "more rejects than the ledger knows", lambda f: pd.concat([f, f.assign(clip="z.mp4")]))
cell("ledger", "fewer frames than in the index", "frames", 1, 0)
cell("ledger", "other bytes than in the shards", "bytes", 1, 0)
whole("shards", "a shard that shards.parquet forgets", lambda f: f.iloc[:0])
cell("shards", "a hash of other bytes", "sha256", "0" * 64, 0)
cell("shards", "a hash of too few digits", "sha256", "0" * 40, 0)
cell("shards", "a size that is not the file's", "bytes", 1024, 0)
cell("shards", "fewer frames than the index names", "frames", 1, 0)
whole("shards", "a shard twice in shards.parquet", lambda f: pd.concat([f, f]))
whole("ledger", "a unit twice", lambda f: pd.concat([f, f]))
whole("ledger", "the first unit is missing", lambda f: f.assign(unit=16))


@fault("rejects", "most clips rejected for one reason")
def _(place: Place) -> None:
    rows = [{"clip": f"{n}.mp4", "track_id": "", "reason": "no_face", "detail": ""} for n in range(100)]
    place.edit("rejects", lambda _: pd.DataFrame(rows))
    place.edit("ledger", lambda frame: frame.assign(clips=frame["clips"] + 99, rejected_clips=100))


@fault("rejects", "the table is missing")
def _(place: Place) -> None:
    place.path("rejects").unlink()


@fault("shards", "shards.parquet is missing")
def _(place: Place) -> None:
    place.path("shards").unlink()


@fault("crop.json", "a stale recipe")
def _(place: Place) -> None:
    path = place.root / "frames/crop.json"
    write_json(path, read_json(path) | {"margin": 0.3})


@fault("crop.json", "the recipe is missing")
def _(place: Place) -> None:
    (place.root / "frames/crop.json").unlink()


# -- labels ---------------------------------------------------------------------------------------------------------

whole("labels", "a face twice", lambda f: pd.concat([f, f.iloc[:1]]))
whole("labels", "a subject in two splits", lambda f: f.assign(identity=["x", *f["identity"][1:-1], "x"]))
whole("labels", "boxes in fractions of the image", lambda f: f.assign(**(f[BOX] / f["right"].max())))
whole("labels", "landmarks in [-1, 1]", lambda f: f.assign(landmarks68=[p / 48 - 1 for p in f["landmarks68"]]))
whole("labels", "a landmark too few", lambda f: f.assign(landmarks68=[p[:-2] for p in f["landmarks68"]]))
whole("labels", "landmarks not numbers", lambda f: f.assign(landmarks5=[p * np.nan for p in f["landmarks5"]]))
whole("labels", "angles in radians", lambda f: f.assign(**{c: np.radians(f[c]) for c in tables.ANGLE_COLUMNS}))
whole("labels", "units from 0 to 5", lambda f: f.assign(**{c: 5 * f[c] for c in tables.UNIT_COLUMNS}))
whole("labels", "no unit ever shown", lambda f: f.assign(**dict.fromkeys(tables.UNIT_COLUMNS, 0.0)))
whole("labels", "an expression that nobody shows", lambda f: f.replace({"expression": {"anger": "sad"}}))
cell("labels", "an angle beyond a half turn", "yaw_deg", 400.0)
cell("labels", "an unknown expression", "expression", "smug")
cell("labels", "no label", "au12", None)


@fault("labels", "a person of the videos")
def _(place: Place) -> None:
    place.edit("labels", lambda frame: frame.replace({"identity": {frame["identity"].iloc[0]: "syn0003"}}))


# -- what later stages make -------------------------------------------------------------------------------------------


def _vectors(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    def plant(place: Place) -> None:
        path = place.root / "embeddings/embeddings.npy"
        np.save(path, change(np.load(path)))

    FAULTS.append(Fault("embeddings", name, plant))


_vectors("an embedding is lost", lambda vectors: vectors[:-1])
_vectors("an embedding is NaN", lambda vectors: np.where(np.arange(len(vectors))[:, None] == 3, np.nan, vectors))


@fault("embeddings", "two of one name")
def _(place: Place) -> None:
    path = place.root / "embeddings/ids.parquet"
    ids = pd.read_parquet(path)
    ids.loc[1, "face_id"] = ids.loc[0, "face_id"]
    ids.to_parquet(path, index=False)


whole("predictions", "a prediction twice", lambda f: pd.concat([f, f.iloc[:1]]))
cell("predictions", "an unknown task", "task", "age")
cell("predictions", "a negative seed", "seed", -1)
cell("history", "the loss is NaN", "loss", float("nan"), 2)
cell("history", "the loss is infinite", "loss", float("inf"), 2)
cell("history", "the loss of copying is negative", "copying", -0.1, 2)
whole("history", "a step twice", lambda f: pd.concat([f, f.iloc[-1:]]))


def _score(name: str, metric: str, score: dict[str, float]) -> None:
    def plant(place: Place) -> None:
        path = place.root / "metrics.json"
        metrics = read_json(path)
        metrics["synthetic"]["fabnet"][metric] = score
        write_json(path, metrics)

    FAULTS.append(Fault("metrics.json", name, plant))


_score("a score outside its interval", "yaw_mae_deg", {"value": 9.0, "low": 4.0, "high": 6.0, "n": 24})
_score("an area above 100 %", "units_auc", {"value": 101.0, "low": 99.0, "high": 102.0, "n": 24})
_score("a score without interval", "yaw_mae_deg", {"value": 5.0})
_score("a score of no faces", "yaw_mae_deg", {"value": 5.0, "low": 4.0, "high": 6.0, "n": 0})
