"""Do crops tell, without labels, that two tracks show different people? docs/results/other-people.md and .json.

    python -m studies.other_people FRAMES [--people PEOPLE.csv]

FRAMES is a directory of track shards of real faces, in which most identities are one person. PEOPLE.csv (track_id,
person) corrects those that are not; an empty person leaves a track out. Pairs of tracks of one person are compared with
pairs of two people, every person weighing the same. People are parted in two halves by a seed: a threshold is set on
one half such that few pairs of one person lie above it, and all scores are of the other.
"""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import simplejpeg
from numpy.typing import NDArray

from fabnet.frames.shards import INDEX
from fabnet.video.appearance import change
from studies.record import write_record

OUT = Path("docs/results/other-people")
FRAMES, SHOWN = 12, 3  # of a track, in all and where each pair of frames takes long
STRANGERS, RESAMPLES, SEED = 4000, 500, 0
#: Share of the pairs of one person that a threshold may take for two.
FALSE = 0.02
_BLOCKS, _BLOCK, _CODES = 7, 13, 59
_DIMENSIONS, _SHRINKAGE = 80, 0.1

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Track:
    """Some crops of a track, described.

    Attributes:
        colours: int16 (N, 16, 16, 3), L, a and b of cells, as fabnet.video.appearance compares them.
        hog, lbp: float32 (N, D), histograms of gradients (Dalal and Triggs 2005) and of uniform local binary patterns
            in 7 x 7 blocks (Ahonen et al. 2006; square roots, so that distances are Hellinger's).
    """

    person: str
    clip: str
    colours: NDArray[np.int16]
    hog: NDArray[np.float32]
    lbp: NDArray[np.float32]


def patterns(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Local binary patterns of a crop, uint8 (H, W): square roots of the shares of 59 codes in 7 x 7 blocks."""
    image = cv2.resize(grey, (96, 96), interpolation=cv2.INTER_AREA).astype(np.int16)
    middle = image[1:-1, 1:-1]
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    codes = sum((image[y : y + 94, x : x + 94] >= middle).astype(np.int64) << bit for bit, (y, x) in enumerate(around))
    uniform = [code for code in range(256) if (code ^ (code >> 1 | (code & 1) << 7)).bit_count() <= 2]
    numbers = np.full(256, _CODES - 1)
    numbers[uniform] = np.arange(len(uniform))
    numbered = numbers[codes]
    blocks = [
        np.bincount(numbered[y : y + _BLOCK, x : x + _BLOCK].ravel(), minlength=_CODES) / _BLOCK**2
        for y in range(0, _BLOCKS * _BLOCK, _BLOCK)
        for x in range(0, _BLOCKS * _BLOCK, _BLOCK)
    ]
    return np.sqrt(np.concatenate(blocks)).astype(np.float32)


def read(frames: Path, corrected: dict[str, str]) -> list[Track]:
    """The tracks of a directory of shards.

    Args:
        frames: the directory.
        corrected: the person of a track, where it is not the identity; empty leaves it out.
    """
    gradients = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)
    tracks = []
    for name, rows in pq.read_table(frames / INDEX).to_pandas().groupby("track_id"):
        person = corrected.get(str(name), rows["identity"].iloc[0])
        if not person:
            continue
        some = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, FRAMES).round().astype(int))]
        colours, hog, lbp = [], [], []
        for _, row in some.iterrows():
            with open(frames / row["shard"], "rb") as shard:
                shard.seek(row["offset"])
                image = simplejpeg.decode_jpeg(shard.read(row["size"]), "RGB")
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            cells = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
            colours.append(cv2.cvtColor(cells, cv2.COLOR_RGB2LAB).astype(np.int16))
            small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA)
            hog.append(np.asarray(gradients.compute(small), np.float32).ravel())
            lbp.append(patterns(grey))
        tracks.append(Track(person, rows["clip"].iloc[0], np.array(colours), np.array(hog), np.array(lbp)))
    return tracks


def whitened(tracks: Sequence[Track], chosen: Sequence[int]) -> list[NDArray[np.float64]]:
    """Patterns of every track, of length 1, in axes along which frames of one track vary by as much in each (WCCN).

    Args:
        tracks: all of them.
        chosen: numbers of those that the axes are learnt from. No label is needed: a track is one person.
    """
    frames = np.concatenate([tracks[i].lbp for i in chosen]).astype(np.float64)
    mean = frames.mean(axis=0)
    axes = np.linalg.svd(frames - mean, full_matrices=False)[2][:_DIMENSIONS].T
    within = np.concatenate([(tracks[i].lbp - tracks[i].lbp.mean(axis=0)) @ axes for i in chosen])
    spread = within.T @ within / len(within)
    spread += _SHRINKAGE * np.trace(spread) / len(spread) * np.eye(len(spread))
    turn = axes @ np.linalg.cholesky(np.linalg.inv(spread))
    turned = [(track.lbp - mean) @ turn for track in tracks]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in turned]


def nearest(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The least distance of a row of one from a row of the other."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return float(np.sqrt(max(squares.min(), 0)))


def least_change(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    few = np.unique(np.linspace(0, len(one) - 1, SHOWN).round().astype(int))
    others = np.unique(np.linspace(0, len(other) - 1, SHOWN).round().astype(int))
    return min(change(one[i], other[j]) for i in few for j in others)


def auc(same: NDArray[np.float64], weights: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Chance that two people are further apart than one person is from itself.

    Args:
        same: distances of pairs of one person.
        weights: of these pairs.
        other: distances of pairs of two people.
    """
    ordered = np.sort(other)
    below, upto = np.searchsorted(ordered, same, "left"), np.searchsorted(ordered, same, "right")
    return float((weights * (1 - (below + upto) / 2 / len(other))).sum() / weights.sum())


def by_person(people: Sequence[str]) -> NDArray[np.float64]:
    """Weights with which every person counts the same."""
    counts = Counter(people)
    return np.array([1 / counts[person] for person in people])


def judged(
    distance: Callable[[int, int], float], tracks: Sequence[Track], pairs: Mapping[str, Pairs], half: dict[str, int]
) -> dict[str, Any]:
    """Scores of a distance of two tracks by their numbers.

    Args:
        distance: of two tracks.
        tracks: that the numbers are of.
        pairs: other_clip and same_clip of one person; strangers, and those who share a clip or an identity (together).
        half: of every person, 0 to choose with and 1 to report of.
    """
    values = {name: np.array([distance(i, j) for i, j in some]) for name, some in pairs.items()}
    people = {name: np.array([tracks[i].person for i, _ in some]) for name, some in pairs.items()}
    mine = {name: np.array([half[person] == 1 for person in some], bool) for name, some in people.items()}
    same = np.concatenate([values[name][~mine[name]] for name in ("other_clip", "same_clip")])
    weights = by_person([p for name in ("other_clip", "same_clip") for p in people[name][~mine[name]]])
    order = np.argsort(same)
    limit = float(same[order][np.searchsorted(np.cumsum(weights[order]), (1 - FALSE) * weights.sum())])
    strangers = values["strangers"][mine["strangers"]]
    told: dict[str, Any] = {"limit": round(limit, 3)}
    rng = np.random.default_rng(SEED)
    for name in ("other_clip", "same_clip"):
        found, who = values[name][mine[name]], people[name][mine[name]]
        persons = np.unique(who)
        if not len(persons):
            continue  # a set may have one clip of everybody, or one track in every clip
        draws = []
        for _ in range(RESAMPLES):
            drawn = Counter(rng.choice(persons, len(persons)).tolist())
            draws.append(auc(found, by_person(who) * [drawn[person] for person in who], strangers))
        low, high = np.percentile(draws, (2.5, 97.5))
        told[name] = {
            "auc": round(auc(found, by_person(who), strangers), 3),
            "low": round(float(low), 3),
            "high": round(float(high), 3),
            "people": len(persons),
            "false": round(float((by_person(who) * (found > limit)).sum() / len(persons)), 3),
        }
    told["strangers_found"] = round(float((strangers > limit).mean()), 3)
    if len(values["together"]):
        told["together_found"] = round(float((values["together"] > limit).mean()), 3)
    return told


def study(tracks: Sequence[Track]) -> dict[str, Any]:
    people = sorted({track.person for track in tracks})
    rng = np.random.default_rng(SEED)
    half = {person: place % 2 for place, person in enumerate(rng.permutation(people).tolist())}
    pairs: dict[str, list[tuple[int, int]]] = {"other_clip": [], "same_clip": [], "strangers": [], "together": []}
    for i, j in combinations(range(len(tracks)), 2):
        one, other = tracks[i], tracks[j]
        if one.person == other.person:
            pairs["same_clip" if one.clip == other.clip else "other_clip"].append((i, j))
        elif one.clip == other.clip:
            pairs["together"].append((i, j))
        elif half[one.person] == half[other.person]:
            pairs["strangers"].append((i, j))
    order = rng.permutation(len(pairs["strangers"]))[:STRANGERS]
    pairs["strangers"] = [pairs["strangers"][place] for place in order.tolist()]
    axes = whitened(tracks, [i for i, track in enumerate(tracks) if half[track.person] == 0])
    distances: dict[str, Callable[[int, int], float]] = {
        "colours (`appearance.change`)": lambda i, j: least_change(tracks[i].colours, tracks[j].colours),
        "gradients (HOG)": lambda i, j: nearest(tracks[i].hog, tracks[j].hog),
        "patterns (LBP)": lambda i, j: nearest(tracks[i].lbp, tracks[j].lbp),
        "patterns, whitened (WCCN)": lambda i, j: nearest(axes[i], axes[j]),
    }
    told: dict[str, Any] = {"people": len(people), "tracks": len(tracks), "together": len(pairs["together"])}
    told["measures"] = {name: judged(each, tracks, pairs, half) for name, each in distances.items()}
    return told


def text(told: dict[str, Any]) -> str:
    """The record as Markdown."""
    first = next(iter(told["measures"].values()))
    lines = [
        "# Other people under one identity",
        "",
        f"`python -m studies.other_people FRAMES --people PEOPLE.csv`: {told['tracks']} tracks of {told['people']} "
        "real people. How far apart are two tracks, by their nearest crops? ROC AUC of pairs of one person against "
        "pairs of strangers, on the half of the people that nothing was chosen with "
        f"({first['other_clip']['people']} of them in several clips, {first['same_clip']['people']} in several tracks "
        "of a clip; each weighs the same), with 95 % intervals over people. A limit on the distance leaves "
        f"{100 * FALSE:g} % of the pairs of one person of the other half above it. `together` are {told['together']} "
        "pairs of people in one clip, of both halves.",
        "",
        "| measure | AUC, other clip | AUC, same clip | false alarms, other clip / same clip, % | strangers found, % | "
        "together found, % |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in told["measures"].items():
        cells = (f"{x['auc']:.3f} [{x['low']:.3f}, {x['high']:.3f}]" for x in (one["other_clip"], one["same_clip"]))
        lines.append(
            f"| {name} | {' | '.join(cells)} | {100 * one['other_clip']['false']:.1f} / "
            f"{100 * one['same_clip']['false']:.1f} | {100 * one['strangers_found']:.1f} | "
            f"{100 * one['together_found']:.1f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--people", type=Path, help="CSV of track_id,person")
    parser.add_argument("--json", action="store_true", help="print the scores, and write nothing")
    args = parser.parse_args()
    corrected: dict[str, str] = {}
    if args.people:
        table = pd.read_csv(args.people, dtype=str, keep_default_na=False, quoting=csv.QUOTE_MINIMAL)
        corrected = dict(zip(table["track_id"], table["person"], strict=True))
    cv2.setNumThreads(0)
    told = study(read(args.frames, corrected))
    if args.json:
        print(json.dumps(told, indent=1))
        return
    write_record(OUT, told, text(told))
    print(text(told))


if __name__ == "__main__":
    main()
