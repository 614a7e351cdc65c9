"""A FAb-Net with random weights, a project around it, and videos in which faces come and go."""

from pathlib import Path

import av
import numpy as np
import pandas as pd
import simplejpeg
import torch
from inference_files import DIMENSION, SIZE, write_model

from fabnet import tables
from fabnet.files import hash_file, read_json, write_json
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.networks.build import build
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of


def write_warping(directory: Path, sources: int = 1, objective: str = "fabnet", **params: object) -> Path:
    """As write_model; its flows are large enough to be seen."""
    write_model(directory, **params)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build(objective, SIZE, 4, DIMENSION, sources)
    if objective == "fabnet":
        # Embeddings of different faces lie apart, and so do their flows: as they are drawn, layers shrink differences.
        for part, factor in ((network.encoder, 4), (network.flow_decoder, 1.8)):
            for name, weight in part.named_parameters():
                if weight.dim() == 4 and name.endswith("weight"):
                    weight.data.mul_(factor)
    torch.save(network.state_dict(), directory / "best.pt")
    card = read_json(directory / "model.json")
    changes = {"objective": objective, "sources": sources, "weights_sha256": hash_file(directory / "best.pt")}
    write_json(directory / "model.json", card | changes)
    return directory


def drawn_face(second: float, side: int = 128) -> np.ndarray:
    identity, interview = interview_of(2018, 2, 3)
    return render(identity, interview(second), side)


def write_frames(path: Path, frames: list[np.ndarray], rate: int = 5) -> Path:
    """A video of these pictures, hardly compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "5"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", interpolation=SAME_EVERYWHERE)))
        container.mux(stream.encode())
    return path


def read_frames(path: Path) -> tuple[np.ndarray, float]:
    """All frames (N, H, W, 3), and their number per second."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24", interpolation=SAME_EVERYWHERE) for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


def write_jpeg(path: Path, picture: np.ndarray) -> Path:
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=98, colorsubsampling="444"))
    return path


def blank(side: int = 128) -> np.ndarray:
    """No face."""
    return np.full((side, side, 3), 90, np.uint8)


def write_history(directory: Path) -> None:
    """Curves of training, with two windows."""
    steps = np.arange(1, 5)
    rows = {"step": steps, "samples": 10 * steps, "split": "train", "loss": 1.0 / steps, "learning_rate": 0.1}
    rows["copying"] = np.nan
    history = pd.concat(
        [pd.DataFrame(rows), pd.DataFrame(rows | {"split": "validation", "copying": 0.9})], ignore_index=True
    )
    tables.write(history, directory / "history.parquet", tables.History)
    windows = {"window": steps // 3, "low": 10 * (steps // 3), "high": 50 + 10 * (steps // 3), "threshold": 0.5}
    windows |= {"step": steps, "samples": 10 * steps, "kept": 5, "loss": 0.2}
    columns = list(tables.Curriculum.to_schema().columns)
    tables.write(pd.DataFrame(windows)[columns], directory / "curriculum.parquet", tables.Curriculum)
