#!/usr/bin/env bash
# `ffmpeg -vf fps=1`, the usual way to one frame per second, does not take what is on display at 0, 1, 2 ... seconds. The
# filter rounds the time of each frame to the nearest second and keeps the last frame of each: the one that it stamps 0 s
# is from 0.48 s, that of 1 s from 1.48 s. Pictures lie half an interval off the labels (boxes, action units) of the
# seconds whose name they bear. With `round=up` they lie on them. Seen with libavfilter 11 in PyAV 18.1.0, frames at 25 per
# second, and with the ffmpeg command of that library:
#
#   fps=1           stamped 0, 1, 2, 3: from 0.48, 1.48, 2.48, 3.48 s
#   fps=1:round=up  stamped 0, 1, 2, 3: from 0.00, 1.00, 2.00, 3.00 s
#
# Fails (exit 1) when the filter does otherwise. Needs python3 (3.11), and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from fractions import Fraction

import av
import numpy as np

RATE = 25


def sampled(arguments):
    """(time stamp, time of the frame that it shows), both in seconds, of what the filter lets through."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format="gray", time_base=Fraction(1, RATE))
    fps, sink = graph.add("fps", arguments), graph.add("buffersink")
    source.link_to(fps)
    fps.link_to(sink)
    graph.configure()
    found = []
    for number in [*range(100), None]:
        frame = None
        if number is not None:  # every pixel of a frame is the frame's number
            frame = av.VideoFrame.from_ndarray(np.full((16, 16), number, np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
        graph.push(frame)
        try:
            while True:
                out = graph.pull()
                found.append((float(out.pts * out.time_base), int(out.to_ndarray()[0, 0]) / RATE))
        except (BlockingIOError, EOFError):  # it wants more frames, or has no more
            continue
    return found[:4]


print("PyAV", av.__version__, "libavfilter", av.library_versions["libavfilter"])
seen = {arguments: sampled(arguments) for arguments in ("fps=1", "fps=1:round=up")}
for arguments, found in seen.items():
    print(f"{arguments:15}", *(f"stamped {stamp:.0f} s: from {time:.2f} s" for stamp, time in found), sep="  ")
assert seen["fps=1"] == [(0, 0.48), (1, 1.48), (2, 2.48), (3, 3.48)], "fps=1 no longer shows the later picture"
assert seen["fps=1:round=up"] == [(0, 0), (1, 1), (2, 2), (3, 3)], "round=up no longer shows what is on display"
PYTHON
