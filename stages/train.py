"""Train one variant."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(variant: Annotated[str, typer.Argument(help="a key of train.variants or train.finetuned")]) -> None:
    """data/frames + data/splits.parquet -> models/VARIANT"""
    from fabnet.config import load_params

    params = load_params().train.variant(variant)
    if params.processes > 1 and "RANK" not in os.environ:
        # In place of this process, so that a SIGTERM for it reaches torchrun, which passes it on.
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={params.processes}"]
        os.execv(sys.executable, [sys.executable, *torchrun, __file__, variant])

    from fabnet import tracking
    from fabnet.tracking.record import training_record
    from fabnet.training.variant import train_variant

    frames, splits, out, work = (
        Path("data/frames"),
        Path("data/splits.parquet"),
        Path("models") / variant,
        Path(".work/train"),
    )
    if int(os.environ.get("RANK", 0)) > 0:
        train_variant(variant, params, frames, splits, out, work)
        return
    inputs = [frames / "index.parquet", frames / "crop.json", splits]
    if params.start_from is not None:
        inputs.append(Path("models") / params.start_from / "best.pt")
    values = params.model_dump(mode="json")
    stage = "train" if params.start_from is None else "finetune"
    with tracking.run(stage, f"{stage}@{variant}", values, dependencies=inputs, outs=[out]) as recorder:
        train_variant(variant, params, frames, splits, out, work)
        recorder.log(training_record(out))


if __name__ == "__main__":
    run(main)
