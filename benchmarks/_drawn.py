"""The bundled synthetic data drawn in memory, with numpy alone, and the scores of an encoder on its labelled faces.

People, motion and labels are those of the pipeline; frames are resized from what is drawn, without the video between.
Scores are a ridge regression in closed form, whose penalty validation people choose, on test people.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]

#: What modules of `fabnet.synthetic` import for writing files and tables, which is not done here.
_NOT_NEEDED = ("pandas", "pandera", "simplejpeg", "av", "cv2", "pydantic")
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)


class _StandIn(ModuleType):
    """A package that is not installed; nothing in it may be used, only named."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _constants(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Literal values that a module assigns to `names`, without importing it."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


@contextmanager
def _imports() -> Iterator[None]:
    """Let `fabnet.synthetic` be imported where the packages of the pipeline are not installed.

    Its modules draw with numpy alone, but name packages that write files, and constants of `fabnet.tables`.
    """
    if all(find_spec(name) for name in _NOT_NEEDED):
        yield
        return
    labels = _constants(ROOT / "fabnet" / "tables" / "labels.py", ("UNITS", "EXPRESSIONS"))
    tables, config, conversion = (_StandIn(f"fabnet.{name}") for name in ("tables", "config", "frames.conversion"))
    tables.__dict__.update(labels)
    standing = {module.__name__: module for module in (tables, config, conversion)}
    standing |= {name: _StandIn(name) for name in _NOT_NEEDED if not find_spec(name)}
    added = {name: module for name, module in standing.items() if name not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _synthetic() -> tuple[Any, ...]:
    with _imports():
        names = ("faces", "videos", "landmarks", "render")
        return tuple(importlib.import_module(f"fabnet.synthetic.{name}") for name in names)


@dataclass(frozen=True)
class _Person:
    """Someone of the videos, or of the labelled faces: `frames` of them."""

    labelled: bool
    number: int
    frames: int
    seconds: float
    seed: int
    drawn: int


def _draw(person: _Person) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float64]]]:
    """Frames (n, drawn, drawn, 3), and what is known of each where they are labelled."""
    faces, videos, landmarks, render = _synthetic()
    if person.labelled:
        identity, portraits = faces.portraits_of(person.seed, person.number, person.frames)
        states = [portrait.state for portrait in portraits]
    else:
        identity, interview = videos.interview_of(person.seed, person.number, person.seconds)
        states = [interview(frame * person.seconds / person.frames) for frame in range(person.frames)]
    pictures = np.stack([render.render(identity, state, person.drawn) for state in states])
    if not person.labelled:
        return pictures, {}
    return pictures, {
        "pose": np.array([(state.roll, state.pitch, state.yaw) for state in states]),
        "points": np.stack([landmarks.landmarks68(identity, state, person.drawn) for state in states]) / person.drawn,
        "units": np.array([state.units for state in states]),
    }


@dataclass(frozen=True)
class Drawn:
    """What was drawn.

    Attributes:
        frames: of the videos, uint8 (people, n, size, size, 3).
        faces: labelled ones, uint8 (N, size, size, 3).
        labels: pose in degrees (N, 3: roll, pitch, yaw), points as fractions of the side (N, 68, 2), and units (N, 11)
            from 0 to 1.
        split: of each labelled face, (N,): train, validation or test.
    """

    frames: NDArray[np.uint8]
    faces: NDArray[np.uint8]
    labels: Mapping[str, NDArray[np.float64]]
    split: NDArray[np.str_]


def draw(params: Mapping[str, Any], size: int, workers: int) -> Drawn:
    """Draw the data that the section `synthesize` of params.yaml describes.

    Args:
        params: that section.
        size: H = W of frames and faces, to which the drawn ones are resized.
        workers: processes.
    """
    from fabnet.processes import ordered_map

    videos, faces, shared = params["videos"], params["faces"], (params["seed"], params["image_size"])
    frames = round(videos["seconds"] * videos["fps"])
    jobs = [_Person(False, number, frames, videos["seconds"], *shared) for number in range(videos["identities"])]
    split = [name for name in ("train", "validation", "test") for _ in range(faces[name])]
    jobs += [_Person(True, number, faces["per_identity"], 0.0, *shared) for number in range(len(split))]
    done = [(_resized(pictures, size), labels) for pictures, labels in ordered_map(_draw, jobs, workers)]
    filmed, labelled = done[: videos["identities"]], done[videos["identities"] :]
    return Drawn(
        np.stack([pictures for pictures, _ in filmed]),
        np.concatenate([pictures for pictures, _ in labelled]),
        {name: np.concatenate([labels[name] for _, labels in labelled]) for name in labelled[0][1]},
        np.repeat(split, faces["per_identity"]),
    )


def _resized(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    import torch
    from torch.nn import functional

    planes = torch.from_numpy(pictures).movedim(-1, 1).float()
    small = functional.interpolate(planes, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    resized: NDArray[np.uint8] = small.round().clamp(0, 255).byte().movedim(1, -1).contiguous().numpy()
    return resized


# -- scores ---------------------------------------------------------------------------------------------------------


def scores(embedding: NDArray[np.floating], drawn: Drawn) -> dict[str, float]:
    """Scores of embeddings of the labelled faces, by the names of metrics.json.

    Args:
        embedding: (N, D).
        drawn: whose faces they are of.
    """
    inputs = embedding.astype(np.float64)
    train = drawn.split == "train"
    mean, spread = inputs[train].mean(axis=0), inputs[train].std(axis=0) + 1e-9
    inputs = (inputs - mean) / spread
    present = (drawn.labels["units"] > 0.2).astype(np.float64)  # UNIT_PRESENT of fabnet.attributes.tasks
    points = drawn.labels["points"].reshape(len(inputs), -1)
    told = {
        name: _ridge(inputs, target, drawn.split)
        for name, target in {"pose": drawn.labels["pose"], "points": points, "units": present}.items()
    }
    test = drawn.split == "test"
    angles = np.abs(told["pose"] - drawn.labels["pose"][test])
    true = points[test].reshape(-1, 68, 2)
    away = np.linalg.norm(told["points"].reshape(true.shape) - true, axis=-1).mean(axis=-1)
    ocular = np.linalg.norm(true[:, 36] - true[:, 45], axis=-1)  # outer corners of the eyes
    return {
        "yaw_mae_deg": float(angles[:, 2].mean()),
        "pose_mae_deg": float(angles.mean()),
        "landmarks68_nme_pct": float(100 * (away / ocular).mean()),
        "units_auc": float(np.mean([auc(told["units"][:, unit], present[test, unit]) for unit in range(11)])),
    }


def _ridge(inputs: NDArray[np.float64], target: NDArray[np.float64], split: NDArray[np.str_]) -> NDArray[np.float64]:
    """Predictions for the test faces by the penalty whose squared error on validation faces is the smallest."""
    train, validation, test = (split == name for name in ("train", "validation", "test"))
    own = inputs[train]
    mean = target[train].mean(axis=0)
    gram, moment = own.T @ own, own.T @ (target[train] - mean)
    best: tuple[float, NDArray[np.float64]] | None = None
    for penalty in _PENALTIES:
        weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
        error = float(np.square(inputs[validation] @ weights + mean - target[validation]).mean())
        if best is None or error < best[0]:
            best = error, weights
    assert best is not None
    return inputs[test] @ best[1] + mean


def auc(score: NDArray[np.float64], present: NDArray[np.float64]) -> float:
    """Area under the ROC curve in percent; nan where all are present or none is.

    Args:
        score: (N,), higher for present; ties are not expected of continuous scores.
        present: (N,), 1 or 0.
    """
    positive = present > 0
    if positive.all() or not positive.any():
        return float("nan")
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    count = positive.sum()
    return float(100 * (rank[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum()))
