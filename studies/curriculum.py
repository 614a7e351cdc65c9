"""Does the curriculum help as fine-tuning? Against as much further training without it, on drawn and on real crops.

    python -m studies.curriculum [--seeds 0 1 2] [--real FOLDER --faces FOLDER] [--steps train score write]

From one `fabnet` of each seed go on: `fabnet_curriculum`, and `fabnet_longer`, which sees the same pairs and learns
from all of them; and from each of these a network with three sources. Needs the outputs of `dvc repro validate
validate_set`. `--real` is a frame store with splits.parquet beside its index, of any crop size, and `--faces` a folder
of AFLW2000-3D, whose faces the encoders trained on real crops are scored on; without both, the half on real crops is
left as it was. Models go to .work/studies/curriculum; what was trained under the same params and data is not trained
again, and a seed that was stopped resumes.

No test face is looked at. Scored are people of the drawn set's training and validation splits, and all real faces, by
ridge and logistic regression in five folds over people, of which one is predicted, one chooses the penalty and the
others are learnt from. Writes docs/results/curriculum.md and .json.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabnet import log
from studies.learning_speed import RESAMPLES, folded, processor
from studies.variants import METRICS, summary, table

if TYPE_CHECKING:
    import pandas as pd

    from fabnet.config import SetParams, VariantParams

WORK, OUT = Path(".work/studies/curriculum"), Path("docs/results")
SIZE = 64

#: What differs from train.common of the default profile: budgets in samples, each of four views or of one target.
FURTHER: dict[str, Any] = {
    "start_from": "fabnet",
    "flow_stride": 2,
    "batch_size": 32,
    "samples": 3200,
    "learning_rate": 0.01,
    "schedule": "step",
    "drop_at": 0.8,
    "validation_every": 480,
    "validation_samples": 384,
    "checkpoint_every": 960,
}
THREE: dict[str, Any] = FURTHER | {
    "sources": 3,
    "freeze": ["flow_decoder"],
    "batch_size": 16,
    "samples": 1600,
    "validation_every": 320,
}
#: The paper's windows, [0, 50) to [40, 90), of which the last holds for two fifths of the budget.
CURRICULUM = {"longest": 480}
VARIANTS: dict[str, dict[str, Any]] = {
    "fabnet": {"views": 4, "flow_stride": 2, "samples": 9600, "checkpoint_every": 1200},
    "fabnet_longer": FURTHER,
    "fabnet_curriculum": FURTHER | {"curriculum": CURRICULUM},
    "fabnet_longer_3src": THREE | {"start_from": "fabnet_longer"},
    "fabnet_curriculum_3src": THREE | {"start_from": "fabnet_curriculum"},
}
PAIRS = (
    ("fabnet", "fabnet_longer"),
    ("fabnet", "fabnet_curriculum"),
    ("fabnet_longer", "fabnet_curriculum"),
    ("fabnet_curriculum", "fabnet_curriculum_3src"),
    ("fabnet_longer", "fabnet_longer_3src"),
    ("fabnet_longer_3src", "fabnet_curriculum_3src"),
)


def variant(name: str, seed: int) -> VariantParams:
    """Values of a network of the study.

    Args:
        name: a key of VARIANTS.
        seed: of the training.
    """
    import yaml

    from fabnet.config import VariantParams
    from fabnet.profiles import committed

    common = yaml.safe_load(committed())["train"]["common"]
    return VariantParams.model_validate(common | VARIANTS[name] | {"precision": "fp32", "seed": seed})


def place(data: str, seed: int, name: str) -> Path:
    return WORK / f"{data}-{seed}" / name


def shrink(source: Path, out: Path) -> None:
    """A copy of a frame store at SIZE pixels, with its splits; nothing is done where there is one.

    Args:
        source: folder of shards, index, crop.json and splits.parquet.
        out: folder of the copy.
    """
    import cv2
    import pyarrow.parquet as pq
    import simplejpeg

    from fabnet.files import atomic_directory, write_json
    from fabnet.frames.shards import INDEX, RECIPE, TarWriter, member_name, shard_name
    from fabnet.frames.store import FrameStore

    if out.is_dir():
        return
    store, index = FrameStore(source), pq.read_table(source / INDEX)
    placed: dict[str, list[Any]] = {"shard": [shard_name(0)] * len(index), "offset": [], "size": []}
    with atomic_directory(out) as folder:
        with open(folder / shard_name(0), "wb") as file:
            tar = TarWriter(file)
            names = zip(index["track_id"].to_pylist(), index["frame_no"].to_pylist(), strict=True)
            for row, (track, number) in enumerate(names):
                small = cv2.resize(store.decode([row])[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
                jpeg = simplejpeg.encode_jpeg(small, 95, "RGB", "444")
                placed["offset"].append(tar.add(member_name(track, number), jpeg))
                placed["size"].append(len(jpeg))
            tar.close()
        for name, values in placed.items():
            at = index.schema.get_field_index(name)
            index = index.set_column(at, index.schema.field(at), [values])
        pq.write_table(index, folder / INDEX)
        write_json(folder / RECIPE, store.recipe | {"size": SIZE})
        (folder / "splits.parquet").write_bytes((source / "splits.parquet").read_bytes())


def train(data: str, frames: Path, splits: Path, seed: int) -> None:
    """Train all networks of a seed, with one thread; CPU seconds are noted beside the weights.

    Args:
        data: drawn or real.
        frames: frame store of SIZE pixels.
        splits: table of identities and splits.
        seed: of all of them.
    """
    from fabnet.config import VariantParams
    from fabnet.files import read_json, write_json
    from fabnet.training.variant import train_variant

    for name in VARIANTS:
        values, out = variant(name, seed), place(data, seed, name)
        if (out / "model.json").is_file():
            if VariantParams.model_validate(read_json(out / "model.json")["params"]) != values:
                sys.exit(f"error: {out}: was trained under other params; delete it to train it again")
            continue
        train_variant(name, values, frames, splits, out, out.parent / ".unfinished")
        used = resource.getrusage(resource.RUSAGE_SELF)
        write_json(out.with_suffix(".json"), {"cpu_s_of_process": used.ru_utime + used.ru_stime})
