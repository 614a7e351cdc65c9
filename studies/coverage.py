"""On how much of the time of real clips is there a face, by detector? docs/results/coverage.md and .json.

    python -m studies.coverage FOLDER [--fps 5] [--sheets SHEETS]

FOLDER holds clips and `clips.csv` (path, usable: yes, partly ..., NO FACE ...). A sample is covered where a track that
an extraction at defaults keeps has a face; clips that show their person partly, or nobody, are counted apart. With
`--sheets` a contact sheet of each clip goes there, to be looked at: a covered sample may show a hand.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.stats import binomtest

from fabnet.config import ExtractParams
from fabnet.config.data import STANDALONE
from fabnet.faces.found import find_faces
from fabnet.faces.inputs import find_input
from fabnet.figures.pictures import save
from fabnet.inference.preview import preview
from fabnet.tracking.verify.verify import processor
from fabnet.video.faces import Face, Frame
from fabnet.video.reject import Rejected
from studies.record import write_record

OUT = Path("docs/results/coverage")
DETECTORS = ("haar", "blazeface")
RESAMPLES = 2000


class Clip(NamedTuple):
    """What was found in a clip: samples, those of them with a face of a kept track, and kept and lost tracks."""

    kind: str
    samples: int
    covered: int
    kept: int
    lost: int


def kind_of(usable: str) -> str:
    """How a clip counts, by the word of clips.csv: usable, partly or nobody."""
    return "nobody" if usable.startswith("NO FACE") else "partly" if usable.startswith("partly") else "usable"


def covered(path: Path, params: ExtractParams, kind: str) -> Clip:
    """What an extraction would keep of a clip.

    Args:
        path: of the video.
        params: under which faces are looked for.
        kind: how the clip counts.
    """
    samples = 0

    def watch(frames: Iterator[Frame]) -> Iterator[Frame]:
        nonlocal samples
        for frame in frames:
            samples += len(frame.samples)
            yield frame

    faces = find_faces(find_input(str(path), "a clip"), params, watch)
    numbers: dict[int, set[int]] = {}
    try:
        for track, event in faces.events():
            if isinstance(event, Face):
                numbers.setdefault(track, set()).add(event.number)
    except Rejected as rejected:
        if rejected.reason != "no_face":
            raise
    kept = [seen for track, seen in numbers.items() if track not in faces.lost and len(seen) >= params.min_frames]
    return Clip(kind, samples, len(set().union(*kept)), len(kept), len(numbers) - len(kept))


def share(clips: Sequence[Clip], seed: int = 0) -> dict[str, float]:
    """Covered samples of all, in percent, with a 95 % interval over clips drawn with replacement (samples of one clip
    are alike).

    Args:
        clips: what was found.
        seed: of the draws.
    """
    counts = np.array([(clip.covered, clip.samples) for clip in clips], float)
    draws = counts[np.random.default_rng(seed).integers(0, len(counts), (RESAMPLES, len(counts)))].sum(axis=1)
    low, high = np.percentile(100 * draws[:, 0] / draws[:, 1], (2.5, 97.5))
    value = 100 * counts[:, 0].sum() / counts[:, 1].sum()
    return {"value": round(float(value), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def summary(clips: Sequence[Clip]) -> dict[str, Any]:
    """Of all clips of one detector, by kind."""
    told: dict[str, Any] = {}
    for kind in ("usable", "partly", "nobody"):
        some = [clip for clip in clips if clip.kind == kind]
        if some:
            told[kind] = {
                "clips": len(some),
                "samples": sum(clip.samples for clip in some),
                "covered": sum(clip.covered for clip in some),
                "share": share(some),
                "whole": sum(clip.covered == clip.samples for clip in some),
                "without_track": sum(clip.kept == 0 for clip in some),
                "of_several_tracks": sum(clip.kept > 1 for clip in some),
                "lost_tracks": sum(clip.lost for clip in some),
            }
    return told


def text(told: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        "# Time with a face",
        "",
        f"`python -m studies.coverage FOLDER --fps {told['fps']:g}`: clips of real people as `extract` at defaults "
        "takes them, but for the rate. A sample is covered where a kept track has a face. In percent, with 95 % "
        "intervals: of samples over clips drawn with replacement, of clips Wilson's. `partly` are clips whose person "
        "comes or goes, "
        f"`nobody` is a clip without one. {told['processor']}.",
        "",
        "| detector | clips | samples | covered | % of samples | % of clips to the last sample | of several tracks | "
        "without a track |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kinds in told["detectors"].items():
        for kind, one in kinds.items():
            samples = one["share"]
            clips = binomtest(one["whole"], one["clips"])
            low, high = clips.proportion_ci(0.95, method="wilson")
            lines.append(
                f"| `{name}` | {one['clips']} {kind} | {one['samples']} | {one['covered']} | {samples['value']:.2f} "
                f"[{samples['low']:.2f}, {samples['high']:.2f}] | {100 * clips.statistic:.0f} [{100 * low:.0f}, "
                f"{100 * high:.0f}] | {one['of_several_tracks']} | {one['without_track']} |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--sheets", type=Path, help="where contact sheets go; nothing else is done then")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    with open(args.folder / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    by_detector = {
        name: ExtractParams.standalone(
            videos=args.folder,
            source="folder",
            fps=args.fps,
            min_frames=2,
            detection={**STANDALONE["detection"], "detector": name},
        )
        for name in DETECTORS
    }
    if args.sheets:
        args.sheets.mkdir(parents=True, exist_ok=True)
        for row in rows:
            drawn = preview(str(args.folder / row["path"]), by_detector["blazeface"])
            save(drawn.sheet, args.sheets / f"{row['path'].replace('/', '_')}.png", dpi=80)
        return
    told: dict[str, Any] = {"fps": args.fps, "processor": processor(), "detectors": {}}
    for name, params in by_detector.items():
        clips = [covered(args.folder / row["path"], params, kind_of(row["usable"])) for row in rows]
        told["detectors"][name] = summary(clips)
        print(name, json.dumps(told["detectors"][name]), flush=True)
        for row, clip in zip(rows, clips, strict=True):
            if clip.kind == "usable" and (clip.covered < clip.samples or clip.kept != 1):
                print(f"  {row['path']}: {clip.covered} of {clip.samples} samples, tracks: {clip.kept}", flush=True)
    write_record(OUT, told, text(told))


if __name__ == "__main__":
    main()
