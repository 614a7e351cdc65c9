"""Nearest neighbours over embeddings, as the report shows them."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.report.attempt import attempt_blocks, attempt_section
from fabnet.report.blocks import Block, Section, Table, Text
from fabnet.report.cells import NOTHING, score_cell
from fabnet.report.pictures import read_pictures
from fabnet.retrieval.attributes import IDENTITY, JACCARD, MAP, PITCH, POSE, PRECISION, ROLL, UNITS, YAW
from fabnet.retrieval.evaluation import CHANCE, KEPT, LEFT_OUT

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


def retrieval(sets: Iterable[str], root: Path = Path("reports/retrieval")) -> Section:
    """A subsection for each labelled set, and one for the frames of test identities.

    Args:
        sets: names of the labelled sets.
        root: what the stages `retrieve` and `retrieve_frames` wrote; a part that is not there is a gap.
    """
    places = [(root / "sets", name) for name in sets]
    below = [
        _attempt(folder, name, f"Among the test faces of `{name}`", f"retrieval-set-{name}") for folder, name in places
    ]
    below.append(_attempt(root, "frames", "Among frames of test identities", "retrieval-frames"))
    introduction = (
        "Faces sorted by the cosine between their embeddings and that of a query (section 5.3 of the paper). Where the "
        "embedding tells pose and expression, the nearest faces look the same way; where it does not tell who somebody "
        "is, few of them are the query's own person."
    )
    return Section("Retrieval", "retrieval", [Text(introduction)], below)


def _attempt(folder: Path, name: str, title: str, anchor: str) -> Section:
    return attempt_section(title, anchor, lambda: _searched(folder, name, title, anchor))


def _searched(folder: Path, name: str, title: str, anchor: str) -> Section:
    path = folder / f"{name}.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` to search the embeddings")
    found = read_json(path)
    blocks: list[Block] = []
    if found["scores"]:
        blocks.append(Text(_asked(found)))
        for setting, scores in found["scores"].items():
            tables = partial(_tables, scores, setting)
            blocks += attempt_blocks(f"{name}: neighbours", tables)
        blocks += attempt_blocks(f"{name}: neighbours beside chance", lambda: _beside(found))
    if found["gaps"]:
        absent = "; ".join(f"{what} ({why})" for what, why in found["gaps"].items())
        blocks.append(Text(f"Not measured: {absent}."))
    blocks += attempt_blocks(f"{name}: pictures of neighbours", lambda: read_pictures(folder / name))
    below = []
    if found.get("classes", {}).get(KEPT):
        below.append(
            attempt_section(
                "By the query's expression", f"{anchor}-expressions", lambda: _by_expression(found["classes"], anchor)
            )
        )
    return Section(title, anchor, blocks, below)


def _asked(found: Mapping[str, Any]) -> str:
    faces, people, asked = found["faces"], found["people"], found["asked"]
    centred = ", after the mean of the training faces was subtracted" if asked["centre"] else ""
    return (
        f"{faces['queries']:,} queries of {people['queries']:,} people, a gallery of {faces['gallery']:,} faces of "
        f"{people['gallery']:,}; cosine similarity{centred}. Means over the {asked['k']} nearest faces of each query, "
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


def _by_expression(classes: Mapping[str, Any], anchor: str) -> Section:
    blocks: list[Block] = []
    for metric in (PRECISION, MAP):
        scores = classes[LEFT_OUT]
        names = list(dict.fromkeys(name for row in scores.values() for name in row))
        rows = [[encoder, *(_value(row.get(name, {}), metric) for name in names)] for encoder, row in scores.items()]
        blocks.append(Table(["encoder", *names], rows, f"{TITLES[metric]}, faces of the query's own person left out"))
    return Section("By the query's expression", f"{anchor}-expressions", blocks)


def _value(row: Mapping[str, Any], metric: str) -> str:
    return f"{row[metric]['value']:.1f}" if metric in row else NOTHING
