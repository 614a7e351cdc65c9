"""A variant trained from track shards to weights on disk, and the profile of the paper taking its first steps."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_shards import RECIPE, write_small_shards
from whole_sections import variant_params

from fabnet import tables
from fabnet.config import load_params
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.pairs import PairSampler
from fabnet.frames.store import FrameStore
from fabnet.networks.build import build, load_model
from fabnet.profiles import use_profile
from fabnet.training.batches import Batches
from fabnet.training.loop import Trainer
from fabnet.training.variant import train_variant

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_small_shards(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("objective", ["fabnet", "autoencoder", "rotation", "split_brain"])
def test_a_variant_leaves_whole_outputs_and_no_checkpoint(data, tmp_path, objective):
    points, tiny = (
        [],
        torch.tensor(1e-40),
    )  # denormal, as momentum becomes (findings/torch-momentum-never-reaches-zero.sh)
    assert tiny * 1 > 0

    def look(point):
        points.append(point)
        assert tiny * 1 == 0

    values = variant_params(objective=objective)
    out = tmp_path / "model"
    card = train_variant("v", values, data / "frames", data / "splits.parquet", out, tmp_path / "work", look)
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
        train_variant("v", variant_params(seed=seed), data / "frames", data / "splits.parquet", out, tmp_path / "work")
        weights.append(torch.load(out / "last.pt", weights_only=True)["encoder.layers.0.weight"])
        torch.manual_seed(number)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_disk_that_is_full_when_the_model_is_written_keeps_the_run(data, tmp_path, monkeypatch):
    """Nothing half is left in the place of the model, and the next run only has to write it."""
    where, work = (data / "frames", data / "splits.parquet"), tmp_path / "work"
    whole = train_variant("v", variant_params(), *where, tmp_path / "whole", work)
    save = torch.save

    def full(value, path):
        if Path(path).name == "last.pt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(value, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"m: the model could not be written \(.*No space left.*the checkpoint is kept"):
        train_variant("v", variant_params(), *where, tmp_path / "m", work)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole", "work"]
    monkeypatch.undo()
    points = []
    card = train_variant("v", variant_params(), *where, tmp_path / "m", work, points.append)
    assert points == []  # no step was taken again
    assert card["best_validation_loss"] == whole["best_validation_loss"]
    assert list(work.iterdir()) == []


def test_what_killed_processes_left_half_written_is_removed(data, tmp_path):
    """Half a checkpoint, and half a finished run that was being removed."""
    work = tmp_path / "work"
    (work / "v").mkdir(parents=True)
    (work / "v/.checkpoint-abc.pt").write_bytes(b"half")
    (work / ".v.done").mkdir()
    (work / ".v.done/checkpoint.pt").write_bytes(b"of no use")
    seen = []

    def look(point):
        seen.append([path.name for path in (work / "v").glob(".checkpoint-*")])

    train_variant("v", variant_params(), data / "frames", data / "splits.parquet", tmp_path / "m", work, look)
    assert seen[0] == []
    assert list(work.iterdir()) == []


class Killed(Exception):
    pass


def kill(point):
    if point.step >= 6:
        raise Killed


def test_a_run_begun_under_other_params_or_data_is_refused(data, tmp_path):
    """What was begun stays untouched, and goes on once everything is as it was."""
    work, where = tmp_path / "work", (data / "frames", data / "splits.parquet")
    with pytest.raises(Killed):
        train_variant("v", variant_params(), *where, tmp_path / "a", work, kill)
    before = hash_file(work / "v/checkpoint.pt")
    with pytest.raises(UserError, match=r"work/v: the run .* cannot resume: params.flip was True and is False"):
        train_variant("v", variant_params(flip=False), *where, tmp_path / "b", work)
    people = pd.read_parquet(where[1])
    people.iloc[[4, 5], 1] = ["test", "validation"]
    people.to_parquet(tmp_path / "other.parquet", index=False)
    with pytest.raises(UserError, match=r"cannot resume: inputs.splits was [0-9a-f]{12}\.\.\. and is"):
        train_variant("v", variant_params(), where[0], tmp_path / "other.parquet", tmp_path / "b", work)
    frames = tmp_path / "frames"
    shutil.copytree(where[0], frames)
    (frames / "crop.json").write_text(json.dumps(RECIPE | {"hash": "fedcba9876543210"}))
    with pytest.raises(UserError, match=r"inputs\.recipe was 0123456789abcdef and is fedcba9876543210"):
        train_variant("v", variant_params(), frames, where[1], tmp_path / "b", work)
    assert hash_file(work / "v/checkpoint.pt") == before
    assert not (tmp_path / "b").exists()
    steps = []
    train_variant("v", variant_params(), *where, tmp_path / "c", work, lambda point: steps.append(point.step))
    assert min(steps) > 4  # it went on after the checkpoint at step 4


def test_processes_that_params_do_not_tell_of_are_refused(data, tmp_path):
    """How many trained it is among the params of a run."""
    with pytest.raises(UserError, match=r"1 process.* processes says 2"):
        train_variant(
            "v",
            variant_params(processes=2),
            data / "frames",
            data / "splits.parquet",
            tmp_path / "a",
            tmp_path / "work",
        )


def test_two_trainers_of_one_variant(data, tmp_path):
    work, where = tmp_path / "work", (data / "frames", data / "splits.parquet")
    refused = []

    def second(point):
        with pytest.raises(UserError, match="another process is training this run"):
            train_variant("v", variant_params(), *where, tmp_path / "b", work)
        refused.append(point)

    train_variant("v", variant_params(), *where, tmp_path / "a", work, second)
    assert refused


def test_three_sources_started_from_one_with_a_curriculum(data, tmp_path):
    """The walk of the paper: FAb-Net, then fine-tuning with three sources, the flow decoder frozen."""
    where, work = (data / "frames", data / "splits.parquet"), tmp_path / "work"
    tuned = variant_params(sources=3, start_from="one", freeze=["flow_decoder"], curriculum={"longest": 16})
    with pytest.raises(UserError, match=r"one/best.pt: no such file; train one first: three starts from it"):
        train_variant("three", tuned, *where, tmp_path / "three", work)
    card = train_variant("one", variant_params(), *where, tmp_path / "one", work)
    tuned_card = train_variant("three", tuned, *where, tmp_path / "three", work)
    assert tuned_card["inputs"]["start_from"] == card["weights_sha256"]
    one, three = (load_model(tmp_path / name)[0] for name in ("one", "three"))
    assert three.views == 4
    for name, value in one.flow_decoder.named_parameters():
        assert torch.equal(three.flow_decoder.get_parameter(name), value)
    assert not torch.equal(three.encoder.layers[0].weight, one.encoder.layers[0].weight)
    rows = tables.read(tmp_path / "three/curriculum.parquet", tables.Curriculum)
    assert rows["low"].tolist() == sorted(rows["low"])
    assert rows["low"].max() > 0
    assert not (tmp_path / "one/curriculum.parquet").exists()


def damaged(data, folder, rows):
    """A copy of the frames in which some are no JPEGs any more."""
    frames = folder / "damaged"
    shutil.copytree(data / "frames", frames)
    index = pd.read_parquet(frames / "index.parquet")
    for row in rows:
        with open(frames / index["shard"][row], "r+b") as shard:
            shard.seek(index["offset"][row] + 20)
            shard.write(bytes(int(index["size"][row]) - 20))
    return frames


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_frames_are_named_and_passed_over(data, tmp_path, capsys, workers):
    """All else stays: samples without such a frame are those of the undamaged data."""
    frames = damaged(data, tmp_path, [3, 9, 34])  # of p0, p1 and p4, who is of validation
    values = variant_params(workers=workers)
    card = train_variant("v", values, frames, data / "splits.parquet", tmp_path / "m", tmp_path / "work")
    said = [line for line in capsys.readouterr().err.splitlines() if "passed over" in line]
    assert len(said) == 3
    assert any("tracks-00000.tar: p1/v0/c/0/0000001.jpg cannot be decoded" in line for line in said)
    assert said[-1].endswith("3 of at most 10")
    assert sorted(card["corrupt_frames"]) == [
        f"{frames}/tracks-00000.tar: {name}.jpg"
        for name in ("p0/v0/c/0/0000003", "p1/v0/c/0/0000001", "p4/v0/c/0/0000002")
    ]
    batches, whole = (
        Batches(store, PairSampler(np.array([0]), np.array([16]), np.array([0]), 2, 0), 64, corrupt=CorruptFrames(10))
        for store in (FrameStore(frames), FrameStore(data / "frames"))
    )
    pictures, expected = batches.load(0).pictures, whole.load(0).pictures
    rows = whole.sampler.draw(torch.arange(64)).rows.numpy()
    good = ~np.isin(rows, [3, 9]).any(axis=1)
    assert 0 < good.sum() < 64
    assert torch.equal(pictures[:, good], expected[:, good])
    assert not torch.equal(pictures[:, ~good], expected[:, ~good])


def test_too_many_corrupt_frames_are_an_error(data, tmp_path):
    frames = damaged(data, tmp_path, [1, 2, 3, 9])
    with pytest.raises(
        UserError, match=r"cannot be decoded: .*passed over before it: 2, all that corrupt_limit allows"
    ):
        train_variant(
            "v", variant_params(corrupt_limit=2), frames, data / "splits.parquet", tmp_path / "m", tmp_path / "work"
        )
    every = damaged(data, tmp_path / "more", range(48))
    with pytest.raises(UserError, match="no sample without a corrupt frame"):
        train_variant(
            "w", variant_params(corrupt_limit=99), every, data / "splits.parquet", tmp_path / "m", tmp_path / "work"
        )


def test_frames_of_several_processes_count_together():
    corrupt = CorruptFrames(2)
    corrupt.remember([3, 9])
    corrupt.remember([9])
    assert corrupt.rows == [3, 9]
    with pytest.raises(UserError, match="3 frames cannot be decoded, more than the 2 of corrupt_limit"):
        corrupt.remember([14])


def test_a_shard_shorter_than_its_index_is_named(data, tmp_path):
    frames = damaged(data, tmp_path, [])
    index = pd.read_parquet(frames / "index.parquet")
    needed = int((index["offset"] + index["size"]).max())
    with open(frames / "tracks-00000.tar", "r+b") as shard:
        shard.truncate(needed - 1)
    with pytest.raises(UserError, match=rf"tracks-00000.tar: has {needed - 1} bytes of the {needed}"):
        train_variant("v", variant_params(), frames, data / "splits.parquet", tmp_path / "m", tmp_path / "work")


def test_a_split_without_tracks_is_named(data, tmp_path):
    people = pd.DataFrame({"identity": [f"p{i}" for i in range(6)], "split": ["train"] * 5 + ["test"]})
    people.to_parquet(tmp_path / "splits.parquet", index=False)
    with pytest.raises(UserError, match="no tracks of the validation identities"):
        train_variant(
            "v", variant_params(), data / "frames", tmp_path / "splits.parquet", tmp_path / "m", tmp_path / "work"
        )
    with pytest.raises(UserError, match="run the split stage first"):
        train_variant(
            "v", variant_params(), data / "frames", tmp_path / "none.parquet", tmp_path / "m", tmp_path / "work"
        )
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
    assert everything.extract.image_size == 256

    class Noise:
        def decode(self, rows):
            return np.random.default_rng(0).integers(0, 256, (len(rows), 256, 256, 3), dtype=np.uint8)

    sampler = PairSampler(np.array([0, 9]), np.array([9, 9]), np.array([0, 1]), 2, 0)
    batches = Batches(Noise(), sampler, values.batch_size, mirror=values.flip, jitter=values.jitter)
    trainer = Trainer(build("fabnet", 256, 32, 256), batches, batches, values)
    result = trainer.run()
    assert trainer.step == 2
    assert np.isfinite([point.loss for point in result.history]).all()
