"""Colours and marks of encoders: those of Okabe and Ito, which colour-blind people tell apart; marks help in grey."""

from collections.abc import Sequence
from typing import Any

#: Blue, vermilion, green, purple, orange, sky blue, black, grey: strong against white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")

#: The most encoders that one figure tells apart.
MOST = len(COLOURS)


def styles(encoders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and mark of each encoder, by its place.

    Raises:
        ValueError: more encoders than a figure tells apart.
    """
    if len(encoders) > MOST:
        raise ValueError(f"{len(encoders)} encoders in one figure; it can tell {MOST} apart")
    return {
        encoder: {"color": colour, "marker": mark}
        for encoder, colour, mark in zip(encoders, COLOURS, _MARKS, strict=False)
    }
