"""The content of a run, read from a stage's outputs: by the stage itself, or by `fabnet track sync`."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabnet import tables
from fabnet.files import hash_file, read_json
from fabnet.probing.intervals import arrays, score
from fabnet.probing.predictions import encoders_and_probes, read_predictions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
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
    return Record(
        params=card["params"],
        inputs=inputs,
        tags={"weights.sha256": card["weights_sha256"], "recipe.hash": card["recipe"]["hash"]},
        metrics={"best_validation_loss": card["best_validation_loss"], "best_step": card["best_step"]},
        history=tuple((key, float(value), int(step)) for key, value, step in points),
        figures={"learning_curve.png": lambda: learning_curves({variant: history}, {variant: card["objective"]})},
        artifacts=(directory / "model.json",),
    )


def probing_params(set_name: str, encoders: Iterable[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """Params of a run of `probe`; the order of the encoders, which differs between files, means nothing.

    Args:
        encoders: that are probed, without the constant predictor.
        params: the section `probe` of params.yaml, resolved.
    """
    return {"set": set_name, "encoders": ",".join(sorted(encoders)), **params}


def probing_record(set_name: str, directory: Path | str, params: Mapping[str, Any]) -> Record:
    """The record of the probes on a labelled set.

    Args:
        directory: probes/SET. The embeddings are looked for at embeddings/SET beside `probes`: their descriptions are
            what the stage's inputs are known by.
        params: the section `probe` of params.yaml, resolved.

    Raises:
        TableError: the predictions are absent or illegal.
    """
    directory = Path(directory)
    predictions = directory / "predictions.parquet"
    metrics: dict[str, float] = {}
    figures: dict[str, Callable[[], Figure]] = {}
    encoders = []
    for encoder, probe, part, scores in _scored(predictions):
        metrics |= scores
        if encoder == "constant" or probe != "torch":
            continue
        encoders.append(encoder)
        if (part["task"] == "pose").any():
            _, predicted, true = arrays(part, "pose")
            figures[f"pose_{encoder}.png"] = partial(_pose, encoder, true, predicted[0])
    root = directory.parent.parent
    origins = sorted((root / "embeddings" / set_name).glob("*/*/meta.json"))
    return Record(
        params=probing_params(set_name, encoders, params),
        inputs={path.relative_to(root).as_posix(): hash_file(path) for path in origins},
        metrics=metrics,
        figures=figures,
        artifacts=(directory / "choices.json",),
    )


def _scored(predictions: Path) -> Iterator[tuple[str, str, "pd.DataFrame", dict[str, float]]]:
    """Each encoder and probe of a table of predictions, with its rows and its scores by ENCODER/METRIC.

    The constant predictor counts once: the cross-check by scikit-learn has nothing to say of it.
    """
    for encoder, probe in encoders_and_probes(predictions):
        if encoder == "constant" and probe != "torch":
            continue
        rows = read_predictions(predictions, encoder, probe)
        name = encoder if probe == "torch" else f"{encoder}-{probe}"
        yield encoder, probe, rows, {f"{name}/{key}": float(one["value"]) for key, one in score(rows, 0, 0).items()}


def _pose(encoder: str, true: "np.ndarray", predicted: "np.ndarray") -> "Figure":
    from fabnet.figures.probes import pose_scatter

    return pose_scatter(true, {encoder: predicted})


def supervised_record(set_name: str, directory: Path | str, params: Mapping[str, Any]) -> Record:
    """The record of the supervised network of a labelled set.

    Args:
        directory: supervised/SET. What is known of the set's labels is looked for at reports/data/sets/SET.json beside
            `supervised`: it stands for the stage's inputs.
        params: the section `supervise` of params.yaml, resolved.

    Raises:
        TableError: the predictions are absent or illegal.
    """
    directory = Path(directory)
    predictions = directory / "predictions.parquet"
    card = read_json(directory / "model.json")
    metrics: dict[str, float] = {}
    if card["history"]:  # with `seeds: 0` nothing was trained, and there are no predictions
        for *_, scores in _scored(predictions):
            metrics |= scores
    root = directory.parent.parent
    labels = root / "reports/data/sets" / f"{set_name}.json"
    return Record(
        params={"set": set_name, **params},
        inputs={labels.relative_to(root).as_posix(): hash_file(labels)} if labels.is_file() else {},
        metrics=metrics,
        history=tuple(_history(card)),
        artifacts=(directory / "model.json",),
    )


def _history(card: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Loss and validation score of every epoch: (key, value, epoch). ROC AUCs are stored negated."""
    return [
        (f"seed{seed}/{key}", abs(value), int(point["epoch"]))
        for seed, points in enumerate(card["history"])
        for point in points
        for key, value in point.items()
        if key != "epoch"
    ]
