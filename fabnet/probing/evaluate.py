"""Linear probes on the embeddings of a labelled set, and what they predict on its test faces."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.attributes.sets import LabelledSet, targets
from fabnet.config import BootstrapParams, ProbeParams
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.probing import linear
from fabnet.probing.crosscheck import crosscheck
from fabnet.probing.embeddings import encoders_of, read_embeddings, require_set, rows_of
from fabnet.probing.low_label import constant_curve, curve, unseen_in_draws
from fabnet.probing.predictions import frame, open_writer
from fabnet.probing.problem import Problem, absent_by_split, constant_prediction, without_unseen
from fabnet.probing.readings import write_heads
from fabnet.processes import ordered_map
from fabnet.progress import Progress, track
from fabnet.tables import SPLITS


@dataclass(frozen=True)
class ProbeResult:
    """The probes of one encoder and what they predict.

    Attributes:
        meta: of its embeddings.
        predictions: of the torch probe and of scikit-learn, rows of tables.Predictions.
        choices: what was chosen on validation, by probe and task.
        probes: the torch probes, in the order of the problems.
        curve: rows of tables.LowLabel, empty without `report`.
    """

    encoder: str
    meta: dict[str, Any]
    predictions: list[pd.DataFrame]
    choices: dict[str, Any]
    probes: list[linear.Probe]
    curve: pd.DataFrame


def rows_by_split(table: pd.DataFrame, where: str) -> dict[str, np.ndarray]:
    """The rows of each split of a table of labels.

    Args:
        table: of labels.
        where: the labelled set, for the error.

    Raises:
        UserError: a split has too few faces to learn from, to choose on or to score; or a face, or a person, is in two
            splits, so that a score would be of what was learnt.
    """
    _require_apart(table, where)
    rows = {split: np.flatnonzero(table["split"] == split) for split in SPLITS}
    for split, needed in (("train", 2), ("validation", 2), ("test", 1)):
        if len(rows[split]) < needed:
            raise UserError(f"{where}: {len(rows[split])} faces in split {split}; probing needs at least {needed}")
    return rows


def _require_apart(table: pd.DataFrame, where: str) -> None:
    """Refuse a face, the same crop of the same image, or an identity that is in two splits."""
    crop = ["image", "left", "top", "right", "bottom"]
    for what, columns in (("identity", ["identity"]), ("face", ["face_id"]), ("crop", crop)):
        if not set(columns) <= set(table.columns):
            continue  # tables.Labels has them all
        shared = table[table.groupby(columns)["split"].transform("nunique") > 1]
        if len(shared):
            first = shared.iloc[0][columns[0]]
            splits = shared.loc[shared[columns[0]] == first, "split"].unique()
            raise UserError(
                f"{where}: {what} {first} is in the splits {' and '.join(splits)} ({len(shared)} such faces in all); "
                "what is scored must not have been learnt from: put each person in one split"
            )


def probe_encoder(
    encoder: str,
    features: np.ndarray,
    problems: Sequence[Problem],
    table: pd.DataFrame,
    rows: dict[str, np.ndarray],
    params: ProbeParams,
    size: int,
    on_epoch: Callable[[int], None] = lambda epochs: None,
) -> tuple[list[pd.DataFrame], dict[str, Any], list[linear.Probe]]:
    """Train on `train`, choose on `validation`, predict `test`.

    Args:
        encoder: its name in the predictions.
        features: (N, D), its rows being those of `table` (tables.Labels).
        problems: the tasks of the set.
        table: tables.Labels.
        rows: as rows_by_split gives them.
        params: the section `probe`.
        size: side in pixels of the crops that landmark predictions are given in.
        on_epoch: called after an epoch with 1.

    Returns:
        Predictions of the torch probe and of scikit-learn; what was chosen on validation, by probe and task; and the
        torch probes, in the order of `problems`.
    """
    train, validation, test = (rows[split] for split in SPLITS)
    probes = linear.fit(features, problems, train, validation, linear.schedule_of(params), on_epoch)
    checks = crosscheck(features, problems, train, validation, test, params.ridge_alphas, params.logistic_cs)
    outputs = {
        "torch": [probe.predict(features, test) for probe in probes],
        "sklearn": [check.prediction[None] for check in checks],
    }
    choices = {
        "torch": {p.task: {"epochs": p.epochs.tolist(), "validation": np.abs(p.validation).tolist()} for p in probes},
        "sklearn": {c.task: {"penalty": c.penalty, "validation": abs(c.validation)} for c in checks},
    }
    tables = [_table(encoder, name, problems, table, rows, each, size) for name, each in outputs.items()]
    return tables, choices, probes


def probe_embeddings(
    directory: Path,
    problems: Sequence[Problem],
    table: pd.DataFrame,
    rows: dict[str, np.ndarray],
    params: ProbeParams,
    size: int,
    report: BootstrapParams | None = None,
) -> ProbeResult:
    """`probe_encoder` of the embeddings in `directory`, which bears the encoder's name; for a process of its own.

    Args:
        directory: embeddings/SET/KIND/NAME.
        problems, table, rows, params, size: as for `probe_encoder`.
        report: resamples of the intervals of a curve with few labels, which is left out without.

    Raises:
        UserError: the embeddings are damaged, or lack a face of `table`.
    """
    ids, array, meta = read_embeddings(directory)
    at = rows_of(table["face_id"].tolist(), ids, directory)
    features = array if (at == range(len(array))).all() else array[at]
    # Bars of several processes would overwrite each other on a terminal.
    with Progress(f"probe {directory.name}", params.epochs, "epoch", silent=sys.stderr.isatty()) as progress:
        outcome = probe_encoder(directory.name, features, problems, table, rows, params, size, progress.advance)
    few = pd.DataFrame()
    if report is not None:
        few = curve(directory.name, features, outcome[2], problems, table, rows, params, report)
    return ProbeResult(directory.name, meta, *outcome, few)


def probe_constant(
    problems: Sequence[Problem], table: pd.DataFrame, rows: dict[str, np.ndarray], size: int
) -> list[pd.DataFrame]:
    """Predictions of the encoder `constant`, the same under the name of either probe.

    Args:
        problems: the tasks.
        table: of labels.
        rows: of each split.
        size: side of the crops in pixels, for landmarks.
    """
    outputs = [constant_prediction(problem, rows["train"], len(rows["test"]))[None] for problem in problems]
    return [_table("constant", name, problems, table, rows, outputs, size) for name in ("torch", "sklearn")]


def _table(
    encoder: str,
    probe: str,
    problems: Sequence[Problem],
    table: pd.DataFrame,
    rows: dict[str, np.ndarray],
    outputs: Sequence[np.ndarray],
    size: int,
) -> pd.DataFrame:
    train, test = rows["train"], rows["test"]
    faces = table.iloc[test]
    parts = [
        frame(
            encoder,
            probe,
            problem.task,
            faces,
            without_unseen(problem, output, train),
            problem.reference(test),
            size,
        )
        for problem, output in zip(problems, outputs, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def open_embeddings(directory: Path, set_name: str) -> dict[str, Path]:
    """The folders of embeddings/SET by encoder, if each says that it holds what it is looked for.

    Args:
        directory: embeddings/SET.
        set_name: of the labelled set.

    Raises:
        UserError: there are none, or they are of another set or encoder.
    """
    encoders = encoders_of(directory)
    for encoder, path in encoders.items():
        meta = read_json(path / "meta.json")
        require_set(meta, set_name, path)
        if meta["encoder"] != encoder:
            told = f"says that it holds embeddings of {meta['encoder']}"
            raise UserError(f"{path}: meta.json {told}, not of {encoder}; embed the set again")
    return encoders


def probe_set(
    labelled: LabelledSet,
    encoders: Mapping[str, Path],
    params: ProbeParams,
    report: BootstrapParams,
    size: int,
    out: Path,
) -> None:
    """Probe every encoder, and the constant predictor beside them; encoders are spread over processes.

    Args:
        labelled: the set.
        encoders: folders of embeddings by encoder, as `open_embeddings` gives them.
        params: the section `probe`.
        report: resamples and seed of the intervals of low-label curves.
        size: side in pixels of the crops that landmark predictions are given in.
        out: folder of predictions.parquet, low_label.parquet, choices.json and heads/ENCODER.npz.

    Raises:
        UserError: a split has too few faces, a person is in two, or embeddings are damaged.
    """
    table = labelled.table()
    rows = rows_by_split(table, f"sets.{labelled.name}")
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    choices: dict[str, object] = {
        "absent": absent_by_split(problems, rows),
        "low_label": unseen_in_draws(problems, rows["train"], params),
    }
    curves = [constant_curve(problems, table, rows, params, report)]
    probe = partial(
        probe_embeddings, problems=problems, table=table, rows=rows, params=params, size=size, report=report
    )
    # Those with the most to do first, so that no process is left with one of them at the end.
    dimensions = {path: read_json(path / "meta.json")["dimension"] for path in encoders.values()}
    widest = sorted(dimensions, key=lambda path: -dimensions[path])
    results = track(ordered_map(probe, widest, workers=0), f"probe@{labelled.name}", len(widest), "encoder")
    with open_writer(out / "predictions.parquet") as writer:
        for part in probe_constant(problems, table, rows, size):
            writer.add(part)
        for result in results:
            choices[result.encoder] = result.choices
            curves.append(result.curve)
            if result.meta["weights_sha256"]:  # others than trained encoders cannot embed a new face
                origin = {key: result.meta[key] for key in ("encoder", "set", "weights_sha256", "recipe_hash")}
                write_heads(out / "heads" / f"{result.encoder}.npz", result.probes, problems, origin)
            for part in result.predictions:
                writer.add(part)
    tables.write(pd.concat(curves, ignore_index=True), out / "low_label.parquet", tables.LowLabel)
    write_json(out / "choices.json", choices)
