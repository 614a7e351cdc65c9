"""The params under which faces are found in new videos and images: by default those of the model's training data."""

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from fabnet.config import ExtractParams
from fabnet.errors import ConfigError, UserError
from fabnet.files import hash_file
from fabnet.video.recipe import recipe

Way = Literal["cropped", "detect"]

#: By the `source` of a recipe. Others follow boxes that came with their videos.
_WAYS: dict[str, Way] = {"cropped": "cropped", "detected": "detect"}
_SOURCES = {"cropped": "cropped", "detect": "folder"}

#: The time limit of one input: long enough for any video, yet a decoder that hangs is stopped.
_LIMIT_S = 86_400.0


def params_of(
    model_recipe: dict[str, Any],
    size: int,
    faces: Way | None = None,
    detector_model: Path | None = None,
    **others: Any,
) -> ExtractParams:
    """Params under which new inputs are cropped by the recipe of a model, as far as the other arguments allow.

    Args:
        model_recipe: the crop recipe of the frames that the model was trained on (crop.json).
        size: side of a crop in pixels.
        faces: `cropped` (one face in the middle of each frame) or `detect`; None takes the recipe's.
        detector_model: the ONNX file of YuNet, which the recipe names by its hash.
        others: values of ExtractParams that override the recipe's; None keeps them.

    Raises:
        UserError: the recipe needs boxes that new inputs do not have, or a value is invalid.
    """
    if faces is not None and faces not in _SOURCES:
        raise UserError(f"faces {faces}: must be one of {', '.join(_SOURCES)}")
    way = faces or _WAYS.get(model_recipe.get("source", ""))
    if way is None:
        raise UserError(
            f"the model learnt from crops along the boxes of source `{model_recipe.get('source')}`, which new inputs "
            "do not have; --faces detect finds boxes of another kind, and --force says that this is meant"
        )
    values: dict[str, Any] = {"videos": ".", "source": _SOURCES[way], "image_size": size, "clip_limit_s": _LIMIT_S}
    kept = ("margin", "jpeg_quality", "crop", "recrop", "fps")
    values |= {key: model_recipe[key] for key in kept if key in model_recipe}
    if way == "detect":
        values["detection"] = _detection(model_recipe.get("detection", {}), detector_model)
        if "tracking" in model_recipe:
            values["tracking"] = model_recipe["tracking"]
    values |= {key: value for key, value in others.items() if value is not None}
    try:
        return ExtractParams.standalone(**values)
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
    """Refuse crops of another recipe than the model was trained on.

    Args:
        model_recipe: the crop recipe of the frames that the model was trained on (crop.json).
        params: under which new inputs would be cropped.

    Raises:
        UserError: names both recipes, where they differ and how to go on.
    """
    ours = recipe(params)
    if ours["hash"] == model_recipe.get("hash"):
        return
    way = _WAYS.get(model_recipe.get("source", ""))
    asked_for = any(model_recipe.get(key) != ours[key] for key in ("source", "margin"))
    keep = f"leave --faces and --margin to the model (--faces {way}), " if way and asked_for else ""
    raise UserError(
        f"the model learnt from crops of recipe {model_recipe.get('hash')}, these would be of {ours['hash']}: "
        f"{'; '.join(differences(model_recipe, ours))}. Embeddings of other crops mean something else: {keep}train on "
        "crops of this recipe, or go on all the same with --force"
    )


def differences(model_recipe: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """The keys in which two recipes differ, as `key: VALUE in the model's, VALUE here`.

    Args:
        model_recipe: of the model (crop.json).
        ours: of new crops, see fabnet.video.recipe.recipe.
    """
    theirs, mine = _flat(model_recipe), _flat(ours)
    keys = [key for key in sorted(theirs | mine) if key not in ("hash", "fps") and theirs.get(key) != mine.get(key)]
    return [f"{key}: {theirs.get(key, 'absent')} in the model's, {mine.get(key, 'absent')} here" for key in keys]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
