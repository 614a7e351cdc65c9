"""A scorecard from videos: faces and the teacher's readings, embeddings, probes, then the page.

The folder is a cache: each step leaves what it makes as a whole, and a later run does only what is missing.

    faces/       the labelled set: labels.parquet, faces.tar
    embeddings/  KIND/NAME, as in the pipeline
    probes/      predictions.parquet, scores.json, heads/NAME.npz
    scorecard.html, scorecard.json
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fabnet.attributes.folder import LeftOut
from fabnet.attributes.own_table import LabelsAlone
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.files import atomic_file, locked, write_json
from fabnet.inference.probe import PROBE, ProbeScores, bootstrap_params, open_all, probe, probe_params
from fabnet.inference.scorecard.encoders import CropEncoder, crop_notes, embed_all, of_model, open_models, open_others
from fabnet.inference.scorecard.face_set import By, FaceSet, find_clips, read_faces
from fabnet.inference.scorecard.page import page
from fabnet.inference.scorecard.teacher import teacher_errors
from fabnet.model import Device, Model
from fabnet.video.mesh import MIN_PRESENCE
from fabnet.video.recipe import recipe

PAGE, NUMBERS = "scorecard.html", "scorecard.json"

#: Added on each side of a detector's box, as a share of it, for models that did not learn from detected faces.
_MARGIN = 0.2
#: Side of the crops that are kept, in pixels; encoders see them shrunk to their own.
_SIDE = 256


@dataclass(frozen=True)
class Options:
    """How a scorecard is made.

    Attributes:
        by: who is a person, see find_clips.
        fps: sampled frames per second of video.
        most: faces of a person.
        margin: added on each side of a face's box, as a share of it; None takes the first model's.
        faces: `detect`, or `cropped` where each video shows one centred face.
        detector_model: YuNet's ONNX file, where the first model's faces were found by it.
        workers: processes that read videos; 0 is one per core.
        seed: of folds' resamples and splits.
        bootstrap: resamples of people.
    """

    by: By = "folder"
    fps: float = 2.0
    most: int = 40
    margin: float | None = None
    faces: Any = "detect"
    detector_model: Path | None = None
    workers: int = 0
    seed: int = 0
    bootstrap: int = 1000


@dataclass(frozen=True)
class Scorecard:
    """What was found.

    Attributes:
        faces: the labelled set.
        scores: of the probes.
        notes: what to bear in mind, a line each.
    """

    faces: FaceSet
    scores: ProbeScores
    notes: list[str]


def make_scorecard(
    videos: Path,
    models: Sequence[tuple[str | None, str]],
    out: Path,
    options: Options,
    device: Device = "auto",
    others: Sequence[str] = (),
) -> Scorecard:
    """Score models, and baselines beside them, against what FaceMesh reads of the faces in some videos.

    Args:
        videos: folder.
        models: names, where they are given, and what `fabnet.load` takes; others are compared with the first.
        out: folder of all results.
        options: how.
        device: where networks run.
        others: encoders that anybody made, as `fabnet.encoders.open.open_encoder` takes them; they see the same crops.

    Raises:
        UserError: a model, an encoder or the videos cannot be used, they show too few people, or the teacher finds no
            face.
    """
    if out.is_file():
        raise UserError(f"{out}: is a file; --out names a folder")
    clips = find_clips(videos, options.by)
    opened = open_models(models, device)
    encoders = [of_model(name, model) for name, model in opened]
    encoders += open_others(others, [each.name for each in encoders])
    params = crop_params(opened[0][1], max(_SIDE, *(model.size for _, model in opened)), options)
    with locked(out / ".lock", f"{out}: another process is writing this scorecard; wait for it or stop it"):
        # A page must not stand beside numbers of another run, should this one fail.
        for stale in (out / PAGE, out / NUMBERS):
            stale.unlink(missing_ok=True)
        faces = read_faces(clips, params, options.most, options.seed, out / "faces")
        faces.require_people()
        folders = embed_all(faces, encoders, out / "embeddings")
        scores = _probe(faces, folders, options, out / "probes")
        crops = recipe(params)
        notes = [note for name, model in opened if (note := crop_notes(name, model, crops))]
        made = Scorecard(faces, scores, notes)
        write_json(out / NUMBERS, numbers(made, encoders, crops))
        html = page(faces, scores, encoders, notes, out / "probes" / "predictions.parquet")
        with atomic_file(out / PAGE) as temporary:
            temporary.write_text(html)
    with suppress(OSError):
        (out / ".lock").unlink()
    return made


def crop_params(model: Model, size: int, options: Options) -> ExtractParams:
    """How faces are found and cropped: as the first model's, as far as that is known of detected faces.

    Args:
        model: the first one.
        size: side of the crops in pixels.
        options: faces, margin, fps and workers.
    """
    margin = options.margin
    if margin is None and options.faces == "detect" and model.recipe.get("source") != "detected":
        margin = _MARGIN
    return params_of(
        model.recipe,
        size,
        options.faces,
        options.detector_model,
        margin=margin,
        fps=options.fps,
        workers=options.workers,
    )


def _probe(faces: FaceSet, folders: dict[str, Path], options: Options, out: Path) -> ProbeScores:
    table = faces.labelled.table()
    labels = LabelsAlone(str(faces.folder / "labels.parquet"), table, LeftOut(), [])
    # By folds, however many faces there are: people are few.
    folds = {**PROBE["folds"], "below": len(table) + 1}
    if out.exists():
        shutil.rmtree(out)
    with TemporaryDirectory() as scratch:
        opened = open_all(list(folders.items()), Path(scratch))
        resampled = bootstrap_params(options.bootstrap, options.seed)
        return probe(opened, labels, probe_params(folds=folds), resampled, out, strict=True, paper=False)


def numbers(made: Scorecard, encoders: Sequence[CropEncoder], crops: dict[str, Any]) -> dict[str, Any]:
    """The content of scorecard.json.

    Args:
        made: the scorecard.
        encoders: those that were compared.
        crops: recipe of the crops.
    """
    faces, record = made.faces, made.scores.record
    return {
        "teacher": {"network": "FaceMesh", "presence": MIN_PRESENCE, "aflw2000": teacher_errors()},
        "counts": faces.counts(),
        "people": [{**asdict(person), "used": person.used} for person in faces.people],
        "rejected": [asdict(bad) for bad in faces.rejected],
        "fps": faces.fps,
        "faces_per_person": faces.most,
        "crops": crops,
        "encoders": {
            each.name: {"source": each.source, "saw": each.saw, "weights_sha256": each.weights_sha256}
            for each in encoders
        },
        "protocol": record["protocol"],
        "scores": made.scores.scores["regularised"],
        "paired": made.scores.paired,
        "notes": made.notes,
    }
