"""Every encoder against one of them, on the same faces."""

from collections.abc import Mapping
from typing import Any

from fabnet.report.blocks import Section, Table, Text
from fabnet.report.cells import NOTHING, TITLES


def comparison(
    name: str, reference: str, paired: Mapping[str, Mapping[str, Mapping[str, Any]]], measured: bool
) -> Section:
    """Differences to the reference.

    Args:
        name: of the labelled set.
        paired: what `probing.paired.paired` gives.
        measured: whether the reference was scored on this set.
    """
    title, anchor = f"Differences to `{reference}` on the same faces", f"{name}-paired"
    if not measured:
        return Section(
            title, anchor, [Text(f"`{reference}` was not scored on this set, so nothing is compared with it.")]
        )
    if not paired:
        return Section(title, anchor, [Text(f"No other encoder was scored beside `{reference}`.")])
    metrics = [metric for metric in TITLES if any(metric in row for row in paired.values())]
    rows = [
        [encoder, *(_cell(row[metric]) if metric in row else NOTHING for metric in metrics)]
        for encoder, row in paired.items()
    ]
    text = Text(
        f"An encoder's score minus that of `{reference}`, with the 95 % interval of the difference over the same "
        "resamples of test identities; bold where it leaves out zero. Where less is better (↓), a positive difference "
        f"is in favour of `{reference}`; where more is (↑), a negative one. Each interval speaks of its own "
        "comparison: of twenty that differ in nothing, one is bold on average."
    )
    return Section(title, anchor, [text, Table(["encoder", *(TITLES[metric] for metric in metrics)], rows)])


def _cell(difference: Mapping[str, Any]) -> str:
    mark = "**" if difference["apart"] else ""
    low, high = difference["low"], difference["high"]
    return f"{mark}{difference['difference']:+.2f}{mark} [{low:+.2f}, {high:+.2f}]"
