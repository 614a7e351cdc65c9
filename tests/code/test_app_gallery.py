"""Nearest neighbours: the right ones, from every kind of gallery."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
import yaml
from inference_files import SIZE, write_model, write_talk
from labelled_faces import write_labelled_faces

from fabnet.attributes.sets import iterate_crops, open_set
from fabnet.config import load_params
from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.files import read_json
from fabnet.inference.app import gallery as module
from fabnet.inference.app.analysis import open_reader
from fabnet.inference.app.gallery import Gallery, find_gallery, open_gallery
from fabnet.inference.embed import embed
from fabnet.model import load
from fabnet.probing.embeddings import write_embeddings
from fabnet.retrieval.exact import unit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model, a labelled set that it embedded, and params that name the set."""
    folder = tmp_path_factory.mktemp("project")
    write_model(folder / "models/fabnet")
    write_labelled_faces(folder / "faces", identities=6)
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["sets"] = {"tiny": {"kind": "synthetic", "path": str(folder / "faces")}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    reader = open_reader(load(folder / "models/fabnet"))
    labelled = open_set("tiny", load_params(folder / "params.yaml").labelled_set("tiny"))
    ids, crops = next(iterate_crops(labelled, SIZE, 24))
    meta = {"encoder": "fabnet", "set": "tiny", "weights_sha256": reader.model.weights_sha256, "recipe_hash": "x"}
    out = folder / "embeddings/tiny/trained/fabnet"
    write_embeddings(out, ids, [reader.model.embed(crops)], reader.model.dimension, 24, meta)
    return folder, reader, ids, crops


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project[0])
    return project


def test_neighbours_are_those_of_a_naive_search():
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(50, 8)).astype(np.float32)
    embeddings[7] = 0
    asked = random.normal(size=8).astype(np.float32)
    gallery = Gallery("random", unit(embeddings), lambda number: (None, str(number)), 4)
    found = gallery.nearest(asked, 5)
    cosines = []
    for number, each in enumerate(embeddings):
        length = np.sqrt((each**2).sum()) * np.sqrt((asked**2).sum())
        cosines.append((float(each @ asked / length) if length else 0.0, number))
    best = sorted(cosines, key=lambda pair: (-pair[0], pair[1]))[:5]
    assert found.names == [f"gone: {number}" for _, number in best]
    np.testing.assert_allclose(found.similarities_K, [cosine for cosine, _ in best], atol=1e-6)
    assert len(gallery.nearest(asked, 99).names) == 50


def test_the_projects_labelled_faces_are_the_default(here):
    _, reader, ids, crops = here
    gallery, why = find_gallery(reader)
    assert gallery is not None
    assert (gallery.title, why) == ("24 faces of the labelled set tiny", "")
    found = gallery.nearest(reader.model.embed(crops[5:6])[0], 3)
    assert found.names[0] == ids[5]
    assert found.similarities_K[0] == pytest.approx(1)
    np.testing.assert_array_equal(found.crops_KHWC[0], crops[5])


def test_frames_are_sampled_and_embedded(here, monkeypatch, tmp_path):
    _, reader, _, crops = here
    store = _Store(crops, reader.model.recipe)
    (tmp_path / "index.parquet").touch()
    monkeypatch.setattr(module, "FrameStore", lambda path: store)
    monkeypatch.setattr(module, "SAMPLED", 12)
    gallery = open_gallery(reader, tmp_path)
    assert gallery.title == f"12 of 24 frames of {tmp_path}"
    found = gallery.nearest(reader.model.embed(crops[23:24])[0], 1)
    assert found.names == ["track1 11"]
    np.testing.assert_array_equal(found.crops_KHWC[0], crops[23])
    store.recipe = {"hash": "other"}
    with pytest.raises(UserError, match="its crops are of recipe other, the model learnt from"):
        open_gallery(reader, tmp_path)


class _Store:
    """As much of a FrameStore of two tracks as a gallery asks for."""

    def __init__(self, crops, recipe):
        self.crops, self.recipe, self.frame_count = crops, recipe, len(crops)
        self.frame_no = np.tile(np.arange(12), 2)
        self.tracks = self
        self.start = np.array([0, 12])
        self.names = pa.array(["track0", "track1"])

    def decode(self, rows):
        return self.crops[rows]


def test_a_table_of_fabnet_embed_is_a_gallery_whose_crops_are_cut_again(here, tmp_path):
    _, reader, _, crops = here
    clip = write_talk(tmp_path / "talk.mp4", 1)
    for number in (3, 4):
        image = cv2.resize(crops[number], (96, 96), interpolation=cv2.INTER_CUBIC)
        (tmp_path / f"{number}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95))
    inputs = [clip, tmp_path / "3.jpg", tmp_path / "4.jpg"]
    params = params_of(reader.model.recipe, reader.model.size, workers=1, fps=5.0)
    embed(inputs, reader.model, tmp_path / "faces.parquet", params)
    gallery = open_gallery(reader, tmp_path / "faces.parquet")
    assert gallery.title == f"7 faces of {tmp_path / 'faces.parquet'}"
    images = [gallery.picture(number) for number in range(7)]
    assert [name for _, name in images] == [
        "talk.mp4",
        *(f"talk.mp4 {number / 5:.1f} s" for number in range(1, 5)),
        "3.jpg",
        "4.jpg",
    ]
    # What is shown is what was embedded, up to the JPEG in between.
    again = unit(reader.model.embed(np.stack([image for image, _ in images])))
    assert ((again * gallery.directions_ND).sum(axis=1) > 0.99).all()
    (tmp_path / "4.jpg").unlink()
    last = gallery.nearest(gallery.directions_ND[6], 1)
    assert last.names == ["gone: 4.jpg"]
    assert (last.crops_KHWC == 200).all()


def test_galleries_of_other_models_and_other_things_are_refused(here, tmp_path):
    folder, _, _, _ = here
    stranger = open_reader(load(write_model(tmp_path / "other", seed=1)))
    path = folder / "embeddings/tiny/trained/fabnet"
    with pytest.raises(UserError, match=r"its embeddings were made with weights .*; embed the faces with it"):
        open_gallery(stranger, path)
    assert find_gallery(stranger) == (
        None,
        "No gallery: there are no embeddings of this model here; --gallery names some.",
    )
    (tmp_path / "notes.parquet").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.parquet: not a Parquet file"):
        open_gallery(stranger, tmp_path / "notes.parquet")
    for name in ("index.parquet", "crop.json"):
        (tmp_path / name).write_text('{"size": 32}')
    with pytest.raises(UserError, match="its index cannot be read"):
        open_gallery(stranger, tmp_path)
    with pytest.raises(UserError, match="no gallery; give embeddings/SET/trained/NAME"):
        open_gallery(stranger, tmp_path / "nowhere")
    assert read_json(path / "meta.json")["set"] == "tiny"
