"""The parts of the supervised network: its layers, its losses, mirrored labels and the crops it reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from labelled_faces import write_labelled_faces

from fabnet.attributes.sets import open_set
from fabnet.config import SetParams
from fabnet.probing.problem import Problem
from fabnet.supervised.fit import Crops, Objective, mirrored, total_loss
from fabnet.supervised.vgg11 import Vgg11
from fabnet.synthetic.identity import sample_identity
from fabnet.synthetic.landmarks import landmarks5, landmarks68
from fabnet.synthetic.state import FaceState

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_labelled_faces(folder, identities=10, per_identity=4)
    return open_set("tiny", SetParams(kind="synthetic", path=folder))


def test_configuration_a_has_its_published_number_of_parameters():
    narrow, times = Vgg11(224, 4, {"classes": 1000}, batch_norm=False), 16

    def full(shape):
        """The shape of a weight at width 64: colours and classes stay as many."""
        outputs, inputs, *rest = shape
        return (outputs if outputs == 1000 else times * outputs, inputs if inputs == 3 else times * inputs, *rest)

    shapes = [full(weight.shape) for name, weight in narrow.named_parameters() if name.endswith("weight")]
    assert [shape[0] for shape in shapes] == [64, 128, 256, 256, 512, 512, 512, 512, 4096, 4096, 1000]
    assert sum(int(np.prod(shape)) + shape[0] for shape in shapes) == 132_863_336


def test_a_crop_too_small_to_be_halved_is_refused():
    with pytest.raises(ValueError, match="31 px are fewer than 32"):
        Vgg11(31, 4, {"pose": 3})


def test_scores_are_float32_under_autocast():
    network = Vgg11(32, 4, {"pose": 3, "units": 11}).eval()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.rand(5, 3, 32, 32))
    assert {task: (tuple(z.shape), z.dtype) for task, z in outputs.items()} == {
        "pose": ((5, 3), torch.float32),
        "units": ((5, 11), torch.float32),
    }


# -- losses ---------------------------------------------------------------------------------------------------------


OUTPUTS = {"units": 11, "expression": 8, "pose": 3}


def problem(task: str, count: int = 40) -> Problem:
    random = np.random.default_rng(5)
    if task == "units":
        return Problem(task, "bce", (random.random((count, 11)) < 0.2).astype(np.float32), 11)
    if task == "expression":
        return Problem(task, "cross_entropy", random.choice(8, count, p=[0.65] + [0.05] * 7), 8)
    outputs = 3 if task == "pose" else 10
    return Problem(
        task, "mse", random.normal(0.3, 12 if task == "pose" else 0.4, (count, outputs)).astype(np.float32), outputs
    )


def test_losses_are_those_of_the_probes_by_hand():
    train, rows = np.arange(30), np.array([2, 7, 7, 31, 12])
    z = {task: torch.randn(5, k, generator=torch.Generator().manual_seed(k)) for task, k in OUTPUTS.items()}
    got = {task: float(Objective(problem(task), train, CPU).loss(z[task], rows)) for task in OUTPUTS}
    units, classes, angles = (problem(task).labels for task in OUTPUTS)
    z = {task: values.numpy().astype(np.float64) for task, values in z.items()}

    present = units[:30].sum(axis=0)
    weight = np.where(units[rows] > 0, 30 / (2 * np.maximum(present, 1)), 30 / (2 * np.maximum(30 - present, 1)))
    bce = np.log1p(np.exp(z["units"])) - units[rows] * z["units"]
    assert got["units"] == pytest.approx((weight * bce).mean(), rel=1e-5)

    weight = 30 / (8 * np.maximum(np.bincount(classes[:30], minlength=8), 1))[classes[rows]]
    surprise = np.log(np.exp(z["expression"]).sum(axis=1)) - z["expression"][np.arange(5), classes[rows]]
    assert got["expression"] == pytest.approx((weight * surprise).sum() / weight.sum(), rel=1e-5)

    scaled = (angles[rows] - angles[:30].mean(axis=0)) / angles[:30].std(axis=0)
    assert got["pose"] == pytest.approx(((z["pose"] - scaled) ** 2).mean(), rel=1e-5)


def test_points_weigh_among_each_other_as_they_do_unscaled():
    asked = problem("landmarks5")
    objective = Objective(asked, np.arange(30), CPU)
    z = torch.randn(40, 10, generator=torch.Generator().manual_seed(1))
    plain = ((objective.prediction(z) - asked.labels) ** 2).mean()
    assert objective.scale_K.unique().numel() == 1
    assert float(objective.loss(z, np.arange(40))) == pytest.approx(plain / float(objective.scale_K[0]) ** 2, rel=1e-4)


def test_the_mean_of_the_training_faces_is_where_predictions_begin():
    for task in ("pose", "landmarks5"):
        asked = problem(task)
        objective = Objective(asked, np.arange(30), CPU)
        np.testing.assert_allclose(
            objective.prediction(torch.zeros(1, asked.outputs))[0], asked.labels[:30].mean(axis=0), rtol=1e-4, atol=1e-5
        )


def test_the_loss_of_all_tasks_is_their_sum():
    objectives = [Objective(problem(task), np.arange(30), CPU) for task in ("pose", "units", "expression")]
    outputs = {each.problem.task: torch.randn(4, each.problem.outputs) for each in objectives}
    rows = np.array([1, 3, 5, 8])
    alone = [float(each.loss(outputs[each.problem.task], rows)) for each in objectives]
    assert float(total_loss(objectives, outputs, rows, None)) == pytest.approx(sum(alone), rel=1e-5)


# -- mirror images --------------------------------------------------------------------------------------------------


def test_mirrored_points_are_those_of_the_face_that_looks_the_other_way():
    identity, size = sample_identity(np.random.default_rng(4)), 128
    state = FaceState(yaw=22, pitch=6, roll=9)
    faces = [landmarks68(identity, each, size) for each in (state, replace(state, yaw=-22, roll=-9))]
    for task, points in (("landmarks68", faces), ("landmarks5", [landmarks5(face) for face in faces])):
        here, there = (torch.from_numpy(each / size * 2 - 1).reshape(1, -1) for each in points)
        assert (here - there).abs().max() > 0.2
        assert (mirrored(task, here) - there).abs().max() < 0.03
        torch.testing.assert_close(mirrored(task, mirrored(task, here)), here)


def test_roll_and_yaw_turn_and_pitch_does_not():
    angles = torch.tensor([[10.0, -5.0, 30.0]])  # roll, pitch, yaw
    assert mirrored("pose", angles).tolist() == [[-10.0, -5.0, -30.0]]
    units = torch.rand(3, 11)
    assert mirrored("units", units) is units


def test_only_the_faces_that_were_mirrored_get_mirrored_labels():
    objective = Objective(problem("pose"), np.arange(30), CPU)
    labels = objective.labels[[4, 6]].clone()
    labels[1] = labels[1] * torch.tensor([-1.0, 1.0, -1.0])
    z = (labels - objective.shift_K) / objective.scale_K
    assert float(objective.loss(z, np.array([4, 6]), torch.tensor([False, True]))) < 1e-10
    assert float(objective.loss(z, np.array([4, 6]), torch.tensor([True, False]))) > 1e-2


# -- crops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_crops_are_those_of_the_set_whatever_is_kept(labelled, cache_mb, monkeypatch):
    crops = Crops(labelled, 96, cache_mb)  # 1 MB keeps 37 of the 40
    assert len(crops._kept) == 37 * cache_mb
    wanted = np.stack([labelled.crop(row, 96) for row in labelled.table().itertuples()])
    parts = [np.array([39, 0, 5]), np.array([5, 38]), np.arange(40)]
    for _ in range(2):
        for (rows, images), part in zip(crops.batches(parts), parts, strict=True):
            assert (rows == part).all()
            np.testing.assert_array_equal(images, wanted[part])
    read = []
    monkeypatch.setattr(type(labelled), "crop", lambda self, row, size: read.append(row) or wanted[0])
    crops.read(np.arange(40))
    assert len(read) == 40 - 37 * cache_mb


def test_a_crop_that_cannot_be_read_stops_the_loop(labelled, monkeypatch):
    def broken(self, row, size):
        raise OSError(f"{row.face_id} is gone")

    monkeypatch.setattr(type(labelled), "crop", broken)
    with pytest.raises(OSError, match="face0003 is gone"):
        list(Crops(labelled, 32, 1).batches([np.array([3])]))
