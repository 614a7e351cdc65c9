"""The page of a scorecard: tables of scores, and the faces with what the teacher and the probes see in them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fabnet.errors import counted
from fabnet.figures.pictures import picture
from fabnet.figures.probes import landmark_cases, pose_scatter
from fabnet.inference.probe import CONSTANT, SIZE, ProbeScores
from fabnet.inference.scorecard.encoders import BASELINES, CropEncoder
from fabnet.inference.scorecard.face_set import FaceSet
from fabnet.inference.scorecard.teacher import teacher_errors
from fabnet.probing.intervals import arrays
from fabnet.probing.metrics import METRICS, face_errors, landmark_errors
from fabnet.probing.predictions import REGULARISED, read_predictions
from fabnet.report.blocks import NOTHING, TITLES, Content, Table, Text, score_cell, score_table, section
from fabnet.report.render import html
from fabnet.report.set_section import comparison
from fabnet.video.mesh import MIN_PRESENCE

#: Faces of a row, each of another person.
_FACES = 6
#: Encoders whose pose is drawn.
_POSES = 4

_TEACHER = (
    "**The labels are those of another network.** Nobody labelled these frames: FaceMesh (Kartynnik et al. 2019), "
    "which comes with fabnet, reads head pose, 468 points and the mouth's opening of each face, and encoders are "
    "scored by how well a linear probe of their embeddings tells the same. A score is how far a probe is from the "
    "teacher, not from the truth: where the teacher errs, a probe that errs with it gains."
)
_LIMITS = (
    "- Differences between encoders that are small beside the teacher's own errors say little, even where their "
    "interval leaves out zero: the interval speaks of other people, not of another teacher.\n"
    "- A face that the teacher does not see is not scored: scores are of the faces that are easy for it.\n"
    "- The teacher sees no blinks, action units or expressions: nothing here tells of these.\n"
    "- Landmark errors are in percent of the inter-ocular distance as seen in the image, which shrinks as a head "
    "turns.\n"
    "- `constant` knows nothing of the face: where people hardly move, it is hard to beat, and scores tell little."
)


def page(
    faces: FaceSet, scores: ProbeScores, encoders: Sequence[CropEncoder], notes: Sequence[str], predictions: Path
) -> str:
    """One HTML file, whose pictures are in it.

    Args:
        faces: the labelled set.
        scores: of the probes; the first encoder is the one that others are compared with.
        encoders: those that are compared.
        notes: what to bear in mind, a line each.
        predictions: file of tables.Predictions.
    """
    with TemporaryDirectory() as scratch:
        shown = _Shown(faces, [each.name for each in encoders], predictions, Path(scratch))
        reference = encoders[0].name
        found = scores.scores[REGULARISED]
        order = [CONSTANT, *BASELINES, *(each.name for each in encoders)]
        sections = [
            section("What was scored", "summary", partial(_summary, faces, scores, encoders, notes)),
            section("Scores", "scores", partial(_scores, {name: found[name] for name in order}, scores)),
            section(
                f"Differences to `{reference}` on the same faces",
                "paired",
                partial(comparison, reference, scores.paired, True),
            ),
            section("Faces", "faces", shown.landmarks),
            section("Head pose", "pose", shown.pose),
            section("The teacher", "teacher", _teacher),
            section("People", "people", shown.people),
            section("What this cannot tell", "limits", lambda: [Text(_LIMITS)]),
        ]
        return html("Scorecard", sections)


def _summary(faces: FaceSet, scores: ProbeScores, encoders: Sequence[CropEncoder], notes: Sequence[str]) -> Content:
    whole = faces.counts()
    table = faces.labelled.table()
    yield Text(_TEACHER)
    rows = [
        ["people", f"{whole['people_scored']} of {whole['people']}"],
        ["videos", f"{whole['videos']:,}"],
        [f"frames sampled, {faces.fps:g} per second", f"{whole['samples']:,}"],
        ["of these, without a face that the detector finds", f"{whole['without_face']:,}"],
        [f"faces that the teacher looked at, at most {faces.most} of a person", f"{whole['looked_at']:,}"],
        [f"of these, left out: the teacher's presence is below {MIN_PRESENCE:g}", f"{whole['unsure']:,}"],
        ["faces scored", f"{whole['faces_scored']:,}"],
    ]
    yield Table(["", "number"], rows)
    yield Table(
        ["encoder", "source", "side of its crops", "learnt from"],
        [[each.name, f"`{each.source}`", f"{each.size} px", each.saw] for each in encoders],
    )
    spread = []
    for column, name, digits in _SPREAD:
        low, high = np.quantile(table[column], [0.05, 0.95])
        spread.append(f"{name} {low:.{digits}f} to {high:.{digits}f}")
    yield Text(f"Nine of ten faces, by the teacher: {', '.join(spread)}.")
    if faces.rejected:
        told = "; ".join(f"`{bad.name}`: {bad.reason}" for bad in faces.rejected[:_LISTED])
        more = f"; and {len(faces.rejected) - _LISTED} more" if len(faces.rejected) > _LISTED else ""
        yield Text(f"{counted(len(faces.rejected), 'video')} could not be used: {told}{more}.")
    for note in [*notes, *scores.notes]:
        yield Text(note)


#: Rejected videos that are named.
_LISTED = 20
#: What is told of the spread of the teacher's readings: column, what it is, and decimals.
_SPREAD = (
    ("roll_deg", "roll (degrees, clockwise)", 0),
    ("pitch_deg", "pitch (up)", 0),
    ("yaw_deg", "yaw (to the image's right)", 0),
    ("mouth_open", "the mouth's opening over its width", 2),
)


def _scores(found: Mapping[str, Mapping[str, Mapping[str, float | int]]], scores: ProbeScores) -> Content:
    yield Text(
        f"Regularised linear probes (ridge) of the frozen embeddings, {scores.scored}: each face is scored by probes "
        "that never saw its person, penalties are chosen within the folds that are learnt from, and scores are means "
        "over the repeats. In brackets the 95 % bootstrap interval over people. Errors against the teacher: angles are "
        "mean absolute errors in degrees, landmarks in percent of the inter-ocular distance, the mouth's opening in "
        "percent of its width; less is better. `constant` always answers the mean of the faces learnt from, `random` "
        "is the paper's encoder before training, `pca` and `hog` are features of the pixels that need no learning."
    )
    yield score_table(found)


def _teacher() -> Content:
    told = teacher_errors()
    yield Text(
        f"How far FaceMesh is off on AFLW2000-3D, {told['stills']} stills, on {told['unfound']} of which the "
        "detector finds no face: mean absolute errors against that set's labels, with 95 % bootstrap intervals over "
        "stills. These labels come from fitting a 3D model to each still and have errors of their own."
    )
    keys = ("pitch", "yaw", "roll", "landmarks_ocular_pct", "mouth_pct")
    titles = ("pitch °", "yaw °", "roll °", "68 landmarks % of inter-ocular", "mouth's opening % of its width")
    rows = [[name, f"{one['n']}", *(score_cell(one[key]) for key in keys)] for name, one in told["bands"].items()]
    yield Table(["faces", "n", *titles], rows)


class _Shown:
    """What is drawn of the faces.

    Args:
        faces: the labelled set.
        models: names of the compared encoders, the reference first.
        predictions: file of tables.Predictions.
        scratch: folder for pictures.
    """

    def __init__(self, faces: FaceSet, models: Sequence[str], predictions: Path, scratch: Path) -> None:
        self._faces, self._models, self._scratch = faces, models, scratch
        self._predictions = predictions

    def _of(self, encoder: str) -> pd.DataFrame:
        """All repeats of an encoder."""
        return read_predictions(self._predictions, encoder, REGULARISED)

    def landmarks(self) -> Content:
        yield picture(
            self._scratch / "landmarks.png",
            "Faces with the teacher's landmarks and those of the probes, a row for each encoder",
            "A column is the middle face of one person; of many, people are evenly spread over their names. Dots are "
            "the teacher's landmarks, crosses what a probe that never saw this person reads from the embedding. Above "
            "each face its mean error in percent of the inter-ocular distance. First repeat of the folds.",
            self._landmarks,
            90,
        )

    def _landmarks(self) -> Figure:
        table = self._faces.labelled.table()
        people = table["identity"].unique()
        chosen = people[np.unique(np.linspace(0, len(people) - 1, min(_FACES, len(people))).round().astype(int))]
        rows = [table.index[table["identity"] == name] for name in chosen]
        faces = table.loc[[mine[len(mine) // 2] for mine in rows]]
        crops = np.stack([self._faces.labelled.crop(row, SIZE) for row in faces.itertuples()])
        encoders = [*self._models, *BASELINES]
        dots, crosses, errors = [], [], []
        for encoder in encoders:
            found = self._of(encoder)
            found = found[(found["task"] == "landmarks68") & (found["seed"] == 0)].set_index("face_id")
            true, guess = (np.stack(found.loc[faces["face_id"], key].tolist()) for key in ("target", "prediction"))
            dots.append(true.reshape(len(faces), -1, 2))
            crosses.append(guess.reshape(len(faces), -1, 2))
            errors.append(landmark_errors(guess, true))
        images = np.broadcast_to(crops, (len(encoders), *crops.shape))
        return landmark_cases(
            images, np.stack(dots), np.stack(crosses), np.stack(errors), encoders, ("teacher", "probe")
        )

    def pose(self) -> Content:
        yield picture(
            self._scratch / "pose.png",
            "Roll, pitch and yaw by the probes against those of the teacher",
            "A point is a face, read by a probe that never saw its person; on the diagonal it agrees with the teacher. "
            "First repeat of the folds.",
            self._pose,
            70,
        )

    def _pose(self) -> Figure:
        encoders = [*self._models, "hog"][:_POSES]
        found = {encoder: arrays(self._of(encoder), "pose") for encoder in encoders}
        true = found[encoders[0]][2]
        return pose_scatter(true, {name: each[1][0] for name, each in found.items()}, "teacher")

    def people(self) -> Content:
        rows_of = self._of(self._models[0])
        metrics = [METRICS[task][-1] for task in ("pose", "landmarks68", "mouth")]
        errors: dict[str, dict[str, float]] = {}
        for task in ("pose", "landmarks68", "mouth"):
            identities, prediction, target = arrays(rows_of, task)
            by_face = face_errors(task, prediction, target)[METRICS[task][-1]].mean(axis=0)
            for name, mean in pd.Series(by_face).groupby(identities).mean().items():
                errors.setdefault(str(name), {})[METRICS[task][-1]] = float(mean)
        rows = [
            [
                f"`{person.name}`",
                *(
                    f"{value:,}"
                    for value in (person.videos, person.samples, person.without_face, person.looked_at, person.unsure)
                ),
                *(f"{errors[person.name][metric]:.1f}" if person.name in errors else NOTHING for metric in metrics),
            ]
            for person in self._faces.people
        ]
        yield Text(
            f"What became of each person's videos, and the errors of `{self._models[0]}` on their faces. A person with "
            "fewer than two faces is not scored."
        )
        head = ["person", "videos", "frames", "without a face", "looked at", "left out", *(TITLES[m] for m in metrics)]
        yield Table(head, rows)
