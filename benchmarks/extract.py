"""Extraction against ffmpeg's command line on the same clips, detectors, and memory by a clip's length.

The clips are made here: drawn faces that move over a moving ground, 640 x 360 at 25 frames per second, H.264 with one
key frame in 10 s, as a phone or x264 would write them. Ours is the whole stage, from listing the clips to shards and
index; ffmpeg writes its JPEGs and no more. Both take turns, on two cores. Run with `make bench`; `--yunet MODEL.onnx`
measures that detector as well.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import pyarrow.parquet as pq

from benchmarks._memory import peak_mb
from fabnet.config import ExtractParams, Source
from fabnet.config.data import STANDALONE
from fabnet.files import hash_file
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of
from fabnet.video.crop import Box
from fabnet.video.decode import frames
from fabnet.video.detectors import open_detector
from fabnet.video.extract import extract

WIDTH, HEIGHT, RATE, SECONDS = 640, 360, 25, 40
FACES, FACE_SIDE, POSES = (2, 7, 6, 1), 200, 8  # numbers of drawn people
COPIES, ROUNDS, WORKERS = 6, 3, 2
LOOKS = 100  # at each clip
#: Minutes of a short and of a long clip, whose memory is compared, by the way to the faces.
MINUTES: dict[Source, tuple[int, int]] = {"cropped": (1, 60), "folder": (1, 10)}
OURS = "fabnet, cropped"


def pictures(number: int) -> Iterator[np.ndarray]:
    """A face that moves slowly over a ground that moves the other way, with a camera's noise; uint8 (H, W, 3)."""
    person, interview = interview_of(0, number, SECONDS)
    faces = [render(person, interview(SECONDS * pose / POSES), FACE_SIDE) for pose in range(POSES)]
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (20, 60, 3), dtype=np.uint8)
    ground = cv2.resize(coarse, (3 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3, (8, HEIGHT, WIDTH, 3)).astype(np.int16)
    for index in range(SECONDS * RATE):
        image = ground[:, index % (2 * WIDTH) :][:, :WIDTH].copy()
        left = int((WIDTH - FACE_SIDE) * (0.5 + 0.4 * np.sin(index / 60)))
        top = (HEIGHT - FACE_SIDE) // 2
        image[top : top + FACE_SIDE, left : left + FACE_SIDE] = faces[POSES * index // (SECONDS * RATE)]
        yield np.clip(image + grain[index % 8], 0, 255).astype(np.uint8)


def write_video(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "fast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in pictures(number):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_loop(path: Path, source: Path, seconds: int) -> None:
    """The packets of a video over and over."""
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as out:
        stream = None
        for turn in range(-(-seconds // SECONDS)):
            with av.open(str(source)) as whole:
                pictures = whole.streams.video[0]
                stream = stream or out.add_stream_from_template(pictures)
                shift = int(Fraction(turn * SECONDS) / (pictures.time_base or 1))
                for packet in whole.demux(pictures):
                    if (
                        packet.pts is None
                        or packet.dts is None
                        or turn * SECONDS + packet.pts * packet.time_base >= seconds
                    ):
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)


def ours(videos: Path, scratch: Path, **values: Any) -> int:
    """Extract, and return the number of crops."""
    params = ExtractParams.standalone(videos=videos, workers=WORKERS, **values)
    extract(params, scratch / "frames", scratch / "work")
    return pq.read_metadata(scratch / "frames" / "index.parquet").num_rows


def ffmpeg(videos: Path, scratch: Path, at_once: int) -> int:
    """Crops as ours, `at_once` clips at a time on as many cores; returns their number."""
    size = ExtractParams.standalone(videos=videos).image_size

    def one(clip: Path) -> None:
        out = scratch / clip.parent.name
        out.mkdir(parents=True)
        threads = ["-threads", "1"] if at_once > 1 else []
        command = ["ffmpeg", "-v", "error", "-nostdin", *threads, "-i", str(clip)]
        command += ["-vf", f"fps=1,crop=ih:ih,scale={size}:{size}", "-q:v", "2", str(out / "%07d.jpg")]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, sorted(videos.rglob("*.mp4"))))
    return sum(1 for _ in scratch.rglob("*.jpg"))


class Cost(NamedTuple):
    """Wall time, processor time of this process and its children, both in s, and the number of crops."""

    wall: float
    cpu: float
    crops: int


def timed(run: Callable[[Path], int]) -> Cost:
    """What `run` costs in an empty folder."""
    with tempfile.TemporaryDirectory() as scratch:
        begin, cpu = time.perf_counter(), sum(os.times()[:4])
        crops = run(Path(scratch))
        return Cost(time.perf_counter() - begin, sum(os.times()[:4]) - cpu, crops)


def compare(videos: Path, clips: int, rounds_count: int) -> None:
    runs: dict[str, Callable[[Path], int]] = {OURS: lambda scratch: ours(videos, scratch)}
    if shutil.which("ffmpeg") is None:
        print("ffmpeg is not installed: nothing to compare with (Debian: apt-get install ffmpeg)")
    else:
        version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
        print(f"ffmpeg {version}; PyAV {av.__version__}")
        runs["ffmpeg, one clip at a time"] = lambda scratch: ffmpeg(videos, scratch, 1)
        runs["ffmpeg, two at a time"] = lambda scratch: ffmpeg(videos, scratch, WORKERS)
    rounds = [{name: timed(run) for name, run in runs.items()} for _ in range(rounds_count)]
    wall = {name: statistics.median(each[name].wall for each in rounds) for name in runs}
    cpu = {name: statistics.median(each[name].cpu for each in rounds) for name in runs}
    total = clips * SECONDS * RATE
    print(f"{clips} clips of {SECONDS} s, {WIDTH} x {HEIGHT}, {total} frames; medians of {rounds_count} rounds")
    print(f"{'':28}{'wall s':>8}{'cpu s':>8}{'crops':>8}{'crops/s':>9}{'frames of video/s':>19}")
    for name in runs:
        crops = rounds[0][name].crops
        print(f"{name:28}{wall[name]:8.2f}{cpu[name]:8.2f}{crops:8}{crops / wall[name]:9.0f}{total / wall[name]:19.0f}")
    if len(runs) > 1:
        theirs = [name for name in runs if name != OURS]
        ratio, cpu_ratio = (times[OURS] / min(times[name] for name in theirs) for times in (wall, cpu))
        print(f"ours to the faster of ffmpeg's, wall time: {ratio:.2f} (goal: at most 1.25)")
        print(f"ours to the cheaper of ffmpeg's, processor time: {cpu_ratio:.2f}")


def detection(videos: Path, detectors: dict[str, dict[str, Any]]) -> None:
    """Milliseconds of a look, and processor time of the whole stage, by detector and as ratios to the first.

    Args:
        videos: the clips.
        detectors: values of `extract.detection`, by name.
    """
    cv2.setNumThreads(0)
    total = sum(1 for _ in videos.rglob("*.mp4")) * SECONDS * RATE
    first: tuple[float, float] | None = None
    head = f"{'detector':12}{'ms a look':>10}{'found %':>9}{'stage cpu s':>13}{'crops':>7}{'ms a frame of video':>21}"
    print(f"{head}  ratios")
    for name, values in detectors.items():
        params = ExtractParams.standalone(videos=videos, source="folder", detection=values)
        detector = open_detector(params.detection)
        taken, looks, found = 0.0, 0, 0
        for clip in sorted(videos.rglob("*.mp4")):
            expected: list[Box] = []
            shown = frames(clip, params.fps, every=params.detection.every)
            for frame in islice((frame for frame in shown if frame.looked_at), LOOKS):
                begin = time.process_time()
                faces = detector.find(frame.image, expected, thorough=not expected)
                taken += time.process_time() - begin
                expected = [face.box for face in faces[:1]]
                looks, found = looks + 1, found + bool(faces)
        cost = timed(partial(ours, videos, source="folder", detection=values))
        look_ms = 1000 * taken / looks
        first = first or (look_ms, cost.cpu)
        print(
            f"{name:12}{look_ms:10.1f}{100 * found / looks:9.1f}{cost.cpu:13.1f}{cost.crops:7}"
            f"{1000 * cost.cpu / total:21.2f}  {look_ms / first[0]:.2f} a look, {cost.cpu / first[1]:.2f} the stage",
            flush=True,
        )


def memory(clip: Path, folder: Path) -> None:
    """Peak of a process that extracts one clip, by its length and the way to the faces.

    Args:
        clip: that is repeated.
        folder: for longer clips.
    """
    for source, lengths in MINUTES.items():
        peaks = []
        for minutes in lengths:
            videos = folder / f"{source}-{minutes}"
            write_loop(videos / "a" / "a.mp4", clip, 60 * minutes)
            command = [sys.executable, "-m", "benchmarks.extract", "--peak-of", str(videos), "--source", source]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            peaks.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"memory, {source}, clip of {minutes:3} min: {peaks[-1]:.1f} MB", flush=True)
        print(f"{lengths[1]} min to {lengths[0]} min: {peaks[1] / peaks[0]:.3f} (goal: at most 1.10)", flush=True)


def peak_of(videos: Path, source: Source) -> None:
    params = ExtractParams.standalone(videos=videos, workers=1, source=source)
    with tempfile.TemporaryDirectory() as scratch:
        extract(params, Path(scratch) / "frames", Path(scratch) / "work")
    print(json.dumps(peak_mb()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak-of", type=Path, help="only print the memory that the extraction of this folder takes")
    parser.add_argument("--source", choices=sorted(MINUTES), default="cropped", help="of --peak-of")
    parser.add_argument("--yunet", type=Path, help="ONNX file of YuNet, to be measured as well")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    if args.peak_of:
        peak_of(args.peak_of, args.source)
        return
    detectors: dict[str, dict[str, Any]] = {
        name: {**STANDALONE["detection"], "detector": name} for name in ("haar", "blazeface")
    }
    if args.yunet:
        yunet = {"detector": "yunet", "model": args.yunet, "sha256": hash_file(args.yunet)}
        detectors["yunet"] = {**STANDALONE["detection"], **yunet}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in FACES:
            write_video(folder / "videos" / f"{number}-0" / "clip.mp4", number)
            for copy in range(1, COPIES):
                (folder / "videos" / f"{number}-{copy}").mkdir()
                original = folder / "videos" / f"{number}-0" / "clip.mp4"
                shutil.copy(original, folder / "videos" / f"{number}-{copy}")
        from fabnet.tracking.verify.verify import processor  # not where memory is measured: it imports much

        print(f"{len(os.sched_getaffinity(0))} cores, {processor()}")
        compare(folder / "videos", len(FACES) * COPIES, args.rounds)
        # Detection takes long, and copies of a clip tell no more.
        for number in FACES:
            (folder / "originals" / f"{number}").mkdir(parents=True)
            shutil.copy(folder / "videos" / f"{number}-0" / "clip.mp4", folder / "originals" / f"{number}")
        detection(folder / "originals", detectors)
        memory(folder / "videos" / f"{FACES[0]}-0" / "clip.mp4", folder / "memory")


if __name__ == "__main__":
    main()
