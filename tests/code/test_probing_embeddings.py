"""Embeddings and predictions on disk, and the features that took no learning."""

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from fabnet.errors import TableError, UserError
from fabnet.probing import embeddings
from fabnet.probing.embed_set import HOG_DIMENSION, PixelPca, common_scale, hog
from fabnet.probing.embeddings import read_embeddings, rows_of, write_embeddings
from fabnet.probing.predictions import encoders_and_probes, frame, open_writer, read_predictions


@pytest.fixture
def crops():
    smooth = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (32, 32)) for image in smooth])


def test_embeddings_come_back(tmp_path):
    array = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    ids = [f"f{i}" for i in range(7)]
    write_embeddings(tmp_path / "e", ids, iter([array[:4], array[4:]]), 3, 7, {"encoder": "pca"})
    read_ids, read, meta = read_embeddings(tmp_path / "e")
    assert read_ids == ids
    assert isinstance(read, np.memmap)
    np.testing.assert_array_equal(read, array)
    assert meta == {"encoder": "pca", "dimension": 3}


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([np.zeros((2, 3))], "2 embeddings instead of 4"),
        ([np.zeros((3, 3)), np.zeros((3, 3))], "more than the 4"),
        ([np.full((4, 3), np.nan)], "not finite"),
    ],
)
def test_incomplete_or_broken_embeddings_leave_nothing(tmp_path, batches, message):
    with pytest.raises(ValueError, match=message):
        write_embeddings(tmp_path / "e", list("abcd"), batches, 3, 4, {})
    assert list(tmp_path.iterdir()) == []


def test_embeddings_that_lost_a_file_or_their_ids(tmp_path):
    write_embeddings(tmp_path / "e", list("ab"), [np.zeros((2, 3))], 3, 2, {})
    np.save(tmp_path / "e" / "embeddings.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(UserError, match=r"shape \(3, 3\), but ids.parquet beside it names 2 faces"):
        read_embeddings(tmp_path / "e")
    (tmp_path / "e" / "embeddings.npy").unlink()
    with pytest.raises(UserError, match=r"embeddings\.npy: no such file"):
        read_embeddings(tmp_path / "e")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_numbers_are_refused(tmp_path, monkeypatch, value):
    monkeypatch.setattr(embeddings, "_ROWS", 2)
    write_embeddings(tmp_path / "e", list("abcde"), [np.zeros((5, 3))], 3, 5, {})
    array = np.load(tmp_path / "e" / "embeddings.npy")
    array[[2, 4], 1] = value
    np.save(tmp_path / "e" / "embeddings.npy", array)
    with pytest.raises(UserError, match=r"embeddings\.npy: 2 of 5 rows .* not finite \(first: row 2, face c\); delete"):
        read_embeddings(tmp_path / "e")


@pytest.mark.parametrize("name", ["embeddings.npy", "meta.json", "ids.parquet"])
@pytest.mark.parametrize("kept", [0, 10, -8])
def test_partial_embeddings_are_one_line(tmp_path, name, kept):
    write_embeddings(tmp_path / "e", list("abcde"), [np.zeros((5, 3))], 3, 5, {})
    path = tmp_path / "e" / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"damaged|cannot be read as a table") as caught:
        read_embeddings(tmp_path / "e")
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=f"{name}: no such (file|table)"):
        read_embeddings(tmp_path / "e")


def test_embeddings_of_another_type_or_dimension_are_refused(tmp_path):
    write_embeddings(tmp_path / "e", list("ab"), [np.zeros((2, 3))], 3, 2, {})
    for array in (np.zeros((2, 3)), np.zeros((2, 4), np.float32)):
        np.save(tmp_path / "e" / "embeddings.npy", array)
        with pytest.raises(UserError, match=r"but meta\.json beside it says float32 with 3"):
            read_embeddings(tmp_path / "e")


def test_rows_are_found_by_id():
    assert rows_of(["c", "a"], ["a", "b", "c"], "here").tolist() == [2, 0]
    with pytest.raises(UserError, match=r"here: 1 labelled faces have no embedding \(first: d\)"):
        rows_of(["c", "d"], ["a", "b", "c"], "here")


def test_predictions_come_back_in_pixels(tmp_path):
    faces = pd.DataFrame({"face_id": ["a", "b"], "identity": ["p", "q"]})
    points = np.array([[[-1.0, 1.0], [0.0, 0.5]]])
    part = frame(
        "fabnet", "regularised", "landmarks5", faces, np.tile(points, (2, 1, 5)), np.tile(points[0], (1, 5)), 64
    )
    with open_writer(tmp_path / "p.parquet") as writer:
        writer.add(part)
        writer.add(part.assign(encoder="hog", probe="paper"))
    assert encoders_and_probes(tmp_path / "p.parquet") == [("fabnet", "regularised"), ("hog", "paper")]
    read = read_predictions(tmp_path / "p.parquet", "hog", "paper")
    assert read["seed"].tolist() == [0, 0, 1, 1]
    assert read["prediction"].iloc[0].tolist() == [0, 64] * 5
    assert read["target"].iloc[3].tolist() == [32, 48] * 5
    assert len(read_predictions(tmp_path / "p.parquet")) == 8


def test_predictions_cut_short_or_of_a_later_version_are_one_line(tmp_path):
    faces = pd.DataFrame({"face_id": ["a"], "identity": ["p"]})
    path = tmp_path / "p.parquet"
    with open_writer(path) as writer:
        writer.add(frame("fabnet", "regularised", "pose", faces, np.zeros((1, 1, 3)), np.zeros((1, 3)), 64))
    assert pq.read_schema(path).metadata == {b"fabnet.contract": b"Predictions 3"}
    whole = pq.read_table(path)
    pq.write_table(whole.replace_schema_metadata({"fabnet.contract": "Predictions 9"}), path)
    for read in (read_predictions, encoders_and_probes):
        with pytest.raises(TableError, match="was written under version 9 of Predictions"):
            read(path)
    path.write_bytes(path.read_bytes()[:-50])
    for read in (read_predictions, encoders_and_probes):
        with pytest.raises(TableError, match="cannot be read as a table"):
            read(path)


def test_illegal_predictions_leave_no_file(tmp_path):
    faces = pd.DataFrame({"face_id": ["a", "a"], "identity": ["p", "p"]})
    part = frame("fabnet", "regularised", "pose", faces, np.zeros((1, 2, 3)), np.zeros((2, 3)), 64)
    with pytest.raises(TableError), open_writer(tmp_path / "p.parquet") as writer:
        writer.add(part)
    assert list(tmp_path.iterdir()) == []


def test_pca_against_sklearn(crops):
    fitted = PixelPca(iter([crops[:15], crops[15:30]]))
    assert fitted.dimension == 29
    pixels = crops.reshape(40, -1) / 255
    expected = PCA(29).fit(pixels[:30]).transform(pixels)
    np.testing.assert_allclose(np.abs(fitted(crops)), np.abs(expected), atol=2e-3)


def test_pca_in_several_parts_keeps_the_main_components():
    random = np.random.default_rng(1)
    plane = random.uniform(-40, 40, (2, 32, 32, 3))
    crops = (128 + np.tensordot(random.uniform(-1, 1, (1300, 2)), plane, 1)).astype(np.uint8)
    features = PixelPca(crops[i : i + 100] for i in range(0, 1300, 100))(crops)
    assert features.shape == (1300, 256)
    assert features[:, :2].var(axis=0).sum() > 0.99 * features.var(axis=0).sum()


def test_hog_sees_the_direction_of_edges_not_their_brightness():
    stripes = np.tile((np.arange(64) // 4 % 2 * 100)[None, :, None], (64, 1, 3)).astype(np.uint8)
    vertical, horizontal, brighter = hog(np.stack([stripes, stripes.transpose(1, 0, 2), stripes * 2]))
    assert vertical.shape == (HOG_DIMENSION,)
    np.testing.assert_allclose(vertical, brighter, atol=1e-3)
    assert np.abs(vertical - horizontal).mean() > 0.1
    by_direction = vertical.reshape(-1, 9).sum(axis=0)
    assert by_direction[[0, 8]].sum() > 0.95 * by_direction.sum()  # gradients along x


def test_the_common_scale_makes_the_mean_variance_one_however_it_is_batched():
    features = np.random.default_rng(0).normal(3, [0.001, 0.002, 0.003], (50, 3)).astype(np.float32)
    scale = common_scale([features[:20], features[20:]])
    assert scale == pytest.approx(np.sqrt(features.astype(np.float64).var(axis=0).mean()), rel=1e-3)
    assert (features.astype(np.float64) / scale).var(axis=0).mean() == pytest.approx(1, rel=1e-2)


def test_an_empty_training_split_is_an_error():
    with pytest.raises(UserError, match="pca: the training split has fewer than 2 faces"):
        PixelPca([])
    with pytest.raises(UserError, match="random: the training split has fewer than 2 faces"):
        common_scale([])
