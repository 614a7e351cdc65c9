"""Where a labelled set's predictions lie: those of probes, and those of a network that learnt from the labels."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fabnet.probing.predictions import encoders_and_probes, read_predictions

_FILE = "predictions.parquet"


def files_of(set_name: str) -> list[Path]:
    """Files of tables.Predictions of one set, below the root of the project, which is where stages run."""
    supervised = Path("supervised") / set_name / _FILE
    return [Path("probes") / set_name / _FILE, *([supervised] if supervised.is_file() else [])]


def read_each(files: list[Path], probe: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each encoder with its predictions by one kind of probe; one at a time is in memory."""
    for path in files:
        for encoder, each in encoders_and_probes(path):
            if each == probe:
                yield encoder, read_predictions(path, encoder, probe)
