"""A model, probes and videos, small enough for tests."""

from pathlib import Path

import av
import numpy as np
import torch

from fabnet.config import ExtractParams
from fabnet.files import hash_file, read_json, write_json
from fabnet.networks.build import build
from fabnet.probing.probe import Probe
from fabnet.probing.problem import Problem
from fabnet.probing.readings import OUTPUTS, write_heads
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of
from fabnet.video.recipe import recipe

SIZE, DIMENSION = 32, 16
#: The tasks of the bundled labelled set.
LOSSES = {"landmarks68": "mse", "landmarks5": "mse", "pose": "mse", "units": "bce", "expression": "cross_entropy"}


def write_model(directory: Path, seed: int = 0, **params: object) -> Path:
    """A network with random weights, as the stage `train` leaves one that learnt from crops under `params`."""
    directory.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build("fabnet", SIZE, 4, DIMENSION)
    torch.save(network.state_dict(), directory / "best.pt")
    card = {
        "variant": directory.name,
        "objective": "fabnet",
        "image_size": SIZE,
        "base_filters": 4,
        "embedding_dim": DIMENSION,
        "recipe": recipe(ExtractParams.standalone(videos=".", image_size=SIZE, **params)),
        "weights_sha256": hash_file(directory / "best.pt"),
    }
    write_json(directory / "model.json", card)
    return directory


def write_random_heads(path: Path, model: Path) -> list[Probe]:
    """Probes of those tasks with two seeds of random numbers, which belong to a model; returns them."""
    random = np.random.default_rng(0)
    probes, problems = [], []
    for task, loss in LOSSES.items():
        names = OUTPUTS[task]
        weight = random.normal(size=(2, len(names), DIMENSION)).astype(np.float32)
        bias = random.normal(size=(2, len(names))).astype(np.float32)
        probes.append(Probe(task, weight, bias, np.ones(2, np.int64), np.zeros(2)))
        problems.append(Problem(task, loss, np.zeros((0, len(names)), np.float32), len(names)))
    recipe = read_json(model / "model.json")["recipe"]["hash"]
    weights = hash_file(model / "best.pt")
    meta = {"encoder": model.name, "set": "faces", "weights_sha256": weights, "recipe_hash": recipe}
    write_heads(path, probes, problems, meta)
    return probes


def write_colours(path: Path, frames: int, rate: int = 5, width: int = 80, height: int = 64) -> Path:
    """A video of moving colour gradients."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            image = np.stack([(3 * x + 9 * number) % 256, (3 * y + 5 * number) % 256, (x * y // 8) % 256], axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_talk(path: Path, seconds: int = 3, person: int = 2) -> Path:
    """A drawn talking face, to the right in a wider frame; the detector finds it."""
    identity, interview = interview_of(2018, person, seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 240, 160, "yuv420p"
        for number in range(5 * seconds):
            image = np.full((160, 240, 3), 90, np.uint8)
            image[20:148, 100:228] = render(identity, interview(number / 5), 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
