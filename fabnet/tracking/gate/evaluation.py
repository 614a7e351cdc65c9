"""What a model predicted on labelled sets, and whether two models were asked the same questions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fabnet.errors import UserError
from fabnet.probing.intervals import arrays
from fabnet.probing.predictions import read_predictions
from fabnet.tracking.gate.rules import Gates

#: Labels that differ by less are the same: crops are float32 pixels, normalised below.
_TOLERANCE = 1e-3


class CannotCompare(UserError):
    """The two sides were not scored on the same thing, or one of them was not scored. The message says which."""

    exit_code = 3


@dataclass(frozen=True)
class Evaluation:
    """Predictions of one encoder by the torch probe.

    Attributes:
        name: of the model, for people.
        sets: tables.Predictions of a single encoder, by labelled set.
    """

    name: str
    sets: Mapping[str, pd.DataFrame]


def read_evaluation(name: str, files: Mapping[str, Path], encoder: str) -> Evaluation:
    """The predictions of `encoder` in files by labelled set; sets without any are left out."""
    sets = {set_name: read_predictions(path, encoder, "torch") for set_name, path in files.items()}
    return Evaluation(name, {set_name: part for set_name, part in sets.items() if len(part)})


def check_comparable(champion: Evaluation, challenger: Evaluation, gates: Gates) -> None:
    """Make sure that both answered the same faces of the same people, with the same labels.

    Raises:
        CannotCompare: names the set, the task and what differs.
    """
    for set_name in gates.sets:
        for side in (champion, challenger):
            if set_name not in side.sets:
                raise CannotCompare(
                    f"set {set_name}: {side.name} has no predictions on it; probe it on this set, or take the set out "
                    "of gates.yaml"
                )
        for task in gates.tasks(set_name):
            _check_task(champion, challenger, set_name, task)


def _check_task(champion: Evaluation, challenger: Evaluation, set_name: str, task: str) -> None:
    parts = []
    for side in (champion, challenger):
        part = side.sets[set_name]
        part = part[(part["task"] == task)]
        if part.empty:
            raise CannotCompare(f"set {set_name}: {side.name} has no predictions of task {task}")
        parts.append(part[part["seed"] == part["seed"].min()].sort_values("face_id"))
    theirs, ours = parts
    only_theirs, only_ours = (set(a["face_id"]) - set(b["face_id"]) for a, b in ((theirs, ours), (ours, theirs)))
    where = f"set {set_name}, task {task}"
    if only_theirs or only_ours:
        side, faces = (champion, only_theirs) if only_theirs else (challenger, only_ours)
        raise CannotCompare(
            f"{where}: another evaluation set: {champion.name} was scored on {len(theirs)} faces and {challenger.name} "
            f"on {len(ours)}; {len(faces)} are of {side.name} alone (first: {min(faces)})"
        )
    if (theirs["identity"].to_numpy() != ours["identity"].to_numpy()).any():
        raise CannotCompare(f"{where}: another evaluation set: the same faces belong to other identities")
    differ = _differ(task, theirs, ours)
    if differ.any():
        raise CannotCompare(
            f"{where}: another evaluation set: the labels of {differ.sum()} of {len(ours)} faces differ (first: "
            f"{ours['face_id'].to_numpy()[differ][0]})"
        )


def _differ(task: str, theirs: pd.DataFrame, ours: pd.DataFrame) -> np.ndarray:
    """Which faces (n,) have other labels."""
    (_, _, a), (_, _, b) = arrays(theirs, task), arrays(ours, task)
    if a.shape != b.shape:
        return np.ones(len(a), dtype=bool)
    if task.startswith("landmarks"):
        a, b = _shape(a), _shape(b)
    return np.abs(a - b).max(axis=1) > _TOLERANCE


def _shape(points: np.ndarray) -> np.ndarray:
    """Points (n, 2 P) without place and size: they are in pixels of crops, which two recipes cut differently."""
    centred = points.astype(np.float64).reshape(len(points), -1, 2)
    centred = centred - centred.mean(axis=1, keepdims=True)
    return (centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True)).reshape(len(points), -1)
