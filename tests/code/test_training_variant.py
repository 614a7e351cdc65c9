"""A variant trained from track shards to weights on disk, and the profile of the paper taking its first steps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
import torch

from fabnet import tables
from fabnet.config import VariantParams, load_params
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json
from fabnet.frames.pairs import PairSampler
from fabnet.frames.shards import TarWriter, member_name, merge, shard_name
from fabnet.networks.build import build, load_model
from fabnet.profiles import use_profile
from fabnet.training.batches import Batches
from fabnet.training.loop import Trainer
from fabnet.training.variant import train_variant

ROOT = Path(__file__).parents[2]
SIZE = 16
RECIPE = {"size": SIZE, "hash": "0123456789abcdef"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six identities with two tracks of four frames."""
    folder = tmp_path_factory.mktemp("data")
    part, frames = folder / "part", folder / "frames"
    part.mkdir()
    frames.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    with open(part / shard_name(0), "wb") as file:
        tar = TarWriter(file)
        for person in range(6):
            for video in range(2):
                track = f"p{person}/v{video}/c/0"
                for frame in range(4):
                    picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                    jpeg = simplejpeg.encode_jpeg(picture)
                    offset = tar.add(member_name(track, frame), jpeg)
                    place = (shard_name(0), offset, len(jpeg), 0.0, 0.0, 16.0, 16.0, 1.0, 1.0)
                    clip = f"p{person}/v{video}/c.mp4"
                    rows.append((track, f"p{person}", f"v{video}", clip, frame, float(frame), *place))
        tar.close()
    tables.write(
        pd.DataFrame(rows, columns=list(tables.Index.to_schema().columns)), part / "index.parquet", tables.Index
    )
    merge([part], frames, 1)
    (frames / "crop.json").write_text(json.dumps(RECIPE))
    people = [f"p{person}" for person in range(6)]
    split = ["train"] * 4 + ["validation", "test"]
    tables.write(pd.DataFrame({"identity": people, "split": split}), folder / "splits.parquet", tables.Splits)
    return folder


def params(**changes) -> VariantParams:
    values = {"base_filters": 4, "embedding_dim": 8, "samples": 64, "batch_size": 8, "validation_every": 32}
    values |= {"validation_samples": 8, "learning_rate": 0.01, "checkpoint_every": 32, "precision": "fp32"}
    return VariantParams(**(values | changes))


@pytest.mark.parametrize("objective", ["fabnet", "autoencoder"])
def test_a_variant_leaves_whole_outputs_and_no_checkpoint(data, tmp_path, objective):
    points = []
    values = params(objective=objective)
    out = tmp_path / "model"
    card = train_variant("v", values, data / "frames", data / "splits.parquet", out, tmp_path / "work", points.append)
    assert sorted(path.name for path in out.iterdir()) == ["best.pt", "history.parquet", "last.pt", "model.json"]
    assert read_json(out / "model.json") == card
    assert card["weights_sha256"] == hash_file(out / "best.pt")
    assert card["recipe"] == RECIPE
    assert list((tmp_path / "work").iterdir()) == []
    history = tables.read(out / "history.parquet", tables.History)
    assert history["loss"].tolist() == [point.loss for point in points]
    model, _ = load_model(out)
    assert card["best_validation_loss"] == history["loss"][history["split"] == "validation"].min()
    assert model.encoder.embedding_dim == 8


def test_training_depends_on_the_seed_alone(data, tmp_path):
    weights = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / str(number)
        train_variant("v", params(seed=seed), data / "frames", data / "splits.parquet", out, tmp_path / "work")
        weights.append(torch.load(out / "last.pt", weights_only=True)["encoder.layers.0.weight"])
        torch.manual_seed(number)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_checkpoint_of_other_params_or_data_is_not_resumed(data, tmp_path):
    """Its key covers both: what was begun under others stays where it is, untouched."""
    work = tmp_path / "work"

    class Killed(Exception):
        pass

    def kill(point):
        if point.step >= 6:
            raise Killed

    with pytest.raises(Killed):
        train_variant("v", params(), data / "frames", data / "splits.parquet", tmp_path / "a", work, kill)
    (begun,) = work.iterdir()
    before = hash_file(begun / "checkpoint.pt")
    train_variant("v", params(flip=False), data / "frames", data / "splits.parquet", tmp_path / "b", work)
    assert hash_file(begun / "checkpoint.pt") == before
    steps = []
    train_variant(
        "v", params(), data / "frames", data / "splits.parquet", tmp_path / "c", work, lambda p: steps.append(p.step)
    )
    assert min(steps) > 4  # it went on after the checkpoint at step 4


def test_a_split_without_tracks_is_named(data, tmp_path):
    people = pd.DataFrame({"identity": [f"p{i}" for i in range(6)], "split": ["train"] * 5 + ["test"]})
    people.to_parquet(tmp_path / "splits.parquet", index=False)
    with pytest.raises(UserError, match="no tracks of the validation identities"):
        train_variant("v", params(), data / "frames", tmp_path / "splits.parquet", tmp_path / "m", tmp_path / "work")
    with pytest.raises(UserError, match="run the split stage first"):
        train_variant("v", params(), data / "frames", tmp_path / "none.parquet", tmp_path / "m", tmp_path / "work")
    assert not (tmp_path / "m").exists()


def test_the_profile_of_the_paper_starts(tmp_path):
    """256 px, 32 filters, SGD: it is valid and takes two steps at full size."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    use_profile("paper", tmp_path / "params.yaml", ROOT / "profiles")
    everything = load_params(tmp_path / "params.yaml")
    values = everything.train.variant("fabnet").model_copy(
        update={"samples": 16, "validation_samples": 2, "workers": 0}
    )
    assert (values.base_filters, values.optimiser, values.learning_rate, values.batch_size) == (32, "sgd", 0.001, 8)
    assert everything.extract.size == 256

    class Noise:
        def decode(self, rows):
            return np.random.default_rng(0).integers(0, 256, (len(rows), 256, 256, 3), dtype=np.uint8)

    device = torch.device("cpu")
    sampler = PairSampler(np.array([0, 9]), np.array([9, 9]), np.array([0, 1]), 2, 0)
    batches = Batches(Noise(), sampler, values.batch_size, device, mirror=values.flip, jitter_amount=values.jitter)
    trainer = Trainer(build("fabnet", 256, 32, 256), batches, batches, values, device)
    result = trainer.run()
    assert trainer.step == 2
    assert np.isfinite([point.loss for point in result.history]).all()
