"""What it costs that pictures become RGB alike on every processor: `python -m benchmarks.conversion [FOLDER]`.

FOLDER holds clips as `extract.source: cropped` reads them. Each round converts and extracts with libswscale's own
choice of routines and with `SAME_EVERYWHERE`, one after the other; what is printed are medians of processor time.
"""

import argparse
import contextlib
import io
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import av
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from fabnet.config import load_params
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.video import decode
from fabnet.video.extract import extract

_WAYS = {"default": Interpolation.BILINEAR, "the same everywhere": SAME_EVERYWHERE}
_FRAMES, _LISTED = 60, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/synthetic/videos"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    clips = sorted(path for path in arguments.folder.rglob("*") if path.suffix in {".mp4", ".mov"})
    if not clips:
        parser.error(f"{arguments.folder}: no clips")
    print(f"{'clip':24} {'size':>10}   ms a frame: decoding, " + ", ".join(_WAYS))
    for clip in clips[:_LISTED]:
        pictures, decoding = _decoded(clip)
        taken = [_ms(partial(_convert, pictures, way), arguments.rounds) / len(pictures) for way in _WAYS.values()]
        size = f"{pictures[0].width} x {pictures[0].height}"
        print(f"{clip.name[:24]:24} {size:>10}   {decoding:.2f}, " + ", ".join(f"{value:.2f}" for value in taken))
    for fps in (1, 5):
        totals: dict[str, list[float]] = {name: [] for name in _WAYS}
        for _ in range(arguments.rounds):
            for name, way in _WAYS.items():
                totals[name].append(_ms(partial(_extract, arguments.folder, way, fps), 1))
        shown = ", ".join(f"{name} {median(values) / 1000:.2f} s" for name, values in totals.items())
        print(f"extract at {fps} fps, {len(clips)} clips: {shown}")


def _decoded(clip: Path) -> tuple[list[VideoFrame], float]:
    """The first frames of a clip, and the milliseconds that decoding one took."""
    start, pictures = time.process_time(), []
    with av.open(str(clip)) as container:
        for picture in container.decode(video=0):
            pictures.append(picture)
            if len(pictures) == _FRAMES:
                break
    return pictures, 1000 * (time.process_time() - start) / len(pictures)


def _convert(pictures: list[VideoFrame], way: Interpolation) -> None:
    convert = VideoReformatter()
    for picture in pictures:
        convert.reformat(picture, format="rgb24", interpolation=way, threads=1).to_ndarray()


def _extract(folder: Path, way: Interpolation, fps: float) -> None:
    params = load_params(Path("params.yaml")).extract
    params = params.model_copy(update={"videos": folder, "source": "cropped", "workers": 1, "fps": fps})
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(decode, "SAME_EVERYWHERE", way),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        (Path(name) / "work").mkdir()
        extract(params, Path(name) / "frames", Path(name) / "work")


def _ms(run: Callable[[], None], rounds: int) -> float:
    """The median of processor time over rounds, children included."""
    taken = []
    for _ in range(rounds):
        start = _processor_time()
        run()
        taken.append(1000 * (_processor_time() - start))
    return median(taken)


def _processor_time() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    main()
