"""What was found on a labelled set, read from what the stages left behind. Paths start at the root of the project."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from fabnet import tables
from fabnet.config import EncoderParams, ReportParams, SetParams
from fabnet.errors import ConfigError
from fabnet.figures.pictures import Gap, Picture, attempt, read_pictures
from fabnet.files import read_json
from fabnet.probing.intervals import (
    BootstrapSamples,
    Difference,
    absent,
    draw_samples,
    paired,
    score,
    score_columns,
    scores_of,
)
from fabnet.probing.metrics import AUC_TASKS
from fabnet.probing.predictions import PAPER, REGULARISED, files_of, read_each
from fabnet.report.blocks import Score, Scores

T = TypeVar("T")

_FEATURES = ("random", "hog", "pca", "vgg_face")
_SUPERVISED = "vgg11"
#: What encoders learn from that are neither trained here nor declared.
_SAW = {
    "constant": "labels of the set",
    "random": "nothing",
    "hog": "nothing",
    "pca": "faces of the set",
    "vgg_face": "faces with labels",
    _SUPERVISED: "labels of the set",
}


@dataclass(frozen=True)
class SetResults:
    """What was found on one labelled set.

    Attributes:
        name: its key in params.yaml.
        kind: whose layout it has; one that the paper measured feeds a column of its tables.
        scores: by encoder, of the regularised probe (and of what was trained on the labels themselves).
        columns: {task: {encoder: {unit or class: score, None where its AUC is undefined}}}.
        papers: by encoder, of the paper's probe.
        protocol: which faces are scored: what `Protocol.described` of probing.evaluate gives.
        edges: {encoder: [tasks]} whose penalty lies at an end of the list that it was chosen from.
        other_faces: {encoder: faces} of those that were scored on other faces than the probes.
        origins: by encoder, the runs that it came from, in Markdown.
        saw: by encoder, what it learnt from; empty where all are ours.
        others: the encoders that are in the section `encoders`.
        paired: what `probing.intervals.paired` gives.
        slices: what `probing.slices` gives; None where it was not measured.
        low_label: a table of the contract LowLabel; None where it was not measured.
        left_out: {reason: faces} that the set has and its table has not.
        absent: {split: [units and classes]} that no face of it shows.
        unscored: {task: [units and classes]} without an area: constant among the faces that are scored, or learnt from.
        pictures: what was drawn, and gaps for what could not be drawn or read.
    """

    name: str
    kind: str
    scores: Mapping[str, Scores]
    columns: Mapping[str, Mapping[str, Mapping[str, Score | None]]] = field(default_factory=dict)
    papers: Mapping[str, Scores] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    edges: Mapping[str, Sequence[str]] = field(default_factory=dict)
    other_faces: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    saw: Mapping[str, str] = field(default_factory=dict)
    others: Collection[str] = ()
    reference: str = ""
    paired: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    slices: Mapping[str, Any] | None = None
    low_label: pd.DataFrame | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unscored: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Sequence[Picture | Gap] = ()

    @property
    def scored_faces(self) -> int:
        return max((int(score["n"]) for row in self.scores.values() for score in row.values()), default=0)


def gather_set(
    name: str,
    set_params: SetParams,
    params: ReportParams,
    reference: str,
    runs: Mapping[str, str],
    others: Mapping[str, EncoderParams],
) -> SetResults:
    """Score all predictions on a set, and read what else there is about it.

    Args:
        name: of the set.
        set_params: `sets.NAME`.
        params: the section `report`.
        reference: encoder that the others are compared with.
        runs: of each trained variant, in Markdown, as `training_run` gives them.
        others: the section `encoders`.

    Raises:
        TableError: the predictions are absent or illegal: without scores there is nothing to say.
    """
    drawn_of: dict[str, BootstrapSamples] = {}
    columns: dict[str, dict[str, Any]] = {}
    unscored: dict[str, list[str]] = {}
    for encoder, rows in read_each(files_of(name)):
        unscored |= absent(rows)
        drawn_of[encoder] = draw_samples(rows, params.bootstrap, params.seed)
        for task in sorted(set(AUC_TASKS) & set(rows["task"])):
            areas = score_columns(rows, task, params.bootstrap, params.seed)
            columns.setdefault(task, {})[encoder] = areas
    order = [*runs, *others, _SUPERVISED]  # and then features of pixels
    encoders = {each: drawn_of[each] for each in sorted(drawn_of, key=lambda each: _place(each, order))}
    columns = {
        task: {encoder: rows[encoder] for encoder in encoders if encoder in rows} for task, rows in columns.items()
    }
    papers = {
        encoder: score(rows, params.bootstrap, params.seed) for encoder, rows in read_each(files_of(name), (PAPER,))
    }
    folder = Path("reports/sets") / name
    gaps: list[Gap] = []

    def read(what: str, make: Callable[[], T], otherwise: T) -> T:
        """What `make` gives; if it fails, `otherwise`, and a gap."""
        value = attempt(f"{name}: {what}", make)
        if isinstance(value, Gap):
            gaps.append(value)
            return otherwise
        return value

    unknown: dict[str, Any] = {}
    counts = read("faces left out", lambda: read_json(Path("reports/data/sets") / f"{name}.json")["counts"], unknown)
    choices = read("protocol and penalties", lambda: read_json(Path("probes") / name / "choices.json"), unknown)
    no_pictures: list[Picture | Gap] = []
    nothing: dict[str, dict[str, Difference]] = {}
    pictures = read("pictures", lambda: read_pictures(folder), no_pictures)
    # Of a small set, probes are scored on all faces, and networks that learnt from its labels on its test split.
    shared = _of_probed_faces(encoders)
    compared = read(
        "comparison on the same faces",
        lambda: paired(shared, reference) if reference in shared else nothing,
        nothing,
    )
    few = read("few labels", lambda: _low_label(Path("probes") / name / "low_label.parquet"), None)
    slices = read("scores by yaw, size and brightness", lambda: _slices(folder / "slices.json"), None)
    return SetResults(
        name=name,
        kind=kind_of(set_params),
        scores={encoder: scores_of(each.metrics) for encoder, each in encoders.items()},
        columns=columns,
        papers={encoder: papers[encoder] for encoder in encoders if encoder in papers},
        protocol=choices.get("protocol", {}),
        edges=_edges(choices),
        other_faces={
            encoder: max(count for *_, count in each.metrics.values())
            for encoder, each in encoders.items()
            if encoder not in shared
        },
        origins={encoder: origin(encoder, name, runs, others) for encoder in encoders},
        saw=_saw(list(encoders), runs, others),
        others=list(others),
        reference=reference,
        paired=compared,
        slices=slices,
        low_label=few,
        left_out=counts.get("left_out", {}),
        absent=counts.get("absent", {}),
        unscored=unscored,
        pictures=[*pictures, *gaps],
    )


def _place(encoder: str, order: list[str]) -> int:
    return order.index(encoder) if encoder in order else len(order)


def _of_probed_faces(encoders: Mapping[str, BootstrapSamples]) -> dict[str, BootstrapSamples]:
    """The encoders without a network that was trained on the labels, if its faces are not those of the probes."""
    probed = next((each for encoder, each in encoders.items() if encoder != _SUPERVISED), None)
    count = max((n for *_, n in probed.metrics.values()), default=0) if probed else 0
    return {
        encoder: each
        for encoder, each in encoders.items()
        if encoder != _SUPERVISED or not count or all(n == count for *_, n in each.metrics.values())
    }


def _saw(encoders: Sequence[str], runs: Mapping[str, str], others: Mapping[str, EncoderParams]) -> dict[str, str]:
    """What each encoder learnt from, if one of them was made by others; else nothing."""
    known = {**_SAW, **dict.fromkeys(runs, "faces"), **{name: each.shown_saw for name, each in others.items()}}
    foreign = [each for each in encoders if each in others or each == "vgg_face" or each not in known]
    return {each: known.get(each, "unknown") for each in encoders} if foreign else {}


def _edges(choices: Mapping[str, Any]) -> dict[str, list[str]]:
    chosen = {encoder: each[REGULARISED] for encoder, each in choices.items() if REGULARISED in each}
    found = {name: [task for task, told in tasks.items() if told["at_edge"]] for name, tasks in chosen.items()}
    return {name: tasks for name, tasks in found.items() if tasks}


def _low_label(path: Path) -> pd.DataFrame | None:
    return tables.read(path, tables.LowLabel) if path.is_file() else None


def _slices(path: Path) -> Mapping[str, Any] | None:
    """None where they failed: the list of pictures says why."""
    found: Mapping[str, Any] | None = read_json(path) if path.is_file() else None
    return found


def kind_of(params: SetParams) -> str:
    """Whose test set it is: the kind, or `other` where only a part of the published one is scored."""
    return "other" if params.kind == "w300" and params.subset != "full" else params.kind


def training_run(name: str, finetuned: bool, card: Mapping[str, Any]) -> str:
    """The stage that trained a variant, and the beginning of its weights' hash, in Markdown.

    Args:
        name: of the variant.
        finetuned: whether it started from another variant's weights.
        card: its model.json.
    """
    return f"`{'finetune' if finetuned else 'train'}@{name}` `{card['weights_sha256'][:12]}`"


def origin(encoder: str, set_name: str, runs: Mapping[str, str], others: Mapping[str, EncoderParams]) -> str:
    """The runs that an encoder's numbers on a set came from, in Markdown.

    Args:
        encoder: its name.
        set_name: of the labelled set.
        runs: `training_run` of every variant.
        others: the section `encoders`.
    """
    if encoder == _SUPERVISED:
        return f"`supervise@{set_name}`"
    probed = f"`probe@{set_name}`"
    if encoder in runs:
        return f"{runs[encoder]} → {probed}"
    if encoder in others:
        return f"`{others[encoder].source}`, which saw: {others[encoder].shown_saw} → `embed@{set_name}` → {probed}"
    return f"`baseline@{set_name}` → {probed}" if encoder in _FEATURES else probed


def require_reference(reference: str, encoders: set[str]) -> None:
    """Raises ConfigError, naming the key, if no set was scored with the encoder that others are compared with.

    Args:
        reference: encoder that the others are compared with.
        encoders: all that were scored.
    """
    if encoders and reference not in encoders:
        raise ConfigError(
            f"params.yaml: report.reference: there is no encoder {reference}; there are {', '.join(sorted(encoders))}"
        )
