"""The content of a run, read from a stage's outputs: by the stage itself, or by `fabnet track sync`.

`train` is here; `probe` and `supervise` are in `probing_record`, since `train` depends on nothing that those import.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabnet import tables
from fabnet.files import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Record:
    """A run's content, a function of a stage's outputs alone.

    Attributes:
        params: those that the stage depends on, resolved.
        inputs: SHA-256 of the files that stand for its inputs, by path; together with params they make up pipeline.id.
        history: (key, value, step).
        figures: by name, drawn when they are logged.
        artifacts: small files.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: tuple[tuple[str, float, int], ...] = ()
    figures: Mapping[str, "Callable[[], Figure]"] = field(default_factory=dict)
    artifacts: tuple[Path, ...] = ()


_FRAMES, _SPLITS = "data/frames", "data/splits.parquet"


def training_record(directory: Path | str) -> Record:
    """The record of a trained variant.

    Raises:
        TableError: a table of it is absent or illegal.
    """
    from fabnet.figures.curves import learning_curves

    directory = Path(directory)
    card = read_json(directory / "model.json")
    variant = card["variant"]
    history = tables.read(directory / "history.parquet", tables.History)
    points: list[tuple[str, float, int]] = []
    for split, part in history.groupby("split"):
        points += zip(repeat(f"{split}_loss"), part["loss"], part["step"], strict=False)
    validated = history[history["copying"] > 0]
    points += zip(repeat("copying_loss"), validated["copying"], validated["step"], strict=False)
    below = 100 * (1 - validated["loss"] / validated["copying"])
    points += zip(repeat("below_copying_pct"), below, validated["step"], strict=False)
    points += zip(repeat("learning_rate"), history["learning_rate"], history["step"], strict=False)
    if (path := directory / "curriculum.parquet").is_file():
        curriculum = tables.read(path, tables.Curriculum)
        for column in ("low", "threshold"):
            values = curriculum[column].astype(float)
            points += zip(repeat(f"curriculum_{column}"), values, curriculum["step"], strict=False)
    # The stage hashed crop.json, which holds the recipe as files.write_json writes it.
    recipe = (json.dumps(card["recipe"], indent=2, sort_keys=True) + "\n").encode()
    inputs = {
        f"{_FRAMES}/index.parquet": card["inputs"]["index"],
        f"{_FRAMES}/crop.json": hashlib.sha256(recipe).hexdigest(),
        _SPLITS: card["inputs"]["splits"],
    }
    if (start := card["params"].get("start_from")) is not None:
        inputs[f"models/{start}/best.pt"] = card["inputs"]["start_from"]
    measured = {"best_validation_loss": card["best_validation_loss"], "best_step": card["best_step"]}
    measured["best_below_copying_pct"] = card.get("below_copying_pct")
    return Record(
        params=card["params"],
        inputs=inputs,
        tags={"weights.sha256": card["weights_sha256"], "recipe.hash": card["recipe"]["hash"]},
        metrics={key: value for key, value in measured.items() if value is not None},
        history=tuple((key, float(value), int(step)) for key, value, step in points),
        figures={"learning_curve.png": lambda: learning_curves({variant: history}, {variant: card["objective"]})},
        artifacts=(directory / "model.json",),
    )
