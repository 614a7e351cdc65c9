"""What the run of a `supervise` stage holds, read from supervised/SET."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabnet.files import hash_file, read_json
from fabnet.probing.intervals import score
from fabnet.probing.predictions import encoders_and_probes, read_predictions
from fabnet.tracking.record import Record


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
    metrics: dict[str, float] = {}
    # With `seeds: 0` nothing was trained and there are none.
    for encoder, probe in encoders_and_probes(predictions) if read_json(directory / "model.json")["history"] else []:
        part = read_predictions(predictions, encoder, probe)
        metrics |= {f"{encoder}/{metric}": float(values["value"]) for metric, values in score(part, 0, 0).items()}
    root = directory.parent.parent
    labels = root / "reports/data/sets" / f"{set_name}.json"
    return Record(
        params={"set": set_name, **params},
        inputs={labels.relative_to(root).as_posix(): hash_file(labels)} if labels.is_file() else {},
        metrics=metrics,
        history=tuple(_history(read_json(directory / "model.json"))),
        artifacts=(directory / "model.json",),
    )


def _history(card: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Loss and validation score of every epoch: (key, value, epoch). Areas are stored negated."""
    return [
        (f"seed{seed}/{key}", abs(value), int(point["epoch"]))
        for seed, points in enumerate(card["history"])
        for point in points
        for key, value in point.items()
        if key != "epoch"
    ]
