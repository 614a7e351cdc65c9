"""Every kind of fault that we know to plant in good data, and which rule catches it where.

`python -m tests.data.faults` writes what was caught into docs/data-quality.md; a test compares.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fabnet import contract, tables
from fabnet.attributes.audit import audit_set
from fabnet.config import SplitParams
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.probing.embeddings import read_embeddings
from fabnet.probing.predictions import read_predictions
from fabnet.quality.check import check
from fabnet.quality.health import Verdict, judge_frames, judge_set, legal_frames
from fabnet.quality.measures import MEANING
from fabnet.quality.metrics import metrics_frame
from tests.data import good_data
from tests.data.good_data import LIMITS, SIZE, TRACK, Place

#: Rules that joins of tables are checked by, as their messages tell them.
JOINS = {
    "has no split": "every identity of the index has a split",
    "is not in .*index": "every identity of the splits is in the index",
    "its shard .* does not exist": "the shard of every row exists",
    "no JPEG at bytes": "a JPEG lies at every offset",
    "is out of order": "tracks are in order",
    "holds no rows": "there are rows",
    "column .*: sums to": "the ledger's counts are those of index and rejects",
    "its first unit begins": "the first unit begins at the first clip",
    "its hash is": "the recipe's hash is that of its content",
    "no such file|no such table": "the file exists",
    "cannot be read as a table": "the file is a whole table",
    "was written under version": "the file is of no later version",
    "also appears in the videos": "labelled people are not in the videos",
    "has shape": "there is one id for each embedding",
    "not finite": "embeddings are finite",
    "must hold value, low, high, n": "a score has value, low, high and n",
    "is a table of": "the file holds the table that its name says",
}


@dataclass(frozen=True)
class Fault:
    table: str
    name: str
    plant: Callable[[Place], None]


FAULTS: list[Fault] = []


def fault(table: str, name: str) -> Callable[[Callable[[Place], None]], None]:
    return lambda plant: FAULTS.append(Fault(table, name, plant))


def cell(table: str, name: str, column: str, value: object, row: int = 5) -> None:
    """A fault of one value."""

    def plant(place: Place) -> None:
        def change(frame: pd.DataFrame) -> None:
            frame.loc[row, column] = value

        place.edit(table, change)

    FAULTS.append(Fault(table, name, plant))


def whole(table: str, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """A fault of a whole table."""
    FAULTS.append(Fault(table, name, lambda place: place.edit(table, change)))


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
    data = bytearray(_shard(place).read_bytes())
    data[30_000:40_000] = bytes(10_000)
    _shard(place).write_bytes(data)


@fault("shards", "a JPEG whose inside is damaged")
def _(place: Place) -> None:
    row = pd.read_parquet(place.path("index")).iloc[9]
    data = bytearray(_shard(place).read_bytes())
    # A marker that no decoder knows, after the headers.
    middle = row["offset"] + row["size"] - 60
    data[middle : middle + 40] = b"\xff\xc4" * 20
    _shard(place).write_bytes(data)


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


# -- splits, rejects, ledger, recipe ----------------------------------------------------------------------------------

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
cell("ledger", "a hash that is none", "sha256", "abc", 0)
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


# -- who catches them -----------------------------------------------------------------------------------------------


def caught(place: Place) -> Iterator[tuple[str, str]]:
    """(stage, rule) of everything that the guards say of a project, in the order in which they are asked."""
    frames, splits = place.root / "frames", place.path("splits")
    guards: list[tuple[str, Callable[[], object]]] = [
        ("validate", lambda: legal_frames(frames, splits)),
        ("validate_set", lambda: audit_set("faces", tables.read(place.path("labels"), tables.Labels), splits)),
        ("probe", lambda: read_embeddings(place.root / "embeddings")),
        ("report", lambda: read_predictions(place.path("predictions"))),
        ("report", lambda: tables.read(place.path("history"), tables.History)),
        ("report", lambda: _metrics(place.root / "metrics.json")),
    ]
    legal = True
    for stage, guard in guards:
        try:
            guard()
        except contract.IllegalTable as error:
            legal = False
            for finding in error.findings:
                yield stage, f"{finding.column or 'rows'}: {finding.rule}"
        except UserError as error:
            legal = False
            yield stage, _join(str(error))
    if legal:
        # The quicker one first: whoever asks for the first catch alone does not wait for the other.
        yield from _failed("validate_set", judge_set("faces", tables.read(place.path("labels"), tables.Labels), LIMITS))
        yield from _failed("validate", judge_frames(frames, splits, SplitParams(), LIMITS))

        for line in check(place.root / "embeddings").lines:
            if line.startswith("ILLEGAL"):
                yield "fabnet check", _join(line)


def _failed(stage: str, verdict: Verdict) -> Iterator[tuple[str, str]]:
    assert verdict.broken is None
    return ((f"{stage}, {one.level}", one.name) for one in verdict.judgements if not one.passed)


def _metrics(path: Path) -> None:
    tables.check(metrics_frame(read_json(path), path), tables.Metrics, str(path))


def _join(message: str) -> str:
    return next((rule for pattern, rule in JOINS.items() if re.search(pattern, message)), f"? {message}")


def catch(base: Place, one: Fault, folder: Path) -> tuple[str, str] | None:
    """The first (stage, rule) that catches a fault, or None."""
    place = good_data.copy(base, folder)
    one.plant(place)
    return next(caught(place), None)


# -- the page -------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs/data-quality.md"


def documented(text: str, catches: list[tuple[Fault, tuple[str, str] | None]]) -> str:
    """docs/data-quality.md with its generated tables made anew."""
    faults = ["| table | fault | rule | caught by |", "|---|---|---|---|"]
    for one, found in catches:
        stage, rule = found or ("**nobody**", "**none**")
        faults.append(f"| {one.table} | {one.name} | {_code(rule)} | {stage} |")
    measures = ["| measure | what it is |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in MEANING.items())]
    for name, lines in (("faults", faults), ("measures", measures)):
        begin, end = f"<!-- {name}: made by tests/data/faults.py -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n".join(lines) + "\n" + rest[rest.index(end) :]
    return text


def _code(rule: str) -> str:
    """Names of columns and measures as code, without long lists; sentences as they are."""
    return f"`{re.sub(r'isin.*', 'isin(...)', rule)}`" if ":" in rule or "." in rule else rule


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        base.mkdir()
        place = good_data.make(base)
        catches = [(one, catch(place, one, Path(folder) / str(number))) for number, one in enumerate(FAULTS)]
    PAGE.write_text(documented(PAGE.read_text(), catches))
    missed = [one.name for one, found in catches if found is None]
    sys.exit(f"not caught: {missed}" if missed else 0)


if __name__ == "__main__":
    main()
