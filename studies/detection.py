"""How many faces do the detectors find, and how many that are none? docs/results/detection.md and .json.

    python -m studies.detection FOLDER

FOLDER holds `aflw2000/` (stills of AFLW2000-3D with their .mat) and `clips/` with `clips.csv` (a person in each). A
still counts as found where a detection overlaps the box of its 68 landmarks by half (intersection over union). Each is
shown as it is and turned by 30 degrees both ways. Thresholds were chosen on every other still, from the first; what is
reported comes from the rest, and other backgrounds (`--half choose` scores those). Backgrounds are random squares of
frames of the clips that leave out the person: the best detection of the frame by either detector, doubled.
"""

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from fabnet.config import DetectionParams
from fabnet.config.data import STANDALONE
from fabnet.tracking.verify.verify import processor
from fabnet.video.crop import Box
from fabnet.video.decode import frames
from fabnet.video.detect import Detector
from fabnet.video.detectors import open_detector
from fabnet.video.tracker import overlap
from studies.record import write_record

OUT = Path("docs/results/detection")
DETECTORS = ("haar", "blazeface")
TURNS = (-30, 0, 30)
PROFILE_DEG = 60
FOUND = 0.5
BACKGROUNDS, PER_FRAME, SIDES, FPS = 1000, 24, (96, 320), 2.0


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson 1927).

    Args:
        hits: of those counted.
        count: all of them.
    """
    z = 1.959964
    middle = (hits + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * math.sqrt(hits * (count - hits) / count + z * z / 4)
    return 100 * (middle - half), 100 * (middle + half)


def turned(
    image: NDArray[np.uint8], points: NDArray[np.float64], degrees: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An image and points of it, turned anticlockwise; the image grows so that all of it stays.

    Args:
        image: uint8 (H, W, 3).
        points: (N, 2), pixels.
        degrees: of the turn.
    """
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = int(width * cos + height * sin), int(width * sin + height * cos)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(image, matrix, size), points @ matrix[:, :2].T + matrix[:, 2]


def stills(folder: Path, half: str) -> list[tuple[NDArray[np.uint8], NDArray[np.float64], float]]:
    """Images, landmarks (68, 2) and yaw in degrees of a half of the stills.

    Args:
        folder: of the stills and their .mat.
        half: report or choose.
    """
    found = []
    for path in sorted(folder.glob("*.jpg"))[half == "report" :: 2]:
        labels = loadmat(path.with_suffix(".mat"))
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        found.append((image, labels["pt3d_68"][:2].T, math.degrees(labels["Pose_Para"][0][1])))
    return found


def detector(name: str) -> Detector:
    values = {**STANDALONE["detection"], "detector": name}
    return open_detector(DetectionParams.model_validate(values))


def found_in(detector: Detector, faces: Sequence[Any], min_score: float) -> dict[str, Any]:
    """Faces found at each turn, and detections beside them.

    Args:
        detector: that looks thoroughly.
        faces: as `stills` gives them.
        min_score: that a detection has to have.
    """
    told: dict[str, Any] = {}
    for turn in TURNS:
        hits, others = [], 0
        for image, points, _ in faces:
            shown, places = turned(image, points, turn)
            truth = [Box(*places.min(axis=0).tolist(), *places.max(axis=0).tolist())]
            boxes = [face.box for face in detector.find(shown) if face.score >= min_score]
            overlaps = overlap(truth, boxes)[0] if boxes else np.zeros(0)
            hits.append(bool((overlaps >= FOUND).any()))
            others += int((overlaps < 0.1).sum())
        profile = [hit for hit, (*_, yaw) in zip(hits, faces, strict=True) if PROFILE_DEG <= abs(yaw) <= 90]
        told[f"{turn}"] = {"all": share(hits), "yaw_60_to_90": share(profile), "elsewhere": others}
    return told


def share(hits: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(hits), len(hits))
    value = 100 * sum(hits) / len(hits)
    return {"hits": sum(hits), "n": len(hits), "value": round(value, 2), "low": round(low, 2), "high": round(high, 2)}


def listed(clips: Path) -> list[dict[str, str]]:
    """The rows of clips.csv, but for clips that show a person at times only."""
    with open(clips / "clips.csv") as file:
        return [row for row in csv.DictReader(file) if not row["usable"].startswith("partly")]


def looked_at(clips: Path, fps: float) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Frames of the clips, and what clips.csv says of their use.

    Args:
        clips: their folder.
        fps: frames of each second.
    """
    for row in listed(clips):
        for frame in frames(clips / row["path"], fps):
            yield row["usable"], frame.image


def backgrounds(clips: Path, detectors: Sequence[Detector], seed: int) -> list[NDArray[np.uint8]]:
    """Random squares without the person of the clip.

    Args:
        clips: folder of the clips.
        detectors: that find the person.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    crops: list[NDArray[np.uint8]] = []
    for usable, image in looked_at(clips, FPS):
        people = []
        if not usable.startswith("NO FACE"):
            best = [found[0].box for each in detectors if (found := each.find(image, thorough=False))]
            people = [_doubled(box) for box in best]
            if not people:
                continue
        height, width = image.shape[:2]
        for _ in range(PER_FRAME):
            side = int(rng.integers(SIDES[0], min(SIDES[1], height, width) + 1))
            left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
            box = Box(left, top, left + side, top + side)
            if not people or (overlap([box], people) == 0).all():
                crops.append(np.ascontiguousarray(image[top : top + side, left : left + side]))
    order = rng.permutation(len(crops))[:BACKGROUNDS]
    return [crops[i] for i in order.tolist()]


def _doubled(box: Box) -> Box:
    width, height = (box.right - box.left) / 2, (box.bottom - box.top) / 2
    return Box(box.left - width, box.top - height, box.right + width, box.bottom + height)


def quick_look_ms(detector: Detector, clips: Path, frames_of_clips: int) -> float:
    """Processor milliseconds of a look at a frame of the clips in 1280 x 720, the face of the look before expected.

    Args:
        detector: that looks.
        clips: their folder.
        frames_of_clips: how many of their frames.
    """
    taken, looks = 0.0, 0
    for _, image in islice(looked_at(clips, 1.0), frames_of_clips):
        shown = cv2.resize(image, (1280, 720), interpolation=cv2.INTER_AREA)
        expected = [face.box for face in detector.find(shown)[:1]]
        begin = time.process_time()
        detector.find(shown, expected, thorough=False)
        taken, looks = taken + time.process_time() - begin, looks + 1
    return 1000 * taken / looks


def text(told: dict[str, Any]) -> str:
    lines = [
        "# Faces found",
        "",
        f"`python -m studies.detection FOLDER`: {told['stills']} stills of AFLW2000-3D on which nothing was chosen, "
        f"and {told['backgrounds']} squares of backgrounds of {told['clips']} real clips. A still is found where a "
        "detection overlaps the box of its 68 landmarks by half. In percent, with 95 % intervals (Wilson); `elsewhere` "
        "are detections that overlap it by less than a tenth, some of them other people. Looks are timed on "
        f"{told['processor']}.",
        "",
        "| detector | turned by ° | found | of yaw 60 to 90° | elsewhere |",
        "|---|---|---|---|---|",
    ]
    for name, each in told["detectors"].items():
        for turn, one in each["found"].items():
            cells = (
                f"{one[key]['value']:.1f} [{one[key]['low']:.1f}, {one[key]['high']:.1f}]"
                for key in ("all", "yaw_60_to_90")
            )
            lines.append(f"| `{name}` | {turn} | {' | '.join(cells)} | {one['elsewhere']} |")
    lines += ["", "| detector | false faces in the backgrounds | quick look at 1280 x 720, CPU ms |", "|---|---|---|"]
    for name, each in told["detectors"].items():
        lines.append(f"| `{name}` | {each['false_faces']} | {each['quick_look_ms']:.1f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with aflw2000/ and clips/")
    parser.add_argument("--half", choices=("report", "choose"), default="report", help="choose: print, write nothing")
    parser.add_argument("--min-score", type=float, default=0.0, help="leave out detections below it")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    faces = stills(args.folder / "aflw2000", args.half)
    detectors = {name: detector(name) for name in DETECTORS}
    grounds = backgrounds(args.folder / "clips", list(detectors.values()), args.half == "report")
    clips = len(listed(args.folder / "clips"))
    told: dict[str, Any] = {"stills": len(faces), "backgrounds": len(grounds), "clips": clips, "processor": processor()}
    told["detectors"] = {}
    for name, each in detectors.items():
        false = [face.score for ground in grounds for face in each.find(ground) if face.score >= args.min_score]
        told["detectors"][name] = {
            "found": found_in(each, faces, args.min_score),
            "false_faces": len(false),
            "false_scores": [round(score, 3) for score in sorted(false, reverse=True)],
            "quick_look_ms": round(quick_look_ms(each, args.folder / "clips", 100), 2),
        }
        print(name, json.dumps(told["detectors"][name]), flush=True)
    if args.half == "report":
        write_record(OUT, told, text(told))


if __name__ == "__main__":
    main()
