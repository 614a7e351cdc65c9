"""Predictions of probes on the test faces, as a table written one encoder and probe at a time.

Points are in pixels of the crop, angles in degrees. Scores of units are log-odds, of classes log-probabilities; both
are scored by rank, and logarithms keep the ranks of confident predictions apart where float32 probabilities would
round to 1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fabnet import tables
from fabnet.contract import mark, open_parquet
from fabnet.errors import TableError
from fabnet.files import atomic_file

#: Names of probes. Scores, figures and gates are those of the regularised one (fabnet/probing/regularised.py), and of
#: networks that learnt from the labels themselves; the paper's stands beside it (fabnet/probing/linear.py).
REGULARISED, PAPER, SUPERVISED = "regularised", "paper", "supervised"
HEADLINE = (REGULARISED, SUPERVISED)
#: What metrics of the paper's probe begin with, in metrics.json and in MLflow.
PAPER_PREFIX = "paper_probe_"

_LISTS = pa.list_(pa.float32())
_SCHEMA = pa.schema(
    [
        ("encoder", pa.string()),
        ("probe", pa.string()),
        ("task", pa.string()),
        ("seed", pa.int64()),
        ("face_id", pa.string()),
        ("identity", pa.string()),
        ("target", _LISTS),
        ("prediction", _LISTS),
    ]
)


def to_pixels(points: np.ndarray, size: int) -> np.ndarray:
    """Landmarks in [-1, 1] of the crop to pixels of a crop of `size`, the left and top edges being 0.

    Args:
        points: any shape.
        size: side of the crop in pixels.
    """
    return (points + 1) * (size / 2)


def frame(
    encoder: str, probe: str, task: str, faces: pd.DataFrame, prediction: np.ndarray, target: np.ndarray, size: int
) -> pd.DataFrame:
    """Rows of tables.Predictions.

    Args:
        encoder: its name.
        probe: regularised, paper or supervised.
        task: its name.
        faces: n rows with columns face_id and identity.
        prediction: (S, n, K), by seed; landmarks in [-1, 1] of the crop.
        target: (n, K), likewise.
        size: side in pixels of the crops that landmarks are given in.
    """
    if task.startswith("landmarks"):
        prediction, target = to_pixels(prediction, size), to_pixels(target, size)
    seeds, count = prediction.shape[:2]
    return pd.DataFrame(
        {
            "encoder": encoder,
            "probe": probe,
            "task": task,
            "seed": np.repeat(np.arange(seeds), count),
            "face_id": np.tile(faces["face_id"].to_numpy(), seeds),
            "identity": np.tile(faces["identity"].to_numpy(), seeds),
            "target": list(target.astype(np.float32)) * seeds,
            "prediction": list(prediction.astype(np.float32).reshape(seeds * count, -1)),
        }
    )


class Writer:
    """Appends checked parts to an open Parquet file."""

    def __init__(self, path: Path, name: str, file: pq.ParquetWriter) -> None:
        self.path, self.name, self._file = path, name, file

    def add(self, part: pd.DataFrame) -> None:
        """Write all predictions of one encoder and probe: keys are checked within this part only."""
        tables.check(part, tables.Predictions, self.name)
        self._file.write_table(pa.Table.from_pandas(part, schema=_SCHEMA, preserve_index=False))


@contextmanager
def open_writer(path: Path | str) -> Iterator[Writer]:
    """A writer of predictions.parquet, which appears, whole, when the block succeeds."""
    schema = mark(_SCHEMA, tables.Predictions)
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:
        yield Writer(temporary, str(path), file)


def read_predictions(
    path: Path | str, encoder: str | None = None, probes: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """The rows of one encoder and of some probes, or of all, checked.

    Args:
        path: of predictions.parquet.
        encoder: None takes all.
        probes: a name or several, of which an encoder has one; None takes all.

    Raises:
        TableError: the file is absent, not a legal table, or from a newer version of fabnet.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: no such table; run `dvc repro probe`")
    wanted: list[tuple[str, str, object]] = [] if encoder is None else [("encoder", "==", encoder)]
    if probes is not None:
        wanted.append(("probe", "in", [probes] if isinstance(probes, str) else list(probes)))
    open_parquet(path, tables.Predictions)
    part = pq.read_table(path, filters=wanted or None).to_pandas()
    return tables.check(part, tables.Predictions, str(path))


def encoders_and_probes(path: Path | str) -> list[tuple[str, str]]:
    """The pairs of encoder and probe that a file of predictions holds, in its order."""
    keys = open_parquet(path, tables.Predictions).read(["encoder", "probe"]).to_pandas().drop_duplicates()
    return list(keys.itertuples(index=False, name=None))


_FILE = "predictions.parquet"


def files_of(set_name: str) -> list[Path]:
    """Files of tables.Predictions of one set, below the root of the project, which is where stages run."""
    supervised = Path("supervised") / set_name / _FILE
    return [Path("probes") / set_name / _FILE, *([supervised] if supervised.is_file() else [])]


def read_comparable(files: list[Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    """`read_each` without encoders that were scored on other faces than the first.

    Of a small set, probes are scored on all faces by folds, and networks that learnt from its labels on its test split.

    Args:
        files: of predictions, an encoder being in one of them.
    """
    faces: set[str] | None = None
    for encoder, rows in read_each(files):
        own = set(rows["face_id"])
        faces = faces or own
        if own == faces:
            yield encoder, rows


def read_each(files: list[Path], probes: Sequence[str] = HEADLINE) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each encoder with its predictions by some kind of probe; one at a time is in memory.

    Args:
        files: of predictions, an encoder being in one of them.
        probes: of which an encoder has one.
    """
    for path in files:
        for encoder, each in encoders_and_probes(path):
            if each in probes:
                yield encoder, read_predictions(path, encoder, each)
