"""How faces are found follows the model's recipe; another recipe is refused with the keys that differ."""

import pytest

from fabnet.config import ExtractParams
from fabnet.errors import ConfigError, UserError
from fabnet.faces.face_params import check_recipe, differences, params_of
from fabnet.files import hash_file
from fabnet.video.recipe import recipe


def learnt(**values):
    return recipe(ExtractParams.standalone(**{"videos": ".", "image_size": 32, **values}))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"source": "voxceleb2", "jpeg_quality": 80, "fps": 2},
        {"source": "frames", "recrop": "authors"},
        {"source": "folder", "margin": 0.3},
        {"source": "folder", "crop": "aligned"},
        {"source": "folder", "detection": {"detector": "haar", "longest_side": 320}},
        {"source": "folder", "detection": {"every": 2, "longest_side": 500}, "tracking": {"smoothing_s": 0.1}},
    ],
)
def test_a_recipe_gives_params_of_the_same_recipe(values):
    there = learnt(**values)
    params = params_of(there, 32)
    assert recipe(params) == there
    check_recipe(there, params)
    with pytest.raises(UserError, match="version: 1 in the model's, ") as older:
        check_recipe(there | {"version": 1, "hash": "0"}, params)
    assert "leave --faces" not in str(older.value)  # no flag was the reason


def test_yunet_comes_by_its_file(tmp_path):
    (tmp_path / "yunet.onnx").write_bytes(b"weights")
    sha256 = hash_file(tmp_path / "yunet.onnx")
    detection = {"detector": "yunet", "model": "yunet.onnx", "sha256": sha256}
    there = learnt(source="folder", detection=detection)
    check_recipe(there, params_of(there, 32, detector_model=tmp_path / "yunet.onnx"))
    with pytest.raises(UserError, match=r"found by YuNet \(SHA-256 .*--detector-model"):
        params_of(there, 32)
    with pytest.raises(UserError, match=r"none\.onnx: no such file"):
        params_of(there, 32, detector_model=tmp_path / "none.onnx")
    (tmp_path / "yunet.onnx").write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"detection\.sha256"):
        check_recipe(there, params_of(there, 32, detector_model=tmp_path / "yunet.onnx"))


def test_another_recipe_is_refused_with_what_differs_and_how_to_go_on():
    there = learnt()
    params = params_of(there, 32, "detect", margin=0.25, fps=5)
    with pytest.raises(UserError) as caught:
        check_recipe(there, params)
    message = str(caught.value)
    for part in (
        there["hash"],
        recipe(params)["hash"],
        "source: cropped in the model's, detected here",
        "margin: 0.0 in the model's, 0.25 here",
        "detection.detector: absent in the model's, blazeface here",
        "--faces cropped",
        "--force",
    ):
        assert part in message
    assert "fps" not in message
    assert "\n" not in message


def test_differences_are_those_of_the_leaves():
    theirs = {"a": 1, "b": {"c": 2, "d": 3}, "hash": "x", "fps": 1}
    ours = {"a": 1, "b": {"c": 5}, "e": None, "hash": "y", "fps": 2}
    assert differences(theirs, ours) == ["b.c: 2 in the model's, 5 here", "b.d: 3 in the model's, absent here"]


def test_boxes_of_a_data_set_do_not_come_with_new_inputs():
    there = learnt(source="voxceleb1", margin=0.1)
    with pytest.raises(UserError, match=r"boxes of source `voxceleb1`.*--faces detect.*--force"):
        params_of(there, 32)
    params = params_of(there, 32, "detect")
    assert (params.source, params.margin) == ("folder", 0.1)
    with pytest.raises(UserError, match="source: voxceleb1 in the model's, detected here"):
        check_recipe(there, params)


def test_impossible_values_name_their_key():
    with pytest.raises(ConfigError, match=r"fps: .*greater than 0"):
        params_of(learnt(), 32, fps=0)
