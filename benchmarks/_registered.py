"""A project in which a variant can be registered, for whoever measures the registered model."""

import shutil
from pathlib import Path

import pandas as pd
import torch
import yaml

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.files import hash_file, write_json
from fabnet.networks.build import build
from fabnet.tracking.lineage import output_hash
from fabnet.video.recipe import recipe


def write_project(root: Path, source: Path) -> str:
    """Write to `root` what registering models/fabnet takes, from `source` if it is all there; what it is, in words."""
    lock = source / "dvc.lock"
    stages = yaml.safe_load(lock.read_text())["stages"] if lock.is_file() else {}
    wanted = {name: stages[name] for name in stages if name == "train@fabnet" or name.startswith("probe@synthetic")}
    outs = [out["path"] for entry in wanted.values() for out in entry["outs"]]
    if outs and all((source / path).exists() for path in outs):
        for path in outs:
            shutil.copytree(source / path, root / path)
        name = "models/fabnet and its probes"
    else:
        _write_random(root / "models/fabnet")
        out = {"path": "models/fabnet", "hash": "md5", "md5": output_hash(root / "models/fabnet")}
        wanted = {"train@fabnet": {"cmd": "python", "deps": [], "params": {}, "outs": [out]}}
        name = "a network with random weights"
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": wanted}))
    return name


def _write_random(out: Path) -> None:
    """What the stage train leaves, of a network that learnt nothing."""
    out.mkdir(parents=True)
    torch.save(build("fabnet", 64, 16, 256).state_dict(), out / "best.pt")
    rows = [(1, 16, "train", 1.0, 0.01), (1, 16, "validation", 1.0, 0.01)]
    history = pd.DataFrame(rows, columns=["step", "samples", "split", "loss", "learning_rate"]).assign(copying=2.0)
    tables.write(history, out / "history.parquet", tables.History)
    params = ExtractParams.standalone(videos=".", source="cropped", image_size=64)
    card = {
        "variant": "fabnet",
        "objective": "fabnet",
        "image_size": 64,
        "base_filters": 16,
        "embedding_dim": 256,
        "sources": 1,
        "params": {"seed": 0},
        "inputs": {"index": "none", "splits": "none"},
        "recipe": recipe(params),
        "best_step": 1,
        "best_validation_loss": 1.0,
        "copying_loss": 2.0,
        "below_copying_pct": 50.0,
        "weights_sha256": hash_file(out / "best.pt"),
    }
    write_json(out / "model.json", card)
