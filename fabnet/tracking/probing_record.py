"""What the runs of `probe` and `supervise` hold, read from probes/SET and supervised/SET."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabnet.files import hash_file, read_json
from fabnet.probing.intervals import arrays, score
from fabnet.probing.predictions import HEADLINE, PAPER_PREFIX, encoders_and_probes, read_predictions
from fabnet.tracking.record import Record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure


def probing_params(set_name: str, encoders: Iterable[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """Params of a run of `probe`; the order of the encoders, which differs between files, means nothing.

    Args:
        set_name: of the labelled set.
        encoders: that are probed, without the constant predictor.
        params: the section `probe` of params.yaml, resolved.
    """
    return {"set": set_name, "encoders": ",".join(sorted(encoders)), **params}


def probing_record(set_name: str, directory: Path | str, params: Mapping[str, Any]) -> Record:
    """The record of the probes on a labelled set.

    Args:
        set_name: of the labelled set.
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
        if encoder == "constant" or probe not in HEADLINE:
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

    The constant predictor counts once: it is the same under either probe.
    """
    for encoder, probe in encoders_and_probes(predictions):
        if encoder == "constant" and probe not in HEADLINE:
            continue
        rows = read_predictions(predictions, encoder, probe)
        prefix = f"{encoder}/" if probe in HEADLINE else f"{encoder}/{PAPER_PREFIX}"
        yield encoder, probe, rows, {f"{prefix}{key}": float(one["value"]) for key, one in score(rows, 0, 0).items()}


def _pose(encoder: str, true: "np.ndarray", predicted: "np.ndarray") -> "Figure":
    from fabnet.figures.probes import pose_scatter

    return pose_scatter(true, {encoder: predicted})


def supervised_record(set_name: str, directory: Path | str, params: Mapping[str, Any]) -> Record:
    """The record of the supervised network of a labelled set.

    Args:
        set_name: of the labelled set.
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
