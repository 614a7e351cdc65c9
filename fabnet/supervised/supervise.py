"""The supervised network of a labelled set: its predictions and how it came by them, on disk."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet.attributes.sets import LabelledSet, targets
from fabnet.config import SuperviseParams
from fabnet.errors import ConfigError
from fabnet.files import hash_json, locked, write_json
from fabnet.probing.evaluate import rows_by_split
from fabnet.probing.predictions import SUPERVISED, frame, open_writer
from fabnet.probing.problem import Problem
from fabnet.progress import Progress
from fabnet.supervised.fit import Crops, FitResult, fit
from fabnet.supervised.vgg11 import SMALLEST

#: Its name among the encoders.
ENCODER = "vgg11"

#: Crops hashed as a fingerprint of the data, by which a run may resume.
_SAMPLED = 16


def supervise(name: str, labelled: LabelledSet, params: SuperviseParams, size: int, out: Path, work: Path) -> None:
    """Train a network for each seed; predictions.parquet, if there are any, and model.json go to `out`.

    Resumable state is kept in `work`, under a name that says what it depends on; it is removed once `out` is written.

    Args:
        name: of the set.
        labelled: the set.
        params: the section `supervise`.
        size: side in pixels of the crops that landmark predictions are given in, and of those that the network sees
            where `params` name no other.
        out: supervised/SET.
        work: folder of the resumable state.

    Raises:
        UserError: too few faces, crops too small or a loss that is not finite; another process trains this set.
    """
    if params.seeds == 0:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "model.json", {"encoder": ENCODER, "set": name, "params": params.model_dump(), "history": []})
        return
    seen = params.image_size or size
    if seen < SMALLEST:
        raise ConfigError(
            f"supervise.image_size: VGG-11 needs crops of {SMALLEST} px, and extract.image_size is {seen}; set it"
        )
    table = labelled.table()
    rows = rows_by_split(table, f"sets.{name}")
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    crops = Crops(labelled, seen, params.cache_mb)
    state = work / _identity(params, table, problems, rows, crops)
    with locked(work.with_suffix(".lock"), f"{work}: another process trains on {name}; wait for it or stop it"):
        fitted = []
        with Progress(f"supervise@{name}", params.seeds * params.epochs, "epoch") as progress:
            for seed in range(params.seeds):
                path = state / f"seed{seed}.pt"
                fitted.append(fit(crops, problems, rows, params, seed, path, lambda note: progress.advance(1, note)))
        out.mkdir(parents=True, exist_ok=True)
        with open_writer(out / "predictions.parquet") as writer:
            writer.add(_predictions(problems, table, rows["test"], fitted, size))
        write_json(out / "model.json", _card(name, params, seen, rows, problems, fitted))
        shutil.rmtree(work, ignore_errors=True)


def _identity(
    params: SuperviseParams, table: pd.DataFrame, problems: list[Problem], rows: dict[str, np.ndarray], crops: Crops
) -> str:
    """A name for what the weights depend on: params, faces, labels that are trained on, and some crops."""
    digest = hashlib.sha256("\n".join(table["face_id"]).encode())
    known = np.concatenate([rows["train"], rows["validation"]])
    for problem in problems:
        digest.update(np.ascontiguousarray(problem.labels[known]).tobytes())
    digest.update(crops.read(known[:: max(1, len(known) // _SAMPLED)]).tobytes())
    return hash_json({"params": params.model_dump(), "size": crops.size, "faces": digest.hexdigest()})


def _predictions(
    problems: list[Problem], table: pd.DataFrame, test: np.ndarray, fitted: list[FitResult], size: int
) -> pd.DataFrame:
    faces = table.iloc[test]
    parts = []
    for problem in problems:
        by_seed = np.stack([each.predictions[problem.task] for each in fitted])
        parts.append(frame(ENCODER, SUPERVISED, problem.task, faces, by_seed, problem.reference(test), size))
    return pd.concat(parts, ignore_index=True)


def _card(
    name: str,
    params: SuperviseParams,
    size: int,
    rows: dict[str, np.ndarray],
    problems: list[Problem],
    fitted: list[FitResult],
) -> dict[str, Any]:
    """Content of model.json; epochs and validation scores by task, a value for each seed."""
    return {
        "encoder": ENCODER,
        "set": name,
        "image_size": size,
        "params": params.model_dump(),
        "faces": {split: len(numbers) for split, numbers in rows.items()},
        "chosen": {
            problem.task: {
                "epochs": [each.epochs[problem.task] for each in fitted],
                "validation": [abs(each.validation[problem.task]) for each in fitted],
            }
            for problem in problems
        },
        "history": [each.history for each in fitted],
    }
