"""What a run leaves behind besides weights: points of its learning curve and of its curriculum, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass
class Point:
    """One point of a learning curve.

    Attributes:
        loss: mean over all samples since the point before, or of a validation.
        copying: of a validation: the loss of moving no pixel, on the same samples (objective.copying_loss); None where
            the objective has none.
    """

    step: int
    samples: int
    split: str
    loss: float
    learning_rate: float
    copying: float | None = None

    @property
    def below_copying(self) -> float | None:
        return below_copying(self.loss, self.copying)


def below_copying(loss: float, copying: float | None) -> float | None:
    """The share of the copying loss that a network takes off it; negative where it is above.

    None where the objective has no copying loss, or where it is 0, of frames in which nothing moves.

    Args:
        loss: of validation.
        copying: of the same samples.
    """
    return 1 - loss / copying if copying else None


def told(share: float) -> str:
    """As `12.3 % below copying`."""
    return f"{100 * abs(share):.1f} % {'below' if share >= 0 else 'above'} copying"


@dataclass
class CurriculumPoint:
    """What the curriculum did since the point before.

    Attributes:
        window: its number, from 0; [low, high) are its percentiles.
        threshold: the largest loss that was trained on, mean over batches.
        kept: samples trained on, of those seen.
        loss: their mean loss.
    """

    step: int
    samples: int
    window: int
    low: int
    high: int
    threshold: float
    kept: int
    loss: float


_WHOLE, _REAL, _TEXT = pa.int64(), pa.float64(), pa.string()

# The marks are those of fabnet.contract, which needs more packages than a machine that only trains need have.
HISTORY = pa.schema(
    [("step", _WHOLE), ("samples", _WHOLE), ("split", _TEXT)]
    + [(name, _REAL) for name in ("loss", "learning_rate", "copying")],
    metadata={"fabnet.contract": "History 2"},
)
CURRICULUM = pa.schema(
    [(name, _WHOLE) for name in ("step", "samples", "window", "low", "high")]
    + [("threshold", _REAL), ("kept", _WHOLE), ("loss", _REAL)],
    metadata={"fabnet.contract": "Curriculum 1"},
)


def write_points(points: Sequence[Point | CurriculumPoint], path: Path, schema: pa.Schema) -> None:
    """Write points as a table.

    Args:
        points: in the order of their steps.
        path: of the Parquet file.
        schema: HISTORY or CURRICULUM.
    """
    pq.write_table(pa.Table.from_pylist([vars(point) for point in points], schema=schema), path)
