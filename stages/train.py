"""Train one variant."""

from itertools import repeat
from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(variant: Annotated[str, typer.Argument(help="a key of train.variants in params.yaml")]) -> None:
    """data/frames + data/splits.parquet -> models/VARIANT"""
    from fabnet import tables, tracking
    from fabnet.config import load_params
    from fabnet.figures.curves import learning_curves
    from fabnet.training.variant import train_variant

    params = load_params().train.variant(variant)
    frames, splits, out = Path("data/frames"), Path("data/splits.parquet"), Path("models") / variant
    inputs = [frames / "index.parquet", frames / "crop.json", splits]
    with tracking.run("train", f"train@{variant}", params.model_dump(), dependencies=inputs) as recorder:
        card = train_variant(variant, params, frames, splits, out, Path(".work/train"))
        history = tables.read(out / "history.parquet", tables.History)
        for split, points in history.groupby("split"):
            recorder.log_history(zip(repeat(f"{split}_loss"), points["loss"], points["step"], strict=False))
        recorder.log_history(zip(repeat("learning_rate"), history["learning_rate"], history["step"], strict=False))
        recorder.log_metrics({"best_validation_loss": card["best_validation_loss"], "best_step": card["best_step"]})
        recorder.set_tags({"weights.sha256": card["weights_sha256"], "recipe.hash": card["recipe"]["hash"]})
        recorder.log_figure("learning_curve.png", learning_curves({variant: history}))
        recorder.log_artifact(out / "model.json")


if __name__ == "__main__":
    run(main)
