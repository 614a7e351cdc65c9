"""Embeddings made anywhere, and a table of labels, become scores under the protocol of the pipeline."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import ValidationError

from fabnet.attributes.label_files import place
from fabnet.attributes.own_table import LabelsAlone
from fabnet.attributes.sets import LabelledSet
from fabnet.attributes.tasks import TASKS, targets, tasks_of
from fabnet.config import BootstrapParams, EncoderParams, ProbeParams, SetParams
from fabnet.config.section import Section, first_error
from fabnet.encoders.open import open_encoder
from fabnet.errors import ConfigError, UserError
from fabnet.files import atomic_directory, hash_file, write_json
from fabnet.model import load
from fabnet.probing.embed_encoder import embed_encoder, origin_of
from fabnet.probing.embeddings import read_embeddings, require_comparable, require_weights
from fabnet.probing.evaluate import ProbeResult, Protocol, probe_constant, probe_embeddings, protocol_of
from fabnet.probing.intervals import BootstrapSamples, draw_samples, interval, paired, score_columns
from fabnet.probing.metrics import absent_columns
from fabnet.probing.outside import Outside, open_outside, write_outside
from fabnet.probing.predictions import PAPER, REGULARISED, open_writer
from fabnet.probing.problem import Problem
from fabnet.probing.readings import write_heads
from fabnet.quality.set_audit import audit_set
from fabnet.tables import EXPRESSIONS

#: Default values of the section `probe`, for use outside of a project.
PROBE: dict[str, Any] = {
    "ridge_alphas": [0.01, 0.1, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 1000000],
    "logistic_cs": [0.00001, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 10],
    "folds": {"below": 2000, "count": 5, "repeats": 3},
    "seeds": 5,
    "epochs": 200,
    "validation_every": 5,
    "shares": [],
    "batch_size": 256,
    "learning_rate": 0.01,
}

#: Side in pixels of the crops that predicted landmarks are given in. It changes no score.
SIZE = 256
CONSTANT = "constant"
#: Faces that are embedded in a batch.
_BATCH = 64
#: It becomes the name of a file.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: Tasks scored by unit or class as well.
_BY_COLUMN = ("units", "expression")


Params = TypeVar("Params", bound=Section)


@dataclass(frozen=True)
class ProbeScores:
    """What `probe` found.

    Attributes:
        scores: {"regularised" or "paper": {encoder: {metric: {"value", "low", "high", "n"}}}}, `constant` first.
        paired: {encoder: {metric: difference}} to the first one, if there are several (probing.paired).
        faces: those that were predicted.
        scored: in words, which those are.
        unscored: {metric: why it has no value}.
        notes: what was left out or decided, in words.
        record: the content of scores.json.
    """

    scores: dict[str, dict[str, Any]]
    paired: dict[str, dict[str, Any]]
    faces: int
    scored: str
    unscored: dict[str, str]
    notes: list[str]
    record: dict[str, Any]


def open_all(
    sources: Sequence[tuple[str | None, Path]], scratch: Path, ids: Path | None = None, force: bool = False
) -> dict[str, Outside]:
    """Embeddings by the name of their encoder: the one given, what meta.json says, or that of the file.

    Args:
        sources: names, where they are given, and paths as open_outside takes them.
        scratch: folder for arrays that lie in tables, which is needed as long as they are.
        ids: names the rows of the .npy files among them.
        force: compare embeddings of different crop recipes or sets, too.

    Raises:
        UserError: embeddings cannot be read, two have the same name, or they are not to be compared.
    """
    found: dict[str, Outside] = {}
    for number, (name, path) in enumerate(sources):
        folder = scratch / str(number)
        folder.mkdir()
        outside = open_outside(path, folder, ids if path.suffix.lower() == ".npy" else None)
        encoder = name or Path(str(outside.origin.get("encoder") or path.resolve().stem)).name
        _require_name(encoder, found, str(outside.path), f"--embeddings NAME={path}")
        found[encoder] = outside
    if not force:
        try:
            require_comparable({f"{each.path} ({name})": each.origin for name, each in found.items()})
        except UserError as error:
            raise UserError(f"{error}; --force compares them all the same") from None
    return found


def _require_name(encoder: str, taken: Mapping[str, Outside], where: str, remedy: str) -> None:
    """Raises UserError if an encoder cannot have a name, or another has it."""
    if not _NAME.fullmatch(encoder):
        raise UserError(f"{where}: {encoder!r} cannot name an encoder; say {remedy}")
    if encoder in taken or encoder == CONSTANT:
        other = taken[encoder].path if encoder in taken else "the constant baseline"
        raise UserError(f"{where}: is called {encoder}, as is {other}; say {remedy}")


def embed_all(
    encoders: Sequence[tuple[str | None, EncoderParams]],
    labelled: LabelledSet,
    labels: LabelsAlone,
    beside: Mapping[str, Outside],
    kept: Path,
) -> dict[str, Outside]:
    """Embeddings of labelled images by encoders, one after the other; those that are there already are not made again.

    Args:
        encoders: names, where they are given, and what they are.
        labelled: the faces.
        labels: of the same faces, row by row, under the names by which `beside` knows them.
        beside: embeddings that were given, whose names are taken.
        kept: folder where embeddings are kept.

    Returns:
        `beside`, and the new ones by the name of their encoder.

    Raises:
        UserError: an encoder cannot be opened, or fails; embeddings of those before it are kept.
    """
    found = dict(beside)
    for name, params in encoders:
        try:
            encoder = open_encoder(params, name)
            _require_name(encoder.name, found, encoder.source, f"--encoder NAME={encoder.source}")
            folder = embed_encoder(labelled, encoder, _BATCH, kept)
        except UserError as error:
            done = [name for name in found if name not in beside]
            told = f"; the embeddings of {', '.join(done)} are kept in {kept}" if done else ""
            raise type(error)(f"{error}{told}") from error
        _, array, _ = read_embeddings(folder)
        origin = {"encoder": encoder.name, **origin_of(encoder)}
        found[encoder.name] = Outside(folder, labels.faces["face_id"].tolist(), array, origin)
    return found


def probe(
    embeddings: Mapping[str, Outside],
    labels: LabelsAlone,
    params: ProbeParams,
    report: BootstrapParams,
    out: Path | None = None,
    strict: bool = False,
    paper: bool = True,
) -> ProbeScores:
    """Train linear probes on each of the embeddings and score them on the same test faces.

    Args:
        embeddings: by encoder; the first is the one that others are compared with.
        labels: of the faces.
        params: of the probes.
        report: of the intervals.
        out: a folder for predictions.parquet, scores.json and, of embeddings that have weights, the probes
            heads/NAME.npz; it is written atomically.
        strict: every labelled face must have an embedding, instead of being left out where it has none.
        paper: whether the paper's probe is trained beside the regularised one.

    Raises:
        UserError: nothing can be trained or scored; `out` holds files already.
    """
    if out is not None and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise UserError(f"{out}: exists already; name another folder for the results, or remove it")
    table, notes = _with_embeddings(labels, embeddings, strict)
    protocol = protocol_of(table, params.folds, labels.path)
    rows = protocol.rows
    counts = audit_set(Path(labels.path).stem, table, None)
    _require_classes(table, rows, labels.path)
    for split, missing in counts.get("absent", {}).items():
        notes.append(f"no face of {split} shows {', '.join(missing)}")
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in tasks_of(table)]
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(TemporaryDirectory()))
        folder = stack.enter_context(atomic_directory(out)) if out is not None else temporary / "out"
        empty: dict[str, dict[str, Any]] = {kind: {} for kind in (REGULARISED, PAPER)[: 1 + paper]}
        unscored = _unscored(table, protocol)
        found = ProbeScores(empty, {}, len(protocol.scored), _scored(protocol), unscored, notes, {})
        compared: dict[str, BootstrapSamples] = {}
        by_column: dict[str, dict[str, Any]] = {}
        choices = {}
        with open_writer(folder / "predictions.parquet") as writer:

            def keep(encoder: str, parts: Iterable[pd.DataFrame]) -> None:
                for part in parts:
                    kind = part["probe"].iloc[0]
                    if kind not in found.scores:  # `constant` comes under both names
                        continue
                    writer.add(part)
                    resampled = draw_samples(part, report.bootstrap, report.seed)
                    found.scores[kind][encoder] = {
                        name: dict(zip(("value", "low", "high", "n"), (value, *interval(values), n), strict=True))
                        for name, (value, values, n) in resampled.metrics.items()
                    }
                    if kind == REGULARISED and encoder != CONSTANT:
                        compared[encoder] = resampled
                    for task in [task for task in _BY_COLUMN if kind == REGULARISED and (part["task"] == task).any()]:
                        area = score_columns(part, task, report.bootstrap, report.seed)
                        by_column.setdefault(task, {})[encoder] = area

            keep(CONSTANT, probe_constant(problems, protocol, SIZE))
            for encoder, outside in embeddings.items():
                # A copy in the order of the labels, so that the array is mapped and never held as a whole.
                directory = temporary / encoder
                write_outside(outside, directory, table["face_id"].tolist(), outside.origin)
                probed = probe_embeddings(directory, problems, protocol, params, SIZE, paper=paper)
                keep(encoder, probed.predictions)
                choices[encoder] = probed.choices
                _write_heads(folder / "heads" / f"{encoder}.npz", probed, problems, labels.path)
        found.paired.update(paired(compared, next(iter(compared))))
        found.record.update(
            {
                "labels": {"path": labels.path, **counts},
                "embeddings": {name: {"path": str(each.path), **each.origin} for name, each in embeddings.items()},
                "notes": notes,
                "unscored": found.unscored,
                "params": {"probe": params.model_dump(mode="json"), "report": report.model_dump(mode="json")},
                "crop_pixels": SIZE,
                "protocol": protocol.described(),
                "choices": choices,
                "scores": found.scores,
                "areas": by_column,
                "paired": found.paired,
            }
        )
        write_json(folder / "scores.json", found.record)
    return found


def _with_embeddings(
    labels: LabelsAlone, embeddings: Mapping[str, Outside], strict: bool
) -> tuple[pd.DataFrame, list[str]]:
    """The labelled faces that all embeddings have, and in words what has no counterpart."""
    faces, notes = labels.faces, list(labels.chosen)
    if line := labels.left_out.line():
        notes.append(line)
    everywhere = np.ones(len(faces), dtype=bool)
    for outside in embeddings.values():
        has = pd.Index(faces["face_id"]).isin(outside.ids)
        if not has.any():
            raise UserError(
                f"{outside.path}: no labelled face has an embedding; {labels.path} names {faces['face_id'].iloc[0]}, "
                f"the embeddings {outside.ids[0]}"
            )
        if not has.all():
            row = faces.index[~has][0]
            problem = f"{(~has).sum()} of {len(has)} labelled faces have no embedding in {outside.path}"
            first = f"(first: {place(labels.path, faces.index, row)}: {faces['face_id'].loc[row]})"
            if strict:
                raise UserError(f"{problem} {first}")
            notes.append(f"{problem}; left out {first}")
        unlabelled = ~pd.Index(outside.ids).isin(faces["face_id"])
        if unlabelled.any():
            first = outside.ids[int(np.flatnonzero(unlabelled)[0])]
            notes.append(f"{unlabelled.sum()} embeddings of {outside.path} have no label; not used (first: {first})")
        everywhere &= has
    if not everywhere.any():
        raise UserError(f"{labels.path}: no labelled face is in all {len(embeddings)} embeddings")
    return faces.loc[everywhere].reset_index(drop=True), notes


def _require_classes(table: pd.DataFrame, rows: Mapping[str, np.ndarray], where: str) -> None:
    """Raises UserError if all training faces are of one class: there would be nothing to learn."""
    if "expression" not in table:
        return
    shown = table["expression"].iloc[rows["train"]].unique()
    if len(shown) == 1:
        raise UserError(
            f"{where}: all {len(rows['train'])} faces of train show {shown[0]}; a probe needs two classes to tell apart"
        )


def _scored(protocol: Protocol) -> str:
    """In words, which faces are scored."""
    told = protocol.described()
    if protocol.folds_RN is None:
        return f"{told['faces']} test faces"
    return f"{told['faces']} faces in {told['folds']} folds of identities, {told['repeats']} times"


def _unscored(table: pd.DataFrame, protocol: Protocol) -> dict[str, str]:
    """Why a ROC AUC is undefined: {metric: reason}."""
    found = {}
    split = protocol.folds_RN is None
    test, train = table.iloc[protocol.scored], table.iloc[protocol.rows["train"] if split else protocol.scored]
    for name in _BY_COLUMN:
        if not set(TASKS[name].columns) <= set(table):
            continue
        shown, learnt = (_one_hot(part, name) for part in (test, train))
        if not (absent_columns(shown) | absent_columns(learnt)).all():
            continue
        if not absent_columns(shown).all():
            reason = "none that the test faces tell apart was learnt"
        elif name == "expression":
            reason = f"all {len(test)} scored faces are of one class, {test['expression'].iloc[0]}"
        else:
            reason = f"all {len(test)} scored faces agree on every action unit"
        found[TASKS[name].metrics[-1]] = reason
    return found


def _one_hot(faces: pd.DataFrame, task: str) -> np.ndarray:
    labels = targets(faces, TASKS[task])
    return np.eye(len(EXPRESSIONS))[labels] if task == "expression" else labels


def _write_heads(path: Path, probed: ProbeResult, problems: Sequence[Problem], labels: str) -> None:
    if not probed.meta.get("weights_sha256"):  # nothing else could make such embeddings of a new face
        return
    origin = {key: probed.meta.get(key) for key in ("weights_sha256", "recipe_hash")}
    write_heads(path, probed.probes, problems, {"encoder": probed.encoder, "set": Path(labels).stem, **origin})


def probe_params(**options: Any) -> ProbeParams:
    """The section `probe` with some options; raises ConfigError where one is out of its bounds."""
    return _valid(ProbeParams, {**PROBE, **options})


def bootstrap_params(bootstrap: int, seed: int) -> BootstrapParams:
    """How intervals are made.

    Args:
        bootstrap: resamples.
        seed: of the resamples.

    Raises:
        ConfigError: one of them is out of its bounds.
    """
    return _valid(BootstrapParams, {"bootstrap": bootstrap, "seed": seed})


def labels_params(labels: Path, columns: Mapping[str, str], radians: bool, negate: list[str], seed: int) -> SetParams:
    """A table of labels as a set of kind `table`, without its images.

    Args:
        labels: the file.
        columns: what its columns are called, by our names.
        radians: whether its angles are in radians.
        negate: angles whose signs are the other way round.
        seed: of splits that the table does not give.
    """
    options = {"columns": dict(columns), "radians": radians, "negate": negate, "seed": seed}
    return _valid(SetParams, {"kind": "table", "path": labels.parent, "labels": labels.name, **options})


def require_made_by(embeddings: Mapping[str, Outside], model: Path | None, weights: Path | None) -> None:
    """Refuse embeddings that a model, or a file of weights, did not make. Neither: nothing is refused.

    Args:
        embeddings: by encoder.
        model: directory of a trained model.
        weights: file of weights.

    Raises:
        UserError: other weights or another crop recipe; or the model is not whole.
    """
    if model is not None:
        made = load(model, device="cpu")
        for each in embeddings.values():
            made.accept(each.origin, each.path)
    if weights is not None:
        if not weights.is_file():
            raise UserError(f"{weights}: no such file")
        sha256 = hash_file(weights)
        for each in embeddings.values():
            require_weights(each.origin, sha256, None, each.path, weights)


def _valid(section: type[Params], values: dict[str, Any]) -> Params:
    try:
        return section.model_validate(values)
    except ValidationError as error:
        key, problem = first_error(error, section)
        raise ConfigError(f"--{key.replace('_', '-')}: {problem}" if key else problem) from None
