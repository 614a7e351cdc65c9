"""A timeline as one HTML file: numbers and pictures are in it, and a script of its own draws them."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.faces.face_params import differences
from fabnet.figures.preview import clock
from fabnet.inference.timeline.series import SMOOTHING_S, Series, Timeline, Track, lanes, smooth
from fabnet.model import Model
from fabnet.pages import data_url, render
from fabnet.video.recipe import recipe

#: Lanes that are drawn; the faces of others are counted.
MOST_LANES = 4


def timeline_page(timeline: Timeline, lines: list[str]) -> str:
    """The page.

    Args:
        timeline: what it shows.
        lines: what it says above: model, probes, and what to bear in mind.
    """
    found = lanes(timeline.tracks)
    shown, left_out = found[:MOST_LANES], found[MOST_LANES:]
    ranges = [
        _range(one, [lane.values_NS[:, at] for lane in timeline.tracks]) for at, one in enumerate(timeline.series)
    ]
    return render(
        "timeline.html",
        title=f"Timeline of {Path(timeline.name).name}",
        lines=lines,
        about=_about(timeline),
        smoothing=f"{max(SMOOTHING_S, 1 / timeline.fps):g}",
        lanes=[_lane(timeline, number, lane) for number, lane in enumerate(shown)],
        left_out=f"{sum(map(len, left_out))} further tracks, seen beside these, are not drawn." if left_out else "",
        series=timeline.series,
        data=_data(timeline, shown, ranges),
    )


def notes(model: Model, params: ExtractParams) -> list[str]:
    """What to know of the numbers: whose they are, and what they cannot be trusted in.

    Args:
        model: with probes.
        params: how the faces were found.
    """
    assert model.probes is not None
    lines = [
        f"Model {model.name}; linear probes of {model.probes.meta['set']}, which know only faces like those they "
        "learnt from. Roll is clockwise in the image, pitch up, yaw to the image's right; the mouth is measured in "
        "distances of the outer corners of the eyes; action units and expressions are probabilities with classes "
        "weighted equally.",
        "A track is one face through one shot; tracks are not matched with each other.",
    ]
    if params.source != "folder":
        lines.append(
            "Faces were not looked for: the middle of every frame is taken for one, so what is said of frames without "
            "a face means nothing."
        )
    differing = sorted(differences(model.recipe, recipe(params)), key=lambda each: not each.startswith("source"))
    if differing:
        lines.append(f"The model learnt from other crops, so take the numbers with care ({differing[0]}).")
    return lines


def _about(timeline: Timeline) -> str:
    faces = len({int(sample) for track in timeline.tracks for sample in track.samples_N})
    seconds = timeline.samples / timeline.fps
    return (
        f"{clock(seconds)}, {timeline.fps:g} samples per second; a face in {faces / max(timeline.samples, 1):.0%} of "
        f"them, {len(timeline.tracks)} track{'s' * (len(timeline.tracks) != 1)}, {len(timeline.cuts_s)} shot "
        f"cut{'s' * (len(timeline.cuts_s) != 1)}."
    )


def _lane(timeline: Timeline, number: int, lane: list[Track]) -> dict[str, Any]:
    """What is said of a lane, without a script too: mean and range of each series."""
    values = np.concatenate([track.values_NS for track in lane])
    rows = []
    for at, one in enumerate(timeline.series):
        numbers = values[:, at]
        said = [f"{value:.{one.digits}f}{one.unit}" for value in (numbers.mean(), numbers.min(), numbers.max())]
        rows.append({"name": one.name, "group": one.group, "cells": said})
    tracks = len(lane)
    return {
        "title": f"Face {number + 1}",
        "line": f"{len(values)} of {timeline.samples} samples, {tracks} track{'s' * (tracks != 1)}",
        "rows": rows,
    }


def _range(one: Series, values: list[NDArray[np.float32]]) -> tuple[float, float]:
    """The range that holds all values, not smaller than that of the series."""
    low, high = (float(edge([edge(each) for each in values])) for edge in (np.min, np.max))
    return min(one.low, low), max(one.high, high)


def _data(timeline: Timeline, shown: list[list[Track]], ranges: list[tuple[float, float]]) -> dict[str, Any]:
    """What the script draws. A value is a whole number from the lowest to the highest of its series, `missing` where
    there was no face; two bytes for angles, one for the rest of the probes.
    """
    series = [
        {"group": one.group, "name": one.name, "unit": one.unit, "digits": one.digits, "low": low, "high": high}
        | {"wide": one.digits == 0 or one.group == "Mouth"}
        for one, (low, high) in zip(timeline.series, ranges, strict=True)
    ]
    drawn = []
    for lane in shown:
        raw, smoothed = (
            [track.values_NS for track in lane],
            [smooth(track, timeline.fps, timeline.shots) for track in lane],
        )
        pictures = sorted((sample, jpeg) for track in lane for sample, jpeg in track.thumbnails.items())
        drawn.append(
            {
                "raw": [_packed(timeline.samples, lane, raw, at, one) for at, one in enumerate(series)],
                "smooth": [_packed(timeline.samples, lane, smoothed, at, one) for at, one in enumerate(series)],
                "tracks": [[track.number, int(track.samples_N[0]), int(track.samples_N[-1])] for track in lane],
                "pictures": [[sample, data_url("jpeg", jpeg)] for sample, jpeg in pictures],
            }
        )
    return {"fps": timeline.fps, "samples": timeline.samples, "shots": timeline.shots, "series": series, "lanes": drawn}


def _packed(samples: int, lane: list[Track], values: list[NDArray[np.float32]], at: int, series: dict[str, Any]) -> str:
    kind = np.dtype("<u2" if series["wide"] else "u1")
    missing = int(np.iinfo(kind).max)
    packed = np.full(samples, missing, kind)
    for track, values_NS in zip(lane, values, strict=True):
        share = (values_NS[:, at].astype(np.float64) - series["low"]) / (series["high"] - series["low"])
        packed[track.samples_N] = np.rint(share * (missing - 1)).clip(0, missing - 1)
    return base64.b64encode(packed.tobytes()).decode()
