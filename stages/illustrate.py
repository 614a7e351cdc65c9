"""Pictures of what the probes predict on a labelled set."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run

# Faces shown, evenly spread over the test split from the best to the worst; and the sheet of labelled faces.
SHOWN = 24
SHEET = (3, 8)


def main(set_name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """probes/SET + the labelled set -> reports/sets/SET"""
    import numpy as np

    from fabnet import tables
    from fabnet.attributes.sets import TASKS, open_set, targets
    from fabnet.config import load_params
    from fabnet.figures.contact_sheet import contact_sheet
    from fabnet.figures.landmarks import landmark_overlays
    from fabnet.figures.pose import pose_scatter
    from fabnet.figures.save import save
    from fabnet.files import atomic_directory
    from fabnet.probing.metrics import landmark_errors

    params = load_params()
    labelled = open_set(set_name, params.labelled_set(set_name))
    predictions = tables.read(Path("probes") / set_name / "predictions.parquet", tables.Predictions)
    shown = predictions[(predictions["probe"] == "torch") & (predictions["seed"] == 0)]
    size = params.extract.size

    with atomic_directory(Path("reports/sets") / set_name) as out:
        encoders = [*params.train.names, "hog", "random"]
        pose = {name: rows for name, rows in shown[shown["task"] == "pose"].groupby("encoder") if name in encoders}
        if pose:
            true = np.stack(pose[encoders[0]]["target"].tolist())
            predicted = {name: np.stack(pose[name]["prediction"].tolist()) for name in encoders}
            save(pose_scatter(true, predicted), out / "pose.png", dpi=70)
        table = labelled.table()
        if "landmarks68" in table:
            faces = table.iloc[np.linspace(0, len(table) - 1, SHEET[0] * SHEET[1]).astype(int)]
            crops = np.stack([labelled.crop(row, size) for row in faces.itertuples()])
            truth = (targets(faces, TASKS["landmarks68"]).reshape(*SHEET, -1, 2) + 1) * (size / 2)
            save(contact_sheet(crops.reshape(*SHEET, *crops.shape[1:]), truth), out / "faces.png", dpi=90)
        rows = table.set_index("face_id", drop=False)
        for variant in params.train.names:
            points = shown[(shown["task"] == "landmarks68") & (shown["encoder"] == variant)]
            if points.empty:
                continue
            true, guess = (np.stack(points[column].tolist()) for column in ("target", "prediction"))
            errors = landmark_errors(guess, true)
            order = np.argsort(errors)[np.linspace(0, len(errors) - 1, SHOWN).astype(int)]
            faces = rows.loc[points["face_id"].iloc[order]]
            crops = np.stack([labelled.crop(row, size) for row in faces.itertuples()])
            overlays = landmark_overlays(
                crops, true[order].reshape(SHOWN, -1, 2), guess[order].reshape(SHOWN, -1, 2), errors[order]
            )
            save(overlays, out / f"landmarks_{variant}.png", dpi=70)


if __name__ == "__main__":
    run(main)
