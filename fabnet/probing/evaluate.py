"""Linear probes on the embeddings of a labelled set, and what they predict on its test faces."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.attributes.sets import TASKS, LabelledSet, targets
from fabnet.config import BootstrapParams, FoldsParams, ProbeParams
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.probing import linear, regularised
from fabnet.probing.embeddings import encoders_of, read_embeddings, require_set, rows_of
from fabnet.probing.folds import constant_out_of_fold, identity_folds, paper_out_of_fold, regularised_out_of_fold
from fabnet.probing.low_label import constant_curve, curve, unseen_in_draws
from fabnet.probing.predictions import PAPER, REGULARISED, frame, open_writer
from fabnet.probing.probe import Probe
from fabnet.probing.problem import (
    REGRESSION,
    Problem,
    absent_by_split,
    absent_names,
    constant_prediction,
    without_unseen,
)
from fabnet.probing.readings import write_heads
from fabnet.processes import ordered_map
from fabnet.progress import Progress, track
from fabnet.tables import SPLITS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeResult:
    """The probes of one encoder and what they predict.

    Attributes:
        meta: of its embeddings.
        predictions: of the regularised and of the paper's probe, rows of tables.Predictions.
        choices: what was chosen on validation, by probe and task.
        probes: the regularised ones, for new faces, in the order of the problems.
        curve: rows of tables.LowLabel, empty without `report`.
    """

    encoder: str
    meta: dict[str, Any]
    predictions: list[pd.DataFrame]
    choices: dict[str, Any]
    probes: list[Probe]
    curve: pd.DataFrame


@dataclass(frozen=True)
class Protocol:
    """Which faces are learnt from and which are scored.

    Attributes:
        table: tables.Labels.
        rows: of each split.
        folds_RN: fold of every face by repeat, where the set is so small that it is scored by cross-validation; None
            where the split is.
    """

    table: pd.DataFrame
    rows: Mapping[str, np.ndarray]
    folds_RN: np.ndarray | None

    @property
    def scored(self) -> np.ndarray:
        """The rows that are predicted: of the test split, or of all folds."""
        return self.rows["test"] if self.folds_RN is None else np.arange(len(self.table))

    def absent(self, problems: Sequence[Problem]) -> dict[str, dict[str, list[str]]]:
        """Units and classes that are constant in a split, or in what some fold leaves to learn from."""
        if self.folds_RN is None:
            return absent_by_split(problems, self.rows)
        learnt = [np.flatnonzero(folds != fold) for folds in self.folds_RN for fold in np.unique(folds)]
        found: dict[str, set[str]] = {}
        for rows in learnt:
            for task, names in absent_names(problems, rows).items():
                found.setdefault(task, set()).update(names)
        return {"folds": {task: sorted(names) for task, names in found.items()}} if found else {}

    def described(self) -> dict[str, Any]:
        """For choices.json: the split, or folds and repeats; and the number of faces that are scored."""
        people = int(self.table["identity"].iloc[self.scored].nunique())
        counts = {"faces": len(self.scored), "identities": people}
        if self.folds_RN is None:
            return {"scored": "test split", **counts}
        return {"scored": "folds", "folds": int(self.folds_RN.max()) + 1, "repeats": len(self.folds_RN), **counts}


def protocol_of(table: pd.DataFrame, params: FoldsParams, where: str) -> Protocol:
    """The split of a set, and folds in its place if the set is small.

    Args:
        table: tables.Labels.
        params: `probe.folds`.
        where: the labelled set, for errors.

    Raises:
        UserError: as rows_by_split, or there are fewer than 3 identities for folds.
    """
    rows = rows_by_split(table, where)
    if len(table) >= params.below:
        return Protocol(table, rows, None)
    return Protocol(table, rows, identity_folds(table["identity"].to_numpy(), params.count, params.repeats, where))


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
    protocol: Protocol,
    params: ProbeParams,
    size: int,
    on_epoch: Callable[[int], None] = lambda epochs: None,
    paper: bool = True,
) -> tuple[list[pd.DataFrame], dict[str, Any], list[Probe]]:
    """Learn from some faces, choose penalty and epoch on others, and predict those that are scored.

    Args:
        encoder: its name in the predictions.
        features: (N, D), its rows being those of `protocol.table`.
        problems: the tasks of the set.
        protocol: which faces are which.
        params: the section `probe`.
        size: side in pixels of the crops that landmark predictions are given in.
        on_epoch: called after an epoch of the paper's probe with 1.
        paper: whether the paper's probe is trained as well.

    Returns:
        Predictions of the regularised probe, and of the paper's if it is wanted; what was chosen on validation, by
        probe and task; and the regularised probes, for new faces, in the order of `problems`.
    """
    penalties, schedule = regularised.penalties_of(params), linear.schedule_of(params)
    if protocol.folds_RN is None:
        train, validation, test = (protocol.rows[split] for split in SPLITS)
        probes = regularised.fit(features, problems, train, validation, penalties)
        trained = linear.fit(features, problems, train, validation, schedule, on_epoch) if paper else []
        tasks = {problem.task: problem for problem in problems}
        ours, papers = (
            [without_unseen(tasks[probe.task], probe.predict(features, test), train) for probe in each]
            for each in (probes, trained)
        )
        epochs = {p.task: {"epochs": p.selected.tolist(), "validation": np.abs(p.validation).tolist()} for p in trained}
        chosen = [probe.selected for probe in probes]
    else:
        found = regularised_out_of_fold(features, problems, protocol.folds_RN, penalties)
        probes, ours, chosen = found.probes, found.predictions, found.chosen
        papers, epochs = [], {}
        if paper:
            papers, of_folds = paper_out_of_fold(features, problems, protocol.folds_RN, schedule, on_epoch)
            epochs = {p.task: {"epochs": each} for p, each in zip(problems, of_folds, strict=True)}
    choices = {
        REGULARISED: {
            problem.task: {
                "penalty": float(probe.selected[0]),
                "validation": float(np.abs(probe.validation[0])),
                **({} if protocol.folds_RN is None else {"penalties_of_folds": each.tolist()}),
                "at_edge": regularised.at_edge(each, penalties.of(problem)),
            }
            for problem, probe, each in zip(problems, probes, chosen, strict=True)
        },
        **({PAPER: epochs} if paper else {}),
    }
    _warn_of_edges(encoder, choices[REGULARISED])
    parts = [
        _table(encoder, name, problems, protocol, each, size)
        for name, each in ((REGULARISED, ours), (PAPER, papers))
        if each
    ]
    return parts, choices, probes


def _warn_of_edges(encoder: str, choices: Mapping[str, Mapping[str, Any]]) -> None:
    for task, chosen in choices.items():
        if chosen["at_edge"]:
            key = "ridge_alphas" if TASKS[task].loss == REGRESSION else "logistic_cs"
            log.warning(
                f"{encoder}, {task}: the chosen penalty {chosen['penalty']:g} lies at an end of probe.{key}; a better "
                "one may lie beyond, so widen the list unless the encoder is no better than `constant`"
            )


def probe_embeddings(
    directory: Path,
    problems: Sequence[Problem],
    protocol: Protocol,
    params: ProbeParams,
    size: int,
    report: BootstrapParams | None = None,
    paper: bool = True,
) -> ProbeResult:
    """`probe_encoder` of the embeddings in `directory`, which bears the encoder's name; for a process of its own.

    Args:
        directory: embeddings/SET/KIND/NAME.
        problems, protocol, params, size: as for `probe_encoder`.
        report: resamples of the intervals of a curve with few labels, which is left out without.
        paper: as for `probe_encoder`.

    Raises:
        UserError: the embeddings are damaged, or lack a face of the table.
    """
    ids, array, meta = read_embeddings(directory)
    at = rows_of(protocol.table["face_id"].tolist(), ids, directory)
    features = array if (at == range(len(array))).all() else array[at]
    fits = 1 if protocol.folds_RN is None else len(protocol.folds_RN) * (int(protocol.folds_RN.max()) + 1)
    # Bars of several processes would overwrite each other on a terminal.
    silent = sys.stderr.isatty() or not paper
    with Progress(f"probe {directory.name}", fits * params.epochs, "epoch", silent=silent) as progress:
        outcome = probe_encoder(directory.name, features, problems, protocol, params, size, progress.advance, paper)
    few = pd.DataFrame()
    if report is not None:
        of_split = outcome[2] if protocol.folds_RN is None else None
        few = curve(directory.name, features, of_split, problems, protocol.table, protocol.rows, params, report)
    return ProbeResult(directory.name, meta, *outcome, few)


def probe_constant(problems: Sequence[Problem], protocol: Protocol, size: int) -> list[pd.DataFrame]:
    """Predictions of the encoder `constant`, the same under the name of either probe.

    Args:
        problems: the tasks.
        protocol: which faces are learnt from and scored.
        size: side of the crops in pixels, for landmarks.
    """
    if protocol.folds_RN is None:
        train, count = protocol.rows["train"], len(protocol.scored)
        found = [without_unseen(p, constant_prediction(p, train, count)[None], train) for p in problems]
    else:
        found = [constant_out_of_fold(problem, protocol.folds_RN) for problem in problems]
    return [_table("constant", name, problems, protocol, found, size) for name in (REGULARISED, PAPER)]


def _table(
    encoder: str,
    probe: str,
    problems: Sequence[Problem],
    protocol: Protocol,
    predictions: Sequence[np.ndarray],
    size: int,
) -> pd.DataFrame:
    """Rows of tables.Predictions from predictions (S, n, K) of the scored faces, by problem."""
    faces, scored = protocol.table.iloc[protocol.scored], protocol.scored
    parts = [
        frame(encoder, probe, problem.task, faces, each, problem.reference(scored), size)
        for problem, each in zip(problems, predictions, strict=True)
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
    protocol = protocol_of(table, params.folds, f"sets.{labelled.name}")
    rows = protocol.rows
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    choices: dict[str, object] = {
        "protocol": protocol.described(),
        "absent": protocol.absent(problems),
        "low_label": unseen_in_draws(problems, rows["train"], params),
    }
    curves = [constant_curve(problems, table, rows, params, report)]
    probe = partial(probe_embeddings, problems=problems, protocol=protocol, params=params, size=size, report=report)
    # Those with the most to do first, so that no process is left with one of them at the end.
    dimensions = {path: read_json(path / "meta.json")["dimension"] for path in encoders.values()}
    widest = sorted(dimensions, key=lambda path: -dimensions[path])
    results = track(ordered_map(probe, widest, workers=0), f"probe@{labelled.name}", len(widest), "encoder")
    with open_writer(out / "predictions.parquet") as writer:
        for part in probe_constant(problems, protocol, size):
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
