"""Labels of a mirrored face."""

import numpy as np
import torch
from torch import Tensor

#: What becomes point i of a mirrored face: the point of the other side (iBUG's 68; eyes, nose, corners of the mouth).
_PARTNERS = {
    "landmarks68": np.array(
        [
            *range(16, -1, -1),  # jaw
            *range(26, 16, -1),  # brows
            *range(27, 31),  # bridge of the nose
            *range(35, 30, -1),  # nostrils
            *(45, 44, 43, 42, 47, 46),  # right eye
            *(39, 38, 37, 36, 41, 40),  # left eye
            *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # lips, outside
            *(64, 63, 62, 61, 60, 67, 66, 65),  # lips, inside
        ]
    ),
    "landmarks5": np.array([1, 0, 2, 4, 3]),
}


def mirrored(task: str, labels_NK: Tensor) -> Tensor:
    """The labels (Problem.labels) of the mirror images of faces.

    Points lie in [-1, 1] of the crop, whose middle is the mirror. Roll and yaw turn the other way, whichever way a set
    counts them; pitch, units and classes are the same on both sides.
    """
    if task in _PARTNERS:
        points_NP2 = labels_NK.unflatten(1, (-1, 2))[:, torch.from_numpy(_PARTNERS[task]).to(labels_NK.device)]
        return (points_NP2 * points_NP2.new_tensor([-1, 1])).flatten(1)
    if task == "pose":
        return labels_NK * labels_NK.new_tensor([-1, 1, -1])
    return labels_NK
