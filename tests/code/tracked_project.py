"""A project as `make repro` leaves it, in miniature: a trained variant, its probes, dvc.lock, and a tracking store."""

import re
import shutil
import subprocess
import tempfile
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from mlflow import MlflowClient

from fabnet import tables
from fabnet.files import hash_file, write_json
from fabnet.networks.build import build
from fabnet.probing.intervals import score
from fabnet.probing.predictions import frame, open_writer
from fabnet.probing.probe import Probe
from fabnet.probing.problem import Problem
from fabnet.probing.readings import OUTPUTS, write_heads
from fabnet.tracking.lineage import output_hash
from fabnet.tracking.store import quiet

SIZE, FILTERS, DIMENSION = 16, 4, 16
RECIPE = {"source": "cropped", "margin": 0.0, "size": SIZE, "jpeg_quality": 95, "fps": 1.0, "hash": "a5b00458d3569048"}
PROBE = {"seeds": 2, "epochs": 5, "ridge_alphas": [1.0], "logistic_cs": [1.0]}
LOSSES = {"landmarks68": "mse", "landmarks5": "mse", "pose": "mse", "units": "bce", "expression": "cross_entropy"}


@cache
def _template() -> Path:
    """A database with MLflow's schema, which takes seconds to create."""
    path = Path(tempfile.mkdtemp(prefix="fabnet-template-")) / "mlflow.db"
    with quiet():  # what it logs is no part of what a test captures
        MlflowClient(tracking_uri=f"sqlite:///{path}")
    return path


def add_store(root: Path) -> MlflowClient:
    """An empty tracking store in `root`; artifacts go to mlartifacts/ there."""
    shutil.copyfile(_template(), root / "mlflow.db")
    return MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


def direct_dependencies() -> set[str]:
    """Distributions that fabnet itself depends on."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return {re.split(r"[^\w.-]", line)[0].lower() for line in project["dependencies"]}


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e@localhost", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make(root: Path, seed: int = 0, scale: float = 1.0) -> Path:
    """Write all files, commit what belongs into git, and return `root`.

    Args:
        seed: of the weights and of the predictions.
        scale: of the errors of the predictions.
    """
    (root / "data/frames").mkdir(parents=True, exist_ok=True)
    (root / "data/frames/index.parquet").write_bytes(b"index")
    (root / "data/splits.parquet").write_bytes(b"splits")
    write_json(root / "data/frames/crop.json", RECIPE)
    weights = _variant(root / "models/fabnet", root, seed)
    _probes(root, weights, seed, scale)
    _lock(root)
    if not (root / ".git").exists():
        git(root, "init", "-q", "-b", "main")
        (root / ".gitignore").write_text("data\nmodels\nprobes\nembeddings\nmlflow.db\nmlartifacts\n.work\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", f"seed {seed}, scale {scale}", "--allow-empty")
    return root


def _variant(out: Path, root: Path, seed: int) -> str:
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    torch.save(build("fabnet", SIZE, FILTERS, DIMENSION).state_dict(), out / "best.pt")
    rows = [(step, step * 16, split, 1 / step, 0.01) for step in (1, 2, 3) for split in ("train", "validation")]
    history = pd.DataFrame(rows, columns=["step", "samples", "split", "loss", "learning_rate"])
    history["copying"] = np.where(history["split"] == "validation", 0.5, np.nan)
    tables.write(history, out / "history.parquet", tables.History)
    weights = hash_file(out / "best.pt")
    params = {"objective": "fabnet", "base_filters": FILTERS, "embedding_dim": DIMENSION, "samples": 48, "seed": seed}
    inputs = {
        "index": hash_file(root / "data/frames/index.parquet"),
        "splits": hash_file(root / "data/splits.parquet"),
        "recipe": RECIPE["hash"],
    }
    card = {
        "variant": "fabnet",
        "objective": "fabnet",
        "image_size": SIZE,
        "base_filters": FILTERS,
        "embedding_dim": DIMENSION,
        "sources": 1,
        "params": params,
        "recipe": RECIPE,
        "inputs": inputs,
        "best_step": 3,
        "best_validation_loss": 1 / 3,
        "copying_loss": 0.5,
        "below_copying_pct": 100 / 3,
        "weights_sha256": weights,
    }
    write_json(out / "model.json", card)
    return weights


def predictions(encoder: str, seed: int, scale: float, people: int = 30, faces: int = 4) -> pd.DataFrame:
    """Pose, landmarks and units of one encoder; labels do not depend on it."""
    fixed, own = np.random.default_rng(7), np.random.default_rng(100 + seed)
    count = people * faces
    ids = [f"face{i:04d}" for i in range(count)]
    table = pd.DataFrame({"face_id": ids, "identity": [f"p{i // faces}" for i in range(count)]})
    pose = fixed.normal(0, 20, size=(count, 3)).astype(np.float32)
    error = fixed.normal(0, 4, size=(2, count, 3)) * (1 + 0.05 * own.normal(size=(2, count, 3)))
    points = fixed.normal(0, 0.3, size=(count, 10)).astype(np.float32)
    units = (fixed.random((count, 11)) < 0.4).astype(np.float32)
    scores = units + scale * fixed.normal(0, 1, size=(2, count, 11))
    parts = [
        frame(encoder, "regularised", "pose", table, pose + scale * error, pose, SIZE),
        frame(encoder, "regularised", "landmarks5", table, np.stack([points + 0.1 * scale] * 2), points, SIZE),
        frame(encoder, "regularised", "units", table, scores, units, SIZE),
    ]
    return pd.concat(parts, ignore_index=True)


def _probes(root: Path, weights: str, seed: int, scale: float) -> None:
    out = root / "probes/synthetic"
    for group, encoder in (("baselines", "hog"), ("trained", "fabnet")):
        meta = {"encoder": encoder, "weights_sha256": weights if group == "trained" else None}
        write_json(root / "embeddings/synthetic" / group / encoder / "meta.json", meta)
    parts = {name: predictions(name, seed, scale) for name in ("constant", "hog", "fabnet")}
    with open_writer(out / "predictions.parquet") as writer:
        for part in parts.values():
            writer.add(part)
    write_json(out / "choices.json", {"absent": {}})
    write_json(root / "metrics.json", {"synthetic": {name: score(part, 100, 0) for name, part in parts.items()}})
    random = np.random.default_rng(seed)
    problems, probes = [], []
    for task, loss in LOSSES.items():
        count = len(OUTPUTS[task])
        problems.append(Problem(task, loss, np.zeros((1, count), np.float32), count))
        weight = random.normal(size=(2, count, DIMENSION)).astype(np.float32) * 0.1
        bias = random.normal(size=(2, count)).astype(np.float32)
        probes.append(Probe(task, weight, bias, np.zeros(2, np.int64), np.zeros(2)))
    origin = {"encoder": "fabnet", "set": "synthetic", "weights_sha256": weights, "recipe_hash": RECIPE["hash"]}
    write_heads(out / "heads/fabnet.npz", probes, problems, origin)


def _lock(root: Path) -> None:
    def entry(outs: list[str], deps: list[str], params: dict) -> dict:
        def listed(paths: list[str]) -> list[dict]:
            return [{"path": path, "hash": "md5", "md5": output_hash(root / path)} for path in paths]

        return {"cmd": "python", "deps": listed(deps), "params": {"params.yaml": params}, "outs": listed(outs)}

    stages = {
        "extract": entry(["data/frames"], [], {}),
        "split": entry(["data/splits.parquet"], ["data/frames/index.parquet"], {}),
        "train@fabnet": entry(["models/fabnet"], ["data/frames", "data/splits.parquet"], {"train.common": {"seed": 0}}),
        "embed@synthetic": entry(["embeddings/synthetic/trained"], ["models"], {}),
        "probe@synthetic": entry(["probes/synthetic"], ["embeddings/synthetic"], {"probe": PROBE}),
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
