"""What OpenFace and py-feat agree on, and we do otherwise: the axes of head pose, and where pixels lie.

Their axes are x to the image's right, y down and z away from the camera. OpenFace gives the angles of R = Rx Ry Rz in
radians, where R turns a head that looks into the camera. Ours are those of roll after yaw after pitch in degrees, with
x to the right, y up and z towards the camera (fabnet/synthetic/state.py). The two frames differ by half a turn around
x, which leaves turns around x as they are and inverts those around y and z.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fabnet.inference.formats.plain_csv import matrix
from fabnet.tables import ANGLE_COLUMNS

#: The column of a table of faces that holds the detector's probability, where there is one.
HAS_SCORE = "score"
#: Columns that hold the readings of a task.
HAS_POSE, HAS_LANDMARKS, HAS_UNITS, HAS_EXPRESSION = ANGLE_COLUMNS[0], "landmarks68", "au01", "expression"


def openface_angles(angles_N3: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotations around x, y and z as OpenFace gives them: a raised face, one turned to the image's right and a
    counter-clockwise tilt are negative.

    Args:
        angles_N3: roll, pitch and yaw in degrees: clockwise, up and to the image's right positive.

    Returns:
        pose_Rx, pose_Ry and pose_Rz in radians, (N, 3).
    """
    roll, pitch, yaw = np.asarray(angles_N3, np.float64).T
    turned = Rotation.from_euler("ZYX", np.stack([roll, -yaw, -pitch], axis=1), degrees=True)
    angles: NDArray[np.float64] = turned.as_euler("XYZ")
    return angles


def angles_of(rows: pa.Table) -> NDArray[np.float64]:
    """`openface_angles` of the poses of N faces, (N, 3)."""
    return openface_angles(np.stack([rows[name].to_numpy() for name in ANGLE_COLUMNS], axis=1))


def points_of(rows: pa.Table) -> NDArray[np.float64]:
    """The 68 landmarks of N faces, x and y in pixels of the frame, (N, 68, 2).

    The centre of the first pixel is (0, 0), as in OpenCV; in our tables it is (0.5, 0.5).
    """
    points: NDArray[np.float64] = matrix(rows, HAS_LANDMARKS).astype(np.float64).reshape(len(rows), 68, 2) - 0.5
    return points
