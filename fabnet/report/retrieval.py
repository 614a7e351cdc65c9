"""Nearest neighbours over embeddings, as the report shows them."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fabnet.errors import UserError
from fabnet.figures.pictures import read_pictures
from fabnet.files import read_json
from fabnet.report.blocks import NOTHING, Block, Content, Table, Text, score_cell, section
from fabnet.retrieval.evaluation import CHANCE
from fabnet.retrieval.samples import IDENTITY, JACCARD, KEPT, LEFT_OUT, MAP, PITCH, POSE, PRECISION, ROLL, UNITS, YAW

#: Column titles, in the order of the tables; an arrow says which way is better.
TITLES = {
    YAW: "yaw ° ↓",
    PITCH: "pitch ° ↓",
    ROLL: "roll ° ↓",
    POSE: "pose ° ↓",
    UNITS: "units agree % ↑",
    JACCARD: "units in common % ↑",
    PRECISION: "same expression % ↑",
    MAP: "expression mAP % ↑",
    IDENTITY: "same identity % ↓",
}

_WHO = {KEPT: "Faces of the query's own person count", LEFT_OUT: "Faces of the query's own person left out"}


def retrieval(sets: Iterable[str], root: Path = Path("reports/retrieval")) -> Content:
    """A subsection for each labelled set, and one for the frames of test identities.

    Args:
        sets: names of the labelled sets.
        root: what the stages `retrieve` and `retrieve_frames` wrote; a part that is not there is a gap.
    """
    yield Text(
        "Faces sorted by the cosine between their embeddings and that of a query (section 5.3 of the paper). Where the "
        "embedding tells pose and expression, the nearest faces look the same way; where it does not tell who somebody "
        "is, few of them are the query's own person."
    )
    for name in sets:
        anchor = f"retrieval-set-{name}"
        yield section(f"Among the test faces of `{name}`", anchor, partial(_searched, root / "sets", name, anchor))
    anchor = "retrieval-frames"
    yield section("Among frames of test identities", anchor, partial(_searched, root, "frames", anchor))


def _searched(folder: Path, name: str, anchor: str) -> Content:
    path = folder / f"{name}.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` to search the embeddings")
    found = read_json(path)
    if found["scores"]:
        yield Text(_asked(found))
        for setting, scores in found["scores"].items():
            yield from _tables(scores, setting)
        yield from _beside(found)
    if found["gaps"]:
        absent = "; ".join(f"{what} ({why})" for what, why in found["gaps"].items())
        yield Text(f"Not measured: {absent}.")
    yield from read_pictures(folder / name)
    if found.get("classes", {}).get(KEPT):
        yield section(
            "By the query's expression", f"{anchor}-expressions", partial(_by_expression, found["classes"][LEFT_OUT])
        )


def _asked(found: Mapping[str, Any]) -> str:
    faces, people, asked = found["faces"], found["people"], found["asked"]
    return (
        f"{faces['queries']:,} queries of {people['queries']:,} people, a gallery of {faces['gallery']:,} faces of "
        f"{people['gallery']:,}; cosine similarity. Means over the {asked['k']} nearest faces of each query, "
        "but for mAP, which is over the whole ranking; in brackets the 95 % bootstrap interval over people. "
        "Faces of one image, clip, track or video are no neighbours of each other. Angles are mean absolute "
        "differences; units agree where both faces or neither show them; in common are those that both show, of those "
        f"that either shows. `{CHANCE}` is a random order of the gallery, computed exactly."
    )


def _tables(scores: Mapping[str, Mapping[str, Any]], setting: str) -> list[Block]:
    metrics = [metric for metric in TITLES if any(metric in row for row in scores.values())]
    if not metrics:
        return []  # what is not measured stands below
    rows = [
        [encoder, *(score_cell(row[metric]) if metric in row else NOTHING for metric in metrics)]
        for encoder, row in scores.items()
    ]
    return [Table(["encoder", *(TITLES[metric] for metric in metrics)], rows, _WHO[setting])]


def _beside(found: Mapping[str, Any]) -> list[Block]:
    """Differences of yaw over those of chance, and beside the reference's, same identity left out."""
    reference = found["asked"]["reference"]
    rows = []
    for encoder, row in found["scores"].get(LEFT_OUT, {}).items():
        said = row.get(YAW, {})
        if "times_chance" in said:
            beside = said.get("minus_reference")
            rows.append(
                [
                    encoder,
                    score_cell(said["times_chance"], digits=2),
                    NOTHING if beside is None else score_cell(beside),
                ]
            )
    head = ["encoder", f"yaw over `{CHANCE}`'s ↓", f"yaw less `{reference}`'s, ° ↓"]
    return [Table(head, rows, f"{_WHO[LEFT_OUT]}; differences are of the same queries")] if rows else []


def _by_expression(scores: Mapping[str, Any]) -> Content:
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    for metric in (PRECISION, MAP):
        rows = [[encoder, *(_value(row.get(name, {}), metric) for name in names)] for encoder, row in scores.items()]
        yield Table(["encoder", *names], rows, f"{TITLES[metric]}, faces of the query's own person left out")


def _value(row: Mapping[str, Any], metric: str) -> str:
    return f"{row[metric]['value']:.1f}" if metric in row else NOTHING
