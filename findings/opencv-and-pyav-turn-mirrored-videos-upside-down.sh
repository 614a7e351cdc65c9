#!/usr/bin/env bash
# A phone may store the mirror image of a selfie and leave the mirroring to the player, by the display matrix of the file.
# PyAV's `frame.rotation` of such a frame is 180 degrees, the same as of one that was filmed upside down: it is the angle
# of the matrix, whose determinant (-1: a mirror) is lost. cv2.VideoCapture turns by the same angle by itself, so that the
# face stands on its head. A clip mirrored from top to bottom has angle 0 and is left as it is stored. The ffmpeg command
# and players do as the matrix says. Seen with PyAV 18.1.0 and OpenCV 4.14.0 on a frame whose upper left quarter is white:
#
#   matrix               PyAV's rotation  white in OpenCV's frame  white in ffmpeg's
#   none                 0                upper left               upper left
#   left-right mirror    180              lower right              upper right
#   half a turn          180              lower right              lower right
#   top-bottom mirror    0                upper left               lower left
#
# Related: https://github.com/opencv/opencv/issues/26876 (matrices ignored by 4.11). Fails (exit 1) when it is otherwise.
# Needs python3 (3.11), Linux on x86-64, and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  av==18.1.0 numpy==2.4.6 opencv-python-headless==4.14.0.94 imageio-ffmpeg==0.8.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess

import av
import cv2
import imageio_ffmpeg
import numpy as np

ONE, W = 1 << 16, 1 << 30
MATRICES = {  # rows (a, b, u), (c, d, v), (x, y, w); the numbers are fixed-point
    "none": None,
    "left-right mirror": (-ONE, 0, 0, 0, ONE, 0, 64 * ONE, 0, W),
    "half a turn": (-ONE, 0, 0, 0, -ONE, 0, 64 * ONE, 32 * ONE, W),
    "top-bottom mirror": (ONE, 0, 0, 0, -ONE, 0, 0, 32 * ONE, W),
}
PICTURE = np.zeros((32, 64, 3), np.uint8)
PICTURE[:16, :32] = 255


def white(image):
    quarters = {"upper left": image[:16, :32], "upper right": image[:16, 32:], "lower left": image[16:, :32]}
    means = {name: quarter.mean() for name, quarter in (quarters | {"lower right": image[16:, 32:]}).items()}
    return max(means, key=means.get)


seen = {}
for name, matrix in MATRICES.items():
    with av.open("clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        if matrix is not None:
            stream.set_display_matrix(matrix)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(PICTURE, format="rgb24")))
        container.mux(stream.encode())
    with av.open("clip.mp4") as container:
        angle = abs(next(container.decode(video=0)).rotation)
    _, of_opencv = cv2.VideoCapture("clip.mp4").read()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "clip.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    seen[name] = angle, white(of_opencv), white(np.frombuffer(raw, np.uint8).reshape(32, 64, 3))
    print(f"{name:18} PyAV's rotation {angle:3}, white in OpenCV's frame {seen[name][1]}, in ffmpeg's {seen[name][2]}")
assert seen == {
    "none": (0, "upper left", "upper left"),
    "left-right mirror": (180, "lower right", "upper right"),
    "half a turn": (180, "lower right", "lower right"),
    "top-bottom mirror": (0, "upper left", "lower left"),
}, "a display matrix that mirrors is treated differently now"
PYTHON
