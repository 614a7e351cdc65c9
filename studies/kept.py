"""What a study keeps from one run to the next: networks it has trained, and what it has measured of them."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fabnet.config import VariantParams

#: What a network depends on besides its params and data.
TRAINS = ("fabnet/frames", "fabnet/networks", "fabnet/training")


@cache
def code(root: Path = Path(__file__).parents[1]) -> str:
    """Hash of the code that trains, without its comments and docstrings, which change no network.

    Args:
        root: of the project.
    """
    told = hashlib.sha256()
    for path in sorted(path for folder in TRAINS for path in (root / folder).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                del node.body[0]
        told.update(f"{path.relative_to(root).as_posix()} {ast.dump(tree)}".encode())
    return told.hexdigest()[:16]


def train_once(name: str, values: VariantParams, frames: Path, splits: Path, out: Path) -> None:
    """Train a network unless it is there already; a run that was stopped goes on.

    One that is there under other params, or by other code, is not taken for it. CPU seconds are noted in OUT.json; of a
    run that went on they are those since then, and `resumed` says so.

    Args:
        name: of the variant.
        values: its params.
        frames: directory of track shards.
        splits: table of identities and splits.
        out: directory of the trained network, beside the one that `values.start_from` names.
    """
    from fabnet.config import VariantParams
    from fabnet.files import read_json, write_json
    from fabnet.training.variant import train_variant
    from studies.learning_speed import cpu_seconds

    note = out.with_suffix(".json")
    if (out / "model.json").is_file():
        if VariantParams.model_validate(read_json(out / "model.json")["params"]) != values:
            sys.exit(f"error: {out}: was trained under other params; delete it to train it again")
        if not note.is_file() or read_json(note).get("code") != code():
            sys.exit(f"error: {out}: was trained by other code; delete it to train it again")
        return
    unfinished = out.parent / ".unfinished"
    resumed, before = (unfinished / name / "checkpoint.pt").exists(), cpu_seconds()
    train_variant(name, values, frames, splits, out, unfinished)
    write_json(note, {"cpu_s": cpu_seconds() - before, "resumed": resumed, "code": code()})


def measure_once(
    path: Path, key: str, compute: Callable[[], Mapping[str, tuple[float, np.ndarray]]]
) -> dict[str, tuple[float, np.ndarray]]:
    """Values and their resamples (R,) by metric: those of the file if they are of this key, else computed and kept.

    Args:
        path: of an .npz file.
        key: what the measures are of, such as a hash of weights.
        compute: makes them.
    """
    from fabnet.files import atomic_file

    if path.is_file():
        with np.load(path) as stored:
            if "key" in stored and str(stored["key"]) == key:
                return {name: (float(stored[name][0]), stored[name][1:]) for name in stored.files if name != "key"}
    measured = {name: (float(value), np.asarray(over, dtype=float)) for name, (value, over) in compute().items()}
    arrays: dict[str, Any] = {name: np.append(*of) for name, of in measured.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, key=key, **arrays)
    return measured
