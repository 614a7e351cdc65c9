"""How faces are found in new videos and images: as in those the model learnt from, unless a person asks otherwise."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from fabnet.config import ExtractParams
from fabnet.errors import ConfigError, UserError
from fabnet.files import hash_file
from fabnet.inference.inputs import Input
from fabnet.video.clips import Clip
from fabnet.video.crop import square
from fabnet.video.detect import open_detector
from fabnet.video.faces import Face, Frame, TrackEnd
from fabnet.video.images import image_frames
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected
from fabnet.video.sources.cropped import Cropped
from fabnet.video.sources.folder import Folder

Way = Literal["cropped", "detect"]

#: By the `source` of a recipe. Others follow boxes that came with their videos.
_WAYS: dict[str, Way] = {"cropped": "cropped", "detected": "detect"}
_SOURCES = {"cropped": "cropped", "detect": "folder"}

#: A video of hours is no reason to give up; one that hangs for a day is.
_LIMIT_S = 86_400.0


def params_of(
    model_recipe: dict[str, Any],
    size: int,
    faces: Way | None = None,
    detector_model: Path | None = None,
    **others: Any,
) -> ExtractParams:
    """Params under which new inputs give crops as the recipe of a model says, as far as `faces` lets them.

    Args:
        size: side of a crop in pixels.
        faces: the way to the faces; None takes the recipe's.
        detector_model: the file of a detector that the recipe names by its hash.
        others: values of ExtractParams that go before the recipe's; None is none.

    Raises:
        UserError: the recipe's way is none that new inputs can go, or a value is impossible.
    """
    way = faces or _WAYS.get(model_recipe.get("source", ""))
    if way is None:
        raise UserError(
            f"the model learnt from crops along the boxes of source `{model_recipe.get('source')}`, which new inputs "
            "do not have; --faces detect finds boxes of another kind, and --force says that this is meant"
        )
    values: dict[str, Any] = {"videos": ".", "source": _SOURCES[way], "image_size": size, "clip_limit_s": _LIMIT_S}
    values |= {key: model_recipe[key] for key in ("margin", "jpeg_quality", "recrop", "fps") if key in model_recipe}
    if way == "detect":
        values["detection"] = _detection(model_recipe.get("detection", {}), detector_model)
        if "tracking" in model_recipe:
            values["tracking"] = model_recipe["tracking"]
    values |= {key: value for key, value in others.items() if value is not None}
    try:
        return ExtractParams.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from None


def _detection(described: dict[str, Any], detector_model: Path | None) -> dict[str, Any]:
    keys = ("detector", "every", "longest_side", "sha256")
    values: dict[str, Any] = {key: described[key] for key in keys if key in described}
    if detector_model is not None:
        if not detector_model.is_file():
            raise UserError(f"{detector_model}: no such file; --detector-model names the ONNX file of YuNet")
        return values | {"detector": "yunet", "model": detector_model, "sha256": hash_file(detector_model)}
    if values.get("detector") == "yunet":
        raise UserError(
            f"the model's faces were found by YuNet (SHA-256 {str(values.get('sha256'))[:12]}...): give its file by "
            "--detector-model"
        )
    return values


def check_recipe(model_recipe: dict[str, Any], params: ExtractParams) -> None:
    """Refuse crops of another recipe than the model learnt from.

    Raises:
        UserError: names both recipes, where they differ and how to go on.
    """
    ours = recipe(params)
    if ours["hash"] == model_recipe.get("hash"):
        return
    way = _WAYS.get(model_recipe.get("source", ""))
    keep = f"leave --faces and --margin to the model (--faces {way}), " if way else ""
    raise UserError(
        f"the model learnt from crops of recipe {model_recipe.get('hash')}, these would be of {ours['hash']}: "
        f"{'; '.join(differences(model_recipe, ours))}. Embeddings of other crops mean something else: {keep}train on "
        "crops of this recipe, or go on all the same with --force"
    )


def differences(model_recipe: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """The keys in which two recipes differ, as `key: VALUE in the model's, VALUE here`."""
    theirs, mine = _flat(model_recipe), _flat(ours)
    keys = [key for key in sorted(theirs | mine) if key not in ("hash", "fps") and theirs.get(key) != mine.get(key)]
    return [f"{key}: {theirs.get(key, 'absent')} in the model's, {mine.get(key, 'absent')} here" for key in keys]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def look(
    each: Input, params: ExtractParams, watch: Callable[[Iterator[Frame]], Iterator[Frame]] = iter
) -> Iterator[Face | TrackEnd]:
    """The faces of an input, see fabnet.video.faces.FindFaces. An image is a video of one frame, whose faces
    cannot be seen twice and are believed at once.

    Args:
        watch: sees the frames on their way to whoever finds the faces.

    Raises:
        Rejected: the input is of no use, known perhaps only after some faces.
    """
    clip = Clip(each.path, each.name, "input", "input")
    source = Folder(params) if params.source == "folder" else Cropped(params)
    if each.kind == "video":
        return source.find(clip)(watch(source.frames(clip)))
    find = partial(_detect, clip, params) if params.source == "folder" else source.find(clip)
    return find(watch(image_frames([(0, 0.0, each.path)], params.clip_limit_s)))


def _detect(clip: Clip, params: ExtractParams, frames: Iterator[Frame]) -> Iterator[Face]:
    """All that the detector finds in an image."""
    detector = open_detector(params.detection)
    for frame in frames:
        found = detector.find(frame.image)
        if not found:
            raise Rejected("no_face", f"{detector.name} found none")
        for number, face in enumerate(found):
            yield Face(clip.track(number), 0, frame.time_s, frame.image, square(face.box, params.margin))
