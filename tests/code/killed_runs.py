"""Trains variants in child processes that kill themselves; arguments: a folder that holds small shards.

A child counts the calls of its main thread and sends itself a signal at one of them, drawn at random: in a step,
between two, in a validation, or while a checkpoint or the model is being written.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from whole_sections import variant_params

from fabnet.files import read_json, write_json
from fabnet.training import checkpoint
from fabnet.training.variant import train_variant

COMMON = {"base_filters": 4, "embedding_dim": 8, "samples": 160, "batch_size": 8, "validation_every": 32}
COMMON |= {"validation_samples": 8, "learning_rate": 0.01, "checkpoint_every": 24, "precision": "fp32", "workers": 0}
CURRICULUM = {"curriculum": {"patience": 1}, "schedule": "plateau", "patience": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    "one": COMMON | CURRICULUM,
    "three": COMMON
    | {"sources": 3, "start_from": "one", "freeze": ["flow_decoder"], "jitter": 0.1, "workers": 2}
    | {"curriculum": {"patience": 1, "longest": 48}, "optimiser": "sgd", "schedule": "plateau", "patience": 1},
}
KILLS = 8


def train(variant: str, folder: Path, models: Path, **changes: Any) -> None:
    values = variant_params(**VARIANTS[variant] | changes)
    train_variant(variant, values, folder / "frames", folder / "splits.parquet", models / variant, models / "work")


def child(variant: str, folder: Path, models: Path, at: int, kind: int) -> int:
    """The exit status of a process that trains and gets signal `kind` at its call number `at`; 0 for none."""
    if (number := os.fork()) == 0:
        calls = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")
            if calls == at:
                calls += 1
                os.kill(os.getpid(), kind)

        status = 1
        try:
            sys.setprofile(count)
            train(variant, folder, models)
            sys.setprofile(None)
            write_json(models / "calls.json", calls)
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def main(folder: Path) -> None:
    # What is imported at the first step is there before children are made: their calls are those of training.
    train("one", folder, folder / "warm", samples=16)
    rng = np.random.default_rng(11)
    whole, killed = folder / "whole", folder / "killed"
    record: dict[str, list[Any]] = {}
    for variant in VARIANTS:
        assert child(variant, folder, whole, 0, 0) == 0
        calls = read_json(whole / "calls.json")
        ends: list[Any] = []
        for attempt in range(KILLS):
            kind = signal.SIGKILL if attempt % 3 < 2 else signal.SIGTERM
            end = child(variant, folder, killed, int(rng.integers(calls // 20, calls // 2)), kind)
            if end == 0:
                break
            path = killed / "work" / variant / "checkpoint.pt"
            state = checkpoint.load(path)
            left = [other.name for other in path.parent.glob(".checkpoint-*")]
            ends.append([end, 0 if state is None else state["step"], len(left)])
        else:
            end = child(variant, folder, killed, 0, 0)
        record[variant] = [*ends, [end, None, 0]]
    write_json(folder / "record.json", record)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
