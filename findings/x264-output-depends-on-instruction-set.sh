#!/usr/bin/env bash
# x264 writes other bytes of the same pictures by the instruction set that it may use, also with one thread and bitexact
# flags, unless `cpu-independent=1` is among its parameters. Seen with PyAV 18.1.0 (its wheel's libx264), 28 November
# 2026, for 12 pictures of 96 x 96, CRF 16:
#   mbtree=0                    asm=0 differs from asm=MMX2,SSE2,...,SSE4.2
#   mbtree=0:cpu-independent=1  the same bytes
# Fails if that is no longer so. Needs an x86-64 processor with SSE4.2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import hashlib
import io
from fractions import Fraction

import av
import numpy as np

rng = np.random.default_rng(0)
pictures = rng.integers(0, 256, (12, 24, 24, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)


def encoded(parameters):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"crf": "16", "preset": "medium", "flags": "+bitexact", "threads": "1", "x264-params": parameters}
        stream = container.add_stream("libx264", rate=Fraction(1), options=options)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv444p"
        stream.gop_size, stream.thread_count = 12, 1
        for number, picture in enumerate(pictures):
            # The planes are filled as they are: nothing but x264 is at work.
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(2, 0, 1)), format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return hashlib.sha256(file.getvalue()).hexdigest()[:12]


print("PyAV", av.__version__, "libavcodec", av.library_versions["libavcodec"])
seen = {}
for parameters in ("mbtree=0", "mbtree=0:cpu-independent=1"):
    for sets in ("0", "MMX2,SSE2,SSE3,SSSE3,SSE4.1,SSE4.2"):
        hashes = {encoded(f"{parameters}:asm={sets}") for _ in range(2)}
        assert len(hashes) == 1, "not even equal from run to run"
        seen[parameters, sets] = hashes.pop()
        print(f"{parameters:28} asm={sets:36} {seen[parameters, sets]}")
free = {value for (parameters, _), value in seen.items() if parameters == "mbtree=0"}
bound = {value for (parameters, _), value in seen.items() if parameters != "mbtree=0"}
assert len(free) == 2, "x264 no longer depends on the instruction set"
assert len(bound) == 1, "cpu-independent=1 no longer makes it independent"
PYTHON
