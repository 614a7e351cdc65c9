"""The pictures of a labelled set: its faces, what was predicted on them, and curves of its scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fabnet import tables
from fabnet.attributes.sets import TASKS, LabelledSet, targets
from fabnet.config import ReportParams
from fabnet.figures.pictures import Gap, Picture, attempt, picture, write_pictures
from fabnet.figures.probes import MOST, landmark_cases, low_label_curves, pose_scatter, slice_panels
from fabnet.figures.sheets import contact_sheet
from fabnet.files import atomic_directory, write_json
from fabnet.probing.metrics import MAIN, landmark_errors
from fabnet.probing.predictions import read_comparable
from fabnet.probing.slices import measure_slices

#: Labels of axes.
_AXES = {
    "landmarks68_nme_pct": "68 landmarks, error in %\nof inter-ocular distance",
    "landmarks5_nme_pct": "5 landmarks, error in %\nof inter-ocular distance",
    "pose_mae_deg": "pose, mean absolute\nerror in degrees",
    "mouth_mae_pct": "mouth's opening, mean absolute\nerror in % of its width",
    "units_auc": "action units,\narea under ROC in %",
    "expression_auc": "expression,\narea under ROC in %",
}
#: Rows and columns of labelled faces.
_SHEET = (3, 8)
#: Faces of a row of landmarks, and rows of pose.
_CASES, _POSES = 5, 6

#: Encoders that are always worth a line beside the trained ones, in this order.
_BESIDE = ("vgg11", "vgg_face", "hog", "random")


def illustrate_set(
    labelled: LabelledSet,
    predictions: list[Path],
    low_label: Path,
    objectives: Mapping[str, str],
    reference: str,
    size: int,
    params: ReportParams,
    out: Path,
) -> None:
    """Draw what was predicted on a labelled set, and score bins of its faces; what fails becomes a gap of the report.

    Args:
        labelled: the set.
        predictions: files of tables.Predictions of the set.
        low_label: probes/SET/low_label.parquet, which need not exist.
        objectives: by trained variant, in the order of params.yaml.
        reference: the encoder that others are compared with.
        size: side in pixels of the crops.
        params: the section `report`.
        out: folder of the pictures and of slices.json.
    """
    with atomic_directory(out) as folder:
        slices = attempt(
            f"{labelled.name}: scores by yaw, size and brightness",
            lambda: measure_slices(labelled, predictions, params, size),
        )
        drawn = SetPictures(
            labelled,
            objectives,
            reference,
            size,
            first_seeds(read_comparable(predictions)),
            None if isinstance(slices, Gap) else slices,
            tables.read(low_label, tables.LowLabel) if low_label.is_file() else None,
        )
        pictures = list(drawn.draw(folder))
        if isinstance(slices, Gap):
            pictures.append(slices)
        else:
            write_json(folder / "slices.json", slices)
        write_pictures(folder, pictures)


@dataclass(frozen=True)
class SetPictures:
    """What is drawn of a set.

    Attributes:
        objectives: by trained variant.
        reference: the encoder that others are compared with.
        size: side in pixels of the crops.
        predictions: first seed, or repeat, of the regularised probes, and of what learnt from the labels.
    """

    labelled: LabelledSet
    objectives: Mapping[str, str]
    reference: str
    size: int
    predictions: pd.DataFrame
    slices: Mapping[str, Any] | None
    low_label: pd.DataFrame | None

    def draw(self, out: Path) -> Iterator[Picture | Gap]:
        """Draw what the set has labels for, into the folder `out`."""
        name, tasks = self.labelled.name, set(self.predictions["task"])
        if "landmarks68" in {task.name for task in self.labelled.tasks}:
            caption = "Labelled faces of all splits, evenly spread over the table, with their 68 landmarks."
            yield picture(out / "faces.png", f"Faces of {name} with landmarks", caption, self._faces, 90)
        if "pose" in tasks:
            yield picture(
                out / "pose.png",
                f"Predicted against true roll, pitch and yaw of the test faces of {name}",
                "A point is a face that the probe did not learn from, the diagonal is perfect. Regularised probes.",
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
                        "inter-ocular distance. Regularised probes.",
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
                "Regularised probes that learnt from a share of the labels. Bars are 95 % bootstrap intervals over "
                "test identities; points stand side by side so that they do not hide each other.",
                partial(self._low_label, self.low_label),
                80,
            )

    def _shown(self, scored: set[str], most: int) -> list[str]:
        return select_encoders(sorted(scored), self.objectives, self.reference, most)

    def _faces(self) -> Figure:
        table = self.labelled.table()
        faces = table.iloc[np.linspace(0, len(table) - 1, _SHEET[0] * _SHEET[1]).astype(int)]
        truth = (targets(faces, TASKS["landmarks68"]).reshape(*_SHEET, -1, 2) + 1) * (self.size / 2)
        return contact_sheet(self._crops(faces).reshape(*_SHEET, self.size, self.size, 3), truth)

    def _pose(self) -> Figure:
        rows = self.predictions[self.predictions["task"] == "pose"]
        shown = self._shown(set(rows["encoder"]), _POSES)
        parts = [rows[rows["encoder"] == encoder].sort_values("face_id") for encoder in shown]
        true = np.stack(parts[0]["target"].tolist())
        return pose_scatter(
            true, {name: np.stack(part["prediction"].tolist()) for name, part in zip(shown, parts, strict=True)}
        )

    def _landmarks(self, task: str, encoder: str) -> Figure:
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

    def _slices(self) -> Figure:
        slices = self._sliced()
        scores = [bin_["scores"] for each in slices.values() for bin_ in each["bins"]]
        metrics = [metric for metric in MAIN if any(metric in row for each in scores for row in each.values())]
        shown = self._shown({encoder for each in scores for encoder in each}, MOST)
        return slice_panels(slices, {metric: _AXES[metric] for metric in metrics}, shown)

    def _low_label(self, table: pd.DataFrame) -> Figure:
        metrics = {metric: _AXES[metric] for metric in MAIN if (table["metric"] == metric).any()}
        return low_label_curves(table, metrics, self._shown(set(table["encoder"]), MOST))

    def _crops(self, faces: pd.DataFrame) -> np.ndarray:
        return np.stack([self.labelled.crop(row, self.size) for row in faces.itertuples()])


def first_seeds(parts: Iterator[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """The first seed of every encoder's predictions, which pictures show."""
    return pd.concat([rows[rows["seed"] == 0] for _, rows in parts], ignore_index=True)


def select_encoders(scored: Sequence[str], objectives: Mapping[str, str], reference: str, most: int) -> list[str]:
    """The encoders of a picture that has no room for all.

    The reference, one trained variant for each other objective, and the baselines that these have to beat.

    Args:
        scored: encoders that there are numbers of.
        objectives: by trained variant, in the order of params.yaml.
        reference: comes first, if it was scored.
        most: how many the picture has room for.
    """
    chosen = [reference] if reference in scored else []
    seen = {objectives.get(reference, reference)} if chosen else set()
    for name, objective in objectives.items():
        if name in scored and objective not in seen:
            chosen.append(name)
            seen.add(objective)
    chosen += [name for name in _BESIDE if name in scored and name not in chosen]
    return chosen[:most]
