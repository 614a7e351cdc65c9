"""Small sets of kind `table`, written as text, of images of one grey each."""

from pathlib import Path

import cv2
import numpy as np

POSE = "yaw_deg,pitch_deg,roll_deg"


def write_table(folder: Path, *lines: str, images: tuple[str, ...] = ("a.jpg", "b.jpg"), size=(450, 300)) -> Path:
    """labels.csv of these lines, and images of width and height `size`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in images:
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
