"""What detection and FaceMesh's readings of crops cost, by detector, in one run over one folder of clips.

    python -m benchmarks.detect [FOLDER] [--yunet MODEL.onnx] [--rounds 3] [--looks 100]

A look at frames in 1280 x 720, and the stage `extract` with `source: folder` at 1 fps and a look at every 5th frame:
processor time, crops and peak memory, each in a process of its own, taking turns. In the last row, the mesh reads all
crops.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks._memory import peak_mb
from fabnet.config import ExtractParams
from fabnet.files import hash_file
from fabnet.video.clips import SUFFIXES
from fabnet.video.decode import frames
from fabnet.video.detectors import open_detector
from fabnet.video.extract import extract

SIZE = 1280, 720


def pictures(clips: Path) -> Iterator[NDArray[np.uint8]]:
    """Frames of all clips, one a second, as wide as 720p whatever their shape."""
    for path in sorted(clips.rglob("*")):
        if path.suffix in SUFFIXES:
            for frame in frames(path, 1.0):
                yield cv2.resize(frame.image, SIZE, interpolation=cv2.INTER_AREA)


def of_detector(clips: Path, values: dict[str, Any], looks: int) -> dict[str, float]:
    """Costs of one detector; processor times in ms and s.

    Args:
        clips: folder of identities, as `extract.videos`.
        values: of `extract.detection` and `extract.mesh`.
        looks: frames that are looked at.
    """
    cv2.setNumThreads(0)
    params = ExtractParams.standalone(videos=clips, source="folder", workers=1, **values)
    detector = open_detector(params.detection)
    quick: list[float] = []
    thorough: list[float] = []
    for image in islice(pictures(clips), looks):
        begin = time.process_time()
        faces = detector.find(image)
        middle = time.process_time()
        detector.find(image, [face.box for face in faces[:1]], thorough=False)
        thorough.append(middle - begin)
        quick.append(time.process_time() - middle)
    with tempfile.TemporaryDirectory() as scratch:
        begin = time.process_time()
        extract(params, Path(scratch) / "frames", Path(scratch) / "work")
        cpu = time.process_time() - begin
        crops = pq.read_metadata(Path(scratch) / "frames" / "index.parquet").num_rows
    mean = {"quick_ms": statistics.fmean(quick), "thorough_ms": statistics.fmean(thorough)}
    return {name: 1000 * value for name, value in mean.items()} | {"cpu_s": cpu, "crops": crops, "peak_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("data/synthetic/videos"),
        help="of clips, IDENTITY/**/CLIP.mp4; by default the bundled ones",
    )
    parser.add_argument("--yunet", type=Path, help="ONNX file of YuNet, to be measured as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--looks", type=int, default=100, help="frames that each detector looks at")
    parser.add_argument("--of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of:
        print(json.dumps(of_detector(args.folder, json.loads(args.of), args.looks)))
        return
    detectors: dict[str, dict[str, Any]] = {
        name: {"detection": {"detector": name}, "mesh": "off"} for name in ("haar", "blazeface")
    }
    if args.yunet:
        yunet = {"detector": "yunet", "model": str(args.yunet), "sha256": hash_file(args.yunet)}
        detectors["yunet"] = {"detection": yunet, "mesh": "off"}
    detectors["blazeface, mesh"] = {"detection": {"detector": "blazeface"}, "mesh": "on"}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in detectors}
    for number in range(args.rounds):
        for name, values in detectors.items():
            command = [sys.executable, "-m", "benchmarks.detect", str(args.folder), "--of", json.dumps(values)]
            command += ["--looks", str(args.looks)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rounds[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}, {name}: {json.dumps(rounds[name][-1])}", file=sys.stderr, flush=True)
    print(f"medians of {args.rounds} rounds, processor time; OpenCV {cv2.__version__}")
    print("| detector | a quick look, ms | a thorough look, ms | `extract`, CPU s | crops | peak MB |")
    print("|---|---|---|---|---|---|")
    for name, each in rounds.items():
        middle = {key: statistics.median(one[key] for one in each) for key in each[0]}
        print(
            f"| `{name}` | {middle['quick_ms']:.1f} | {middle['thorough_ms']:.1f} | {middle['cpu_s']:.1f} | "
            f"{middle['crops']:.0f} | {middle['peak_mb']:.0f} |"
        )


if __name__ == "__main__":
    main()
