"""The stage retrieve_frames, run as DVC runs it: neighbours among frames of test people, without labels."""

import contextlib
import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from inference_files import SIZE
from small_shards import write_small_shards
from warping_models import write_warping

from fabnet import tables
from fabnet.figures.pictures import Picture
from fabnet.files import read_json
from fabnet.frames.store import FrameStore
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.report.blocks import Text, gaps_of, section
from fabnet.report.retrieval import retrieval

ROOT = Path(__file__).parents[2]
VARIANTS = ("fabnet", "autoencoder")
TEST = ("p3", "p4", "p5")


def project(folder, **settings):
    """Six people of two videos of four frames, three of them for the test, and two networks."""
    data = folder / "data"
    data.mkdir()
    write_small_shards(data, SIZE)
    people = [f"p{number}" for number in range(6)]
    split = ["train", "train", "validation", "test", "test", "test"]
    tables.write(pd.DataFrame({"identity": people, "split": split}), data / "splits.parquet", tables.Splits)
    for objective in VARIANTS:
        write_warping(folder / "models" / objective, objective=objective)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"]["variants"] = {name: {"objective": name} for name in VARIANTS}
    params["train"]["finetuned"] = {}
    params["retrieve"] |= {"k": 3, "bootstrap": 100, "shown": [], "rows": {"queries": 2, "neighbours": 2}} | settings
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.syspath_prepend(str(ROOT / "stages"))
        importlib.import_module("retrieve_frames").main()
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return project(tmp_path_factory.mktemp("project"))


def test_neighbours_are_those_of_a_naive_search_beyond_the_video(done):
    store = FrameStore(done / "data/frames")
    names = {
        f"{track}/{store.frame_no[row]}": row
        for track, start, length in zip(
            store.tracks.names.to_pylist(), store.tracks.start, store.tracks.length, strict=True
        )
        for row in range(start, start + length)
        if track.split("/")[0] in TEST
    }
    ids, rows = list(names), list(names.values())
    found = tables.read(done / "retrieval/frames/neighbours.parquet", tables.RetrievedFaces)
    assert set(found["encoder"]) == set(VARIANTS)
    for encoder in VARIANTS:
        network, _ = load_model(done / "models" / encoder)
        with torch.no_grad():
            vectors = np.concatenate(list(embed_images(network.encoder, [store.decode(rows)]))).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for setting in ("kept", "left_out"):
            mine = found[(found["encoder"] == encoder) & (found["same_identity"] == setting)]
            assert set(mine["query"]) == set(ids)
            for i, query in enumerate(ids):
                parts = 1 if setting == "left_out" else 2  # person, or person/video
                other = [j for j, name in enumerate(ids) if name.split("/")[:parts] != query.split("/")[:parts]]
                ranked = mine[mine["query"] == query].sort_values("rank")
                cosine = vectors[other] @ vectors[i]
                near = [vectors[ids.index(name)] @ vectors[i] for name in ranked["neighbour"]]
                assert {ids.index(name) for name in ranked["neighbour"]} <= set(other)
                np.testing.assert_allclose(near, np.sort(cosine)[::-1][:3], atol=1e-5)


def test_the_report_shows_them_and_says_what_labels_would_be_needed_for(done):
    shown = section("Retrieval", "retrieval", lambda: retrieval([], done / "reports/retrieval")).sections[-1]
    assert list(gaps_of([shown])) == []
    said = " ".join(block.markdown for block in shown.blocks if isinstance(block, Text))
    assert "nobody labelled these frames" in said
    figures = [block.path.name for block in shown.blocks if isinstance(block, Picture)]
    assert figures == ["rows_fabnet.png", "rows_autoencoder.png"]
    told = read_json(done / "reports/retrieval/frames.json")
    assert told["faces"] == {"gallery": 24, "queries": 24}
    assert set(told["scores"]["kept"]["fabnet"]) == {"identity_share_pct"}


def test_too_few_frames_are_a_gap_and_stop_nothing(tmp_path):
    folder = project(tmp_path, k=24, gallery=25)
    told = read_json(folder / "reports/retrieval/frames.json")
    assert told["gaps"] == {"neighbours": "24 frames of test identities are too few for 24 neighbours of each"}
    assert told["scores"] == {}
    assert len(tables.read(folder / "retrieval/frames/neighbours.parquet", tables.RetrievedFaces)) == 0
