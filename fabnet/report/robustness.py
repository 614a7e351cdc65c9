"""Where encoders err: scores by bins of yaw, size and brightness."""

from collections.abc import Mapping, Sequence
from typing import Any

from fabnet.report.blocks import Block, Section, Table, Text
from fabnet.report.cells import MAIN, NOTHING, TITLES, edge, score_cell

_ORDER = ("yaw", "side", "brightness")

_INTRODUCTION = (
    "Test faces sorted into bins, each scored by itself: value [95 % bootstrap interval over the identities of the "
    "bin]. A bin with too few faces is counted and not scored. Errors of landmarks are measured by the distance of "
    "the eyes as seen in the image, which shrinks as a head turns."
)


def robustness(name: str, slices: Mapping[str, Any], encoders: Sequence[str]) -> Section:
    """A subsection per property, a table per metric.

    Args:
        name: of the labelled set.
        slices: what `probing.slices.sliced` gives, or for a property {"title", "missing": why it is not there}.
        encoders: in the order of the rows.
    """
    order = sorted(slices, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    below = [Section(f"By {slices[key]['title']}", f"{name}-by-{key}", _blocks(slices[key], encoders)) for key in order]
    return Section("Robustness", f"{name}-robustness", [Text(_INTRODUCTION)], below)


def _blocks(each: Mapping[str, Any], order: Sequence[str]) -> Sequence[Block]:
    if "missing" in each:
        return [Text(each["missing"])]
    if each["one_value"] is not None:
        return [Text(f"All test faces have the same value, {edge(each['one_value'])}: there is nothing to compare.")]
    bins = each["bins"]
    blocks: list[Block] = []
    if each["outside"]:
        blocks.append(Text(f"{each['outside']:,} test faces lie in no bin."))
    head = [f"{edge(bin_['low'])} to {edge(bin_['high'])}" for bin_ in bins]
    counts = [
        ["faces", *(f"{bin_['faces']:,}" for bin_ in bins)],
        ["identities", *(f"{bin_['identities']:,}" for bin_ in bins)],
    ]
    scored = {encoder for bin_ in bins for encoder in bin_["scores"]}
    encoders = [encoder for encoder in order if encoder in scored]
    for metric in MAIN:
        measured = [encoder for encoder in encoders if any(metric in bin_["scores"].get(encoder, {}) for bin_ in bins)]
        if measured:
            rows = [[encoder, *(_cell(bin_, encoder, metric) for bin_ in bins)] for encoder in measured]
            blocks.append(Table([TITLES[metric], *head], [*counts, *rows]))
    if not encoders:
        blocks.append(Table(["", *head], counts))
        blocks.append(Text("No bin has enough faces to be scored."))
    blocks += [Text(said) for bin_, title in zip(bins, head, strict=True) if (said := _absent(bin_, title))]
    return blocks


def _cell(bin_: Mapping[str, Any], encoder: str, metric: str) -> str:
    if not bin_["faces"]:
        return "no faces"
    if not bin_["enough"]:
        return "too few"
    scores = bin_["scores"].get(encoder, {})
    return score_cell(scores[metric], bold=False) if metric in scores else NOTHING


def _absent(bin_: Mapping[str, Any], title: str) -> str:
    if not bin_["enough"] or not bin_["absent"]:
        return ""
    named = "; ".join(f"{task}: {', '.join(names)}" for task, names in sorted(bin_["absent"].items()))
    return f"Left out of the areas from {title}, because all its faces agree: {named}."
