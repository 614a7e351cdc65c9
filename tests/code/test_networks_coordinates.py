"""Coordinates of movement: the same function, the formulas against NumPy and SciPy, and what training writes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import linalg
from small_runs import network as network_of
from small_runs import params, trainer
from small_shards import write_small_shards
from whole_sections import variant_params

from fabnet import tables
from fabnet.config import VariantParams
from fabnet.errors import UserError
from fabnet.networks.build import build, load_model, start_from
from fabnet.networks.coordinates import as_trained, in_coordinates, movement, spreads
from fabnet.networks.fabnet import OURS
from fabnet.training import variant
from fabnet.training.variant import in_movement, train_variant
from fabnet.training.world import World
from studies.objectives import own_person

SIZE, DIM = 16, 8
CHANGES = {"sources": 3, "views": 4, "shared_decoder": True, "histograms": 2.0, "samples": 32}


def network(conventions=OURS):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = build("fabnet", SIZE, 4, DIM, 3, conventions, 2, True, True)
    for layer in made.modules():  # running statistics of a network that has seen something
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.fill_(0.5)
    return made.eval()


def frames(views=4, batch=3):
    return torch.rand(views, batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1


def drawn(seed=0):
    """A matrix and an origin."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(DIM, DIM))), torch.from_numpy(rng.normal(size=DIM))


def people_that_move(people, views, seed=0):
    """Embeddings (V, S, D) of people who differ along the first four axes, and move along the last four, and (S,)."""
    rng = np.random.default_rng(seed)
    spread = np.repeat([3.0, 0.1], DIM // 2)
    person_SD = rng.normal(size=(people, DIM)) * spread
    return torch.from_numpy(person_SD + rng.normal(size=(views, people, DIM)) * spread[::-1])


@torch.no_grad()
def test_it_is_the_same_function_of_frames():
    before, (matrix, origin) = network(), drawn()
    after = in_coordinates(before, matrix, origin)
    views, mask = frames(), torch.tensor([[True] * 3, [True] * 3, [True] * 3, [True, False, True]])
    torch.testing.assert_close(
        after.encoder(views[0]).double(), (before.encoder(views[0]).double() - origin) @ matrix.T, atol=1e-4, rtol=1e-4
    )
    for every_view in (False, True):
        before.every_view = after.every_view = every_view
        torch.testing.assert_close(after(views, mask), before(views, mask), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.flow(views[1], views[0]), before.flow(views[1], views[0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.reconstruct(views).flow, before.reconstruct(views).flow, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_it_can_be_taken_back():
    before, (matrix, origin) = network(), drawn()
    again = as_trained(in_coordinates(before, matrix, origin))
    assert as_trained(before) is before
    assert again.conventions == OURS
    assert again.state_dict().keys() == before.state_dict().keys()
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_reading_back_is_exact_in_half_precision():
    """Directions along which people differ most are the weakest ones, by a factor of thousands."""
    rng = np.random.default_rng(5)
    axes = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    matrix = torch.from_numpy(axes @ np.diag(np.geomspace(0.01, 30, DIM)) @ axes.T)
    before = network()
    after = in_coordinates(before, matrix, torch.zeros(DIM))
    views = frames()
    with torch.autocast("cpu", torch.bfloat16):
        plain, read, embedded = before.flow(views[1], views[0]), after.flow(views[1], views[0]), after.encoder(views[0])
    assert embedded.dtype == torch.float32
    exact = before.flow(views[1], views[0])
    assert (read - exact).abs().mean() < 2 * (plain - exact).abs().mean()
    after.encoder.exact = False
    torch.testing.assert_close(after.flow(views[1], views[0]), exact, atol=1e-3, rtol=1e-2)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = after.flow(views[1], views[0])
    assert (rounded - exact).abs().mean() > 3 * (read - exact).abs().mean()


def test_spreads_are_those_of_movement_and_of_people():
    """Between the true means: with two frames, half of the movement is in the observed ones."""
    people = people_that_move(20_000, 2)
    within, between, mean = (part.numpy() for part in spreads(people))
    np.testing.assert_allclose(within, np.diag([0.01] * 4 + [9.0] * 4), atol=0.3)
    np.testing.assert_allclose(between, np.diag([9.0] * 4 + [0.01] * 4), atol=0.3)
    np.testing.assert_allclose(mean, people.mean(dim=(0, 1)), atol=1e-9)


def test_padding_counts_for_nothing():
    people = people_that_move(50, 4)
    mask = torch.from_numpy(np.random.default_rng(1).random((4, 50)) < 0.7)
    mask[:2] = True
    found = spreads(people, mask)
    tracks = [people[mask[:, track], track].numpy() for track in range(50)]
    means = np.stack([track.mean(axis=0) for track in tracks])
    off = np.concatenate([track - track.mean(axis=0) for track in tracks])
    within = off.T @ off / sum(len(track) - 1 for track in tracks)
    between = np.cov(means.T) - within * np.mean([1 / len(track) for track in tracks])
    np.testing.assert_allclose(found[0], within)
    np.testing.assert_allclose(found[1], between)
    np.testing.assert_allclose(found[2], means.mean(axis=0))


def test_the_matrix_is_one_spread_over_the_root_of_the_other():
    within, between = (part.numpy() @ part.numpy().T for part in (drawn(0)[0], drawn(1)[0]))
    least = 0.3 * (np.trace(within) + np.trace(between)) / DIM * np.eye(DIM)
    expected = (within + least) @ linalg.inv(linalg.sqrtm(between + least))
    expected /= np.sqrt(np.trace(expected @ (within + between) @ expected.T) / DIM)
    np.testing.assert_allclose(movement(*map(torch.from_numpy, (within, between))), expected, rtol=1e-6, atol=1e-9)


def test_people_without_any_difference_leave_a_matrix():
    """Of few tracks more is taken off than there is."""
    within, between, _ = spreads(torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, DIM))))
    assert torch.linalg.eigvalsh(between)[0] < 0
    matrix = movement(within, between)
    assert torch.isfinite(torch.linalg.inv(matrix)).all()


def test_neighbours_move_alike_afterwards():
    people = people_that_move(30, 8)
    within, between, mean = spreads(people)
    person = np.tile(np.arange(30), 8)
    moved = (people - mean) @ movement(within, between).T
    before, after = (own_person(part.flatten(0, 1).numpy(), person).mean() for part in (people, moved))
    assert before > 20
    assert after < 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_small_shards(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The same training, in coordinates as trained and of movement."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("trained", "movement"):
        values = variant_params(coordinates=name, **CHANGES)
        train_variant(name, values, data / "frames", data / "splits.parquet", folder / name, folder / "work")
    return folder


@torch.no_grad()
def test_training_ends_in_these_coordinates(trained):
    (before, plain), (after, card) = (load_model(trained / name) for name in ("trained", "movement"))
    assert "conventions" not in plain
    assert card["conventions"]["read_back"]
    assert card["best_validation_loss"] == plain["best_validation_loss"]
    views = frames()
    torch.testing.assert_close(after.flow(views[1], views[0]), before.flow(views[1], views[0]), atol=1e-4, rtol=1e-3)
    assert not torch.allclose(after.encoder(views[0]), before.encoder(views[0]), atol=0.1)
    last = torch.load(trained / "movement/last.pt", weights_only=True)
    assert last.keys() == after.state_dict().keys()


def test_fine_tuning_begins_with_embeddings_as_trained(trained, data):
    """Otherwise steps of the optimiser would be of another size.

    By plain descent: Adam steps as far along a gradient that is nothing but rounding as along any other.
    """
    first, again = (as_trained(load_model(trained / name)[0]).state_dict() for name in ("trained", "movement"))
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-6)
    where = data / "frames", data / "splits.parquet"
    for source in ("trained", "movement"):
        values = variant_params(start_from=source, optimiser="sgd", learning_rate=0.3, **CHANGES)
        card = train_variant(f"on_{source}", values, *where, trained / f"on_{source}", trained / "work")
        assert "conventions" not in card
    one, other = (
        tables.read(trained / name / "history.parquet", tables.History) for name in ("on_trained", "on_movement")
    )
    np.testing.assert_allclose(other["loss"], one["loss"], rtol=1e-4)


def test_embeddings_that_are_all_alike_stay_and_are_said(trained, data, monkeypatch, caplog, tmp_path):
    def alike(embedding_VSD, mask_VS):
        return spreads(torch.zeros_like(embedding_VSD), mask_VS)

    monkeypatch.setattr(variant, "spreads", alike)
    values = variant_params(coordinates="movement", **CHANGES)
    train_variant("dead", values, data / "frames", data / "splits.parquet", tmp_path / "dead", tmp_path / "work")
    assert "train@dead: all embeddings of a track are alike, so that nothing tells movement from people" in caplog.text
    one, other = (load_model(folder)[0] for folder in (tmp_path / "dead", trained / "trained"))
    torch.testing.assert_close(one.encoder(frames()[0]), other.encoder(frames()[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", [{"resident": True}, {"world": World(0, 2)}])
def test_samples_are_the_same_wherever_they_come_from(how, monkeypatch):
    """From frames that the device holds, and of several processes by the first one alone."""
    monkeypatch.setattr(variant, "_MOVEMENT_SAMPLES", 24)
    values = params(sources=3, views=4, batch_size=8)
    found = []
    for options in ({}, how):
        monkeypatch.setattr(World, "average_buffers", lambda *_: None)
        run = trainer(values, **{key: value for key, value in options.items() if key == "resident"})
        run.world = options.get("world", run.world)
        found += in_movement(run, [network_of(values).state_dict()])
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, atol=1e-4, rtol=1e-4)


def test_tracks_that_are_short_count_without_their_padding(data, tmp_path):
    """Tracks of four frames, samples of six."""
    values = variant_params(coordinates="movement", **CHANGES | {"sources": 5, "views": 6})
    train_variant("v", values, data / "frames", data / "splits.parquet", tmp_path / "v", tmp_path / "work")
    model, _ = load_model(tmp_path / "v")
    assert all(torch.isfinite(weight).all() for weight in model.state_dict().values())


def test_one_person_is_refused_before_training(data, tmp_path):
    people = [f"p{number}" for number in range(6)]
    table = pd.DataFrame({"identity": people, "split": ["train"] + ["validation"] * 5})
    table.to_parquet(tmp_path / "splits.parquet")
    values = variant_params(coordinates="movement", **CHANGES)
    with pytest.raises(UserError, match="v: has one person to learn from, who cannot tell people from movement"):
        train_variant("v", values, data / "frames", tmp_path / "splits.parquet", tmp_path / "v", tmp_path / "work")
    assert not (tmp_path / "work/v/checkpoint.pt").exists()


def test_only_fabnet_has_them():
    with pytest.raises(ValueError, match="`coordinates` other than trained are for objective fabnet, not autoencoder"):
        VariantParams.model_validate(variant_params(objective="autoencoder").model_dump() | {"coordinates": "movement"})


def test_another_network_cannot_be_started_from_these_weights(trained):
    with pytest.raises(UserError, match="cannot be started from"):
        start_from(network(), trained / "movement")  # of other sizes
    said = {"align_corners": True, "unit_input": False, "read_back": True}
    assert replace(OURS, read_back=True).card() == {"conventions": said}
