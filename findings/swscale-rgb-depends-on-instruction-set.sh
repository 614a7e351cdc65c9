#!/usr/bin/env bash
# libswscale's RGB of the same yuv420p picture depends on the processor: its routine for each instruction set rounds in its
# own way, and PyAV's `to_ndarray(format="rgb24")` uses it. BITEXACT, whose name promises otherwise, changes nothing about
# that; ACCURATE_RND does. Seen with PyAV 18.1.0 on random planes of 256 x 256, 28 November 2026, by libav's own switch
# `av_force_cpu_flags`, without an instruction set against with all of the processor's:
#   BILINEAR (the default)   to RGB 0.409 of the values differ by up to 3; to YUV 0.023 by up to 1
#   BILINEAR | BITEXACT      to RGB 0.409 by up to 3; to YUV none
#   BILINEAR | ACCURATE_RND  none, none
# Fails if that is no longer so. Needs x86-64, Linux.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation as Flags

(library,) = (Path(av.__file__).parent.parent / "av.libs").glob("libavutil-*")
force = ctypes.CDLL(str(library)).av_force_cpu_flags
rng = np.random.default_rng(0)
planes = rng.integers(16, 236, (384, 256), dtype=np.uint8)  # Y, U and V of yuv420p
pixels = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)


def to_rgb(flags):
    return av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24", interpolation=flags)


def to_yuv(flags):
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", interpolation=flags)
    return frame.to_ndarray()


def difference(convert, flags):
    """Share of values that differ between no instruction set and the processor's own, and the largest difference."""
    force(0)
    plain = convert(flags).astype(int)
    force(-1)
    off = np.abs(convert(flags) - plain)
    return float((off > 0).mean()), int(off.max())


print("PyAV", av.__version__, "libswscale", av.library_versions["libswscale"])
ways = {
    "BILINEAR (the default)": Flags.BILINEAR,
    "BILINEAR | BITEXACT": Flags.BILINEAR | Flags.BITEXACT,
    "BILINEAR | ACCURATE_RND": Flags.BILINEAR | Flags.ACCURATE_RND,
    "all three": Flags.BILINEAR | Flags.ACCURATE_RND | Flags.BITEXACT,
}
seen = {}
for name, flags in ways.items():
    seen[name] = difference(to_rgb, flags), difference(to_yuv, flags)
    (share, most), (share_yuv, most_yuv) = seen[name]
    print(f"{name:24} to RGB {share:.3f} differ by up to {most}; to YUV {share_yuv:.3f} by up to {most_yuv}")
assert all(share > 0 for share, _ in seen["BILINEAR (the default)"]), "the default no longer depends on the processor"
assert seen["BILINEAR | BITEXACT"][0][0] > 0, "BITEXACT now does what its name says"
assert seen["BILINEAR | ACCURATE_RND"] == ((0.0, 0), (0.0, 0)), "ACCURATE_RND no longer makes it independent"
assert seen["all three"] == ((0.0, 0), (0.0, 0)), "the flags no longer make it independent"
PYTHON
