"""The pictures of a labelled set: its faces, what was predicted on them, and curves of its scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fabnet.attributes.sets import TASKS, LabelledSet, targets
from fabnet.figures.contact_sheet import contact_sheet
from fabnet.figures.landmarks import landmark_cases
from fabnet.figures.low_label import low_label_curves
from fabnet.figures.palette import MOST
from fabnet.figures.pose import pose_scatter
from fabnet.figures.slices import slice_panels
from fabnet.probing.metrics import landmark_errors
from fabnet.report.blocks import Figure, Gap
from fabnet.report.cells import MAIN
from fabnet.report.interest import of_interest
from fabnet.report.pictures import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

#: Labels of axes.
_AXES = {
    "landmarks68_nme_pct": "68 landmarks, error in %\nof inter-ocular distance",
    "landmarks5_nme_pct": "5 landmarks, error in %\nof inter-ocular distance",
    "pose_mae_deg": "pose, mean absolute\nerror in degrees",
    "units_auc": "action units,\narea under ROC in %",
    "expression_auc": "expression,\narea under ROC in %",
}
#: Rows and columns of labelled faces.
_SHEET = (3, 8)
#: Faces of a row of landmarks, and rows of pose.
_CASES, _POSES = 5, 6


@dataclass(frozen=True)
class SetPictures:
    """What is drawn of a set.

    Attributes:
        objectives: by trained variant.
        reference: the encoder that others are compared with.
        size: side in pixels of the crops.
        predictions: first seed of the torch probes, all encoders.
    """

    labelled: LabelledSet
    objectives: Mapping[str, str]
    reference: str
    size: int
    predictions: pd.DataFrame
    slices: Mapping[str, Any] | None
    low_label: pd.DataFrame | None

    def draw(self, out: Path) -> Iterator[Figure | Gap]:
        """Draw what the set has labels for, into the folder `out`."""
        name, tasks = self.labelled.name, set(self.predictions["task"])
        if "landmarks68" in {task.name for task in self.labelled.tasks}:
            caption = "Labelled faces of all splits, evenly spread over the table, with their 68 landmarks."
            yield picture(out / "faces.png", f"Faces of {name} with landmarks", caption, self._faces, 90)
        if "pose" in tasks:
            yield picture(
                out / "pose.png",
                f"Predicted against true roll, pitch and yaw of the test faces of {name}",
                "A point is a test face, the diagonal is perfect. First seed of the probes.",
                self._pose,
                70,
            )
        for task, suffix in (("landmarks68", ""), ("landmarks5", "5")):
            scored = set(self.predictions["encoder"][self.predictions["task"] == task])
            # Of five points, the reference's alone: they are among the 68.
            for encoder in self._shown(scored, 1 if suffix and "landmarks68" in tasks else MOST):
                if encoder in self.objectives:
                    points = TASKS[task].outputs // 2
                    yield picture(
                        out / f"landmarks{suffix}_{encoder}.png",
                        f"{points} landmarks by {encoder}, true and predicted, best, median and worst faces of {name}",
                        f"`{encoder}`, {points} landmarks: dots are the labels, crosses what the "
                        "probe reads from the frozen embedding. Above each face, its mean error in percent of the "
                        "inter-ocular distance. First seed of the probes.",
                        partial(self._landmarks, task, encoder),
                        90,
                    )
        if self._sliced():
            yield picture(
                out / "slices.png",
                f"Scores by yaw, size and brightness of the test faces of {name}",
                "Points are bins of test faces, bars 95 % bootstrap intervals over their identities. Bins of too few "
                "faces have no point.",
                self._slices,
                80,
            )
        if self.low_label is not None:
            yield picture(
                out / "low_label.png",
                f"Scores against the number of labelled faces of {name}",
                "Probes that learnt from a share of the labels. Bars are 95 % bootstrap intervals over test "
                "identities; points stand side by side so that they do not hide each other.",
                partial(self._low_label, self.low_label),
                80,
            )

    def _shown(self, scored: set[str], most: int) -> list[str]:
        return of_interest(sorted(scored), self.objectives, self.reference, most)

    def _faces(self) -> "Drawn":
        table = self.labelled.table()
        faces = table.iloc[np.linspace(0, len(table) - 1, _SHEET[0] * _SHEET[1]).astype(int)]
        truth = (targets(faces, TASKS["landmarks68"]).reshape(*_SHEET, -1, 2) + 1) * (self.size / 2)
        return contact_sheet(self._crops(faces).reshape(*_SHEET, self.size, self.size, 3), truth)

    def _pose(self) -> "Drawn":
        rows = self.predictions[self.predictions["task"] == "pose"]
        shown = self._shown(set(rows["encoder"]), _POSES)
        parts = [rows[rows["encoder"] == encoder].sort_values("face_id") for encoder in shown]
        true = np.stack(parts[0]["target"].tolist())
        return pose_scatter(
            true, {name: np.stack(part["prediction"].tolist()) for name, part in zip(shown, parts, strict=True)}
        )

    def _landmarks(self, task: str, encoder: str) -> "Drawn":
        points = self.predictions
        points = points[(points["task"] == task) & (points["encoder"] == encoder)]
        true, guess = (np.stack(points[column].tolist()) for column in ("target", "prediction"))
        errors = landmark_errors(guess, true)
        order, columns = np.argsort(errors, kind="stable"), min(_CASES, len(errors))
        middle = (len(errors) - columns) // 2
        rows = np.stack([order[:columns], order[middle : middle + columns], order[len(errors) - columns :]])
        faces = self.labelled.table().set_index("face_id", drop=False).loc[points["face_id"].iloc[rows.ravel()]]
        crops = self._crops(faces).reshape(*rows.shape, self.size, self.size, 3)
        dots, crosses = (array[rows].reshape(*rows.shape, -1, 2) for array in (true, guess))
        return landmark_cases(crops, dots, crosses, errors[rows], ("best", "median", "worst"))

    def _sliced(self) -> dict[str, Any]:
        """Properties with bins that were scored."""
        return {
            name: each
            for name, each in (self.slices or {}).items()
            if any(bin_["scores"] for bin_ in each.get("bins", ()))
        }

    def _slices(self) -> "Drawn":
        slices = self._sliced()
        scores = [bin_["scores"] for each in slices.values() for bin_ in each["bins"]]
        metrics = [metric for metric in MAIN if any(metric in row for each in scores for row in each.values())]
        shown = self._shown({encoder for each in scores for encoder in each}, MOST)
        return slice_panels(slices, {metric: _AXES[metric] for metric in metrics}, shown)

    def _low_label(self, table: pd.DataFrame) -> "Drawn":
        metrics = {metric: _AXES[metric] for metric in MAIN if (table["metric"] == metric).any()}
        return low_label_curves(table, metrics, self._shown(set(table["encoder"]), MOST))

    def _crops(self, faces: pd.DataFrame) -> np.ndarray:
        return np.stack([self.labelled.crop(row, self.size) for row in faces.itertuples()])


def first_seeds(parts: Iterator[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """The first seed of every encoder's predictions, which pictures show."""
    return pd.concat([rows[rows["seed"] == 0] for _, rows in parts], ignore_index=True)
