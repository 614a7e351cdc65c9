"""Head pose in the coordinates of OpenFace: x to the image's right, y down, z away from the camera.

OpenFace gives the angles of R = Rx Ry Rz, radians, where R turns a head that looks into the camera. Ours are those of
roll after yaw after pitch, degrees, with x to the right, y up and z towards the camera (fabnet/synthetic/state.py). The
two frames differ by half a turn around x, which leaves turns around x as they are and inverts those around y and z.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


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
