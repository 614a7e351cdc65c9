"""How well does FaceMesh read real faces? docs/results/mesh.md and .json.

    python -m studies.mesh FOLDER

FOLDER holds stills of AFLW2000-3D with their .mat. Each face is read from the box that the detector finds over the
middle of its 68 landmarks, and from the box of these landmarks. The labels' rotation is Rx Ry Rz of pitch, yaw and roll
with y down: of both orders of the axes and all signs, this one turns the 3D landmarks of all stills into one shape
(`order`). Ours is turned into those angles before they are compared. The file of the network and the number of runs
were chosen on every other still, from the first.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.spatial.transform import Rotation

from fabnet.files import write_json
from fabnet.video.crop import Box
from fabnet.video.mesh import LANDMARKS_68, MIN_PRESENCE, FaceReading, read_face
from studies.detection import detector
from studies.record import write_record

OUT = Path("docs/results/mesh")
#: What a scorecard says of its teacher: part of the same numbers, in the package.
PACKAGED = Path("fabnet/inference/scorecard/teacher_errors.json")
#: Points of the 68 by region, first and last.
REGIONS = {
    "jaw": (0, 17),
    "brows": (17, 27),
    "nose": (27, 36),
    "eyes": (36, 48),
    "outer lips": (48, 60),
    "inner lips": (60, 68),
}
ANGLES = ("pitch", "yaw", "roll")
#: Errors beside those of angles: landmarks in percent of the face's size and of the inter-ocular distance, and the
#: mouth's opening in percent of its width.
POINTS = ("landmarks_pct", "landmarks_ocular_pct", "mouth_pct")
BANDS = ((0, 30), (30, 60), (60, 99))
MOST_DEG = 99  # stills with a larger angle are left out, as usual
RESAMPLES = 2000


def label_pose(path: Path) -> NDArray[np.float64]:
    """Pitch, yaw and roll of a still as labelled, degrees."""
    pose: NDArray[np.float64] = np.degrees(loadmat(path)["Pose_Para"][0][:3])
    return pose


def in_order_of_labels(reading: FaceReading) -> NDArray[np.float64]:
    """Pitch, yaw and roll as the labels would have them, degrees."""
    ours = Rotation.from_euler("ZYX", [-reading.roll_deg, reading.yaw_deg, -reading.pitch_deg], degrees=True)
    pitch, yaw, roll = ours.as_euler("XYZ", degrees=True)
    return np.array([-pitch, -yaw, -roll])


def order_of_axes(paths: Sequence[Path]) -> dict[str, float]:
    """Spread of all stills' 3D landmarks about their mean once the labelled rotation is taken back.

    For either order of the axes, with the best signs; in sizes of a face.
    """
    shapes, angles = [], []
    for path in paths:
        points = loadmat(path)["pt3d_68"].T * (1, -1, 1)
        points = points - points.mean(axis=0)
        shapes.append(points / np.linalg.norm(points))
        angles.append(np.radians(label_pose(path)))
    found = {}
    for order, columns in (("Rx Ry Rz", [0, 1, 2]), ("Rz Ry Rx", [2, 1, 0])):
        spreads = []
        for signs in np.ndindex(2, 2, 2, 2):
            *of_angles, of_z = 1 - 2 * np.array(signs)
            axes = (order[1] + order[4] + order[7]).upper()
            turns = Rotation.from_euler(axes, (np.array(angles) * of_angles)[:, columns])
            level = np.einsum("nji,nkj->nki", turns.as_matrix(), np.array(shapes) * (1, 1, of_z))
            spreads.append(float(np.sqrt(((level - level.mean(axis=0)) ** 2).sum(axis=(1, 2)).mean())))
        found[order] = round(min(spreads), 4)
    return found


def over(box: Box, middle: NDArray[np.float64]) -> bool:
    """Whether a point lies in a box.

    Args:
        box: pixels.
        middle: x and y.
    """
    return box.left <= middle[0] <= box.right and box.top <= middle[1] <= box.bottom


def interval(values: NDArray[np.float64], seed: int = 0) -> dict[str, float]:
    """Mean of the rows with its 95 % bootstrap interval over rows.

    Args:
        values: (N,).
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {"value": round(float(values.mean()), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def scored(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Errors of some faces: of each angle and their mean in degrees, of landmarks in percent of the face's size."""
    turns = np.array([row["angles"] for row in rows])
    told: dict[str, Any] = {"n": len(rows), "mean_angle": interval(turns.mean(axis=1))}
    told |= {name: interval(turns[:, n]) for n, name in enumerate(ANGLES)}
    return told | {name: interval(np.array([row[name] for row in rows])) for name in POINTS}


def labelled_opening(points: NDArray[np.float64]) -> float:
    """Gap between the inner lips over their width, from labelled landmarks (68, 3).

    Args:
        points: in one unit.
    """
    return float(np.linalg.norm(points[66] - points[62]) / np.linalg.norm(points[64] - points[60]))


def correspondence(apart: NDArray[np.float64]) -> dict[str, Any]:
    """How well the 68 points of the mesh were chosen: their errors by region, and those of the nearest ones.

    Args:
        apart: (N, 68, 468), from each labelled landmark to each point of the mesh, percent of the face's size.
    """
    means = apart.mean(axis=0)
    chosen = means[np.arange(68), LANDMARKS_68]
    least = means.min(axis=1)
    found: dict[str, Any] = {"n": len(apart), "chosen_is_nearest": int((means.argmin(axis=1) == LANDMARKS_68).sum())}
    for name, (first, last) in REGIONS.items():
        found[name] = {"chosen": round(float(chosen[first:last].mean()), 2)}
        found[name]["nearest"] = round(float(least[first:last].mean()), 2)
    return found


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    bands = {f"yaw {low} to {high}": [row for row in rows if low <= abs(row["yaw"]) < high] for low, high in BANDS}
    groups = {"all": list(rows), "seen (presence >= 0.5)": [row for row in rows if row["presence"] >= MIN_PRESENCE]}
    return {name: scored(group) for name, group in {**groups, **bands}.items()}


def text(told: dict[str, Any]) -> str:
    lines = [
        "# What FaceMesh reads",
        "",
        f"`python -m studies.mesh FOLDER`: {told['stills']} stills of AFLW2000-3D with no angle beyond {MOST_DEG} "
        f"degrees; on {told['unfound']} of them the detector finds no box over the face. Mean absolute errors with "
        "95 % intervals (bootstrap over stills): degrees of the labels' own angles, and landmarks in percent of the "
        "square root of the area of their box, all 68, those of the jaw included, and in percent of the inter-ocular "
        "distance, which shrinks as a head turns; the mouth's opening in percent of its width.",
        "",
        "| box | faces | n | mean of the three | pitch | yaw | roll | landmarks, % | of inter-ocular | mouth, % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for source, groups in told["read"].items():
        for name, one in groups.items():
            cells = (
                f"{one[key]['value']:.1f} [{one[key]['low']:.1f}, {one[key]['high']:.1f}]"
                for key in ("mean_angle", *ANGLES, *POINTS)
            )
            lines.append(f"| {source} | {name} | {one['n']} | {' | '.join(cells)} |")
    order, other, points = told["order"], told["other_half"], told["correspondence"]
    lines += [
        "",
        "The labels' rotation is Rx Ry Rz: so turned back, the 3D landmarks of all stills spread by "
        f"{order['Rx Ry Rz']:.2f} of their size, and by {order['Rz Ry Rx']:.2f} as Rz Ry Rx, which is the order of "
        "fabnet's angles. Half of the stills served to choose between two files of the network, and one or two runs. "
        f"On the {other['n']} found ones of the other half the mean of the three is {other['mean_angle']['value']:.1f} "
        f"degrees, and landmarks are off by {other['landmarks_pct']['value']:.1f} %.",
        "",
        f"Whether the 68 points are the right ones of the 468: on {points['n']} stills with a yaw below 30 degrees, "
        "the mean distance from a labelled landmark to the point that stands for it, and to the one of all 468 that is "
        f"nearest on average, in percent of the face's size. {points['chosen_is_nearest']} of the 68 are the nearest.",
        "",
        "| | " + " | ".join(REGIONS) + " |",
        "|---" * (1 + len(REGIONS)) + "|",
        *(
            f"| {name} | " + " | ".join(f"{points[region][name]:.1f}" for region in REGIONS) + " |"
            for name in ("chosen", "nearest")
        ),
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with the stills of AFLW2000-3D")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    finder = detector("blazeface")
    paths = sorted(args.folder.glob("*.jpg"))
    rows: dict[str, list[dict[str, Any]]] = {"detector's": [], "landmarks'": []}
    frontal: list[NDArray[np.float64]] = []
    unfound = used = 0
    for number, path in enumerate(paths):
        pose = label_pose(path.with_suffix(".mat"))
        if np.abs(pose).max() > MOST_DEG:
            continue
        used += 1
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        solid = loadmat(path.with_suffix(".mat"))["pt3d_68"].T
        points = solid[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        found = [face for face in finder.find(image) if over(face.box, points.mean(axis=0))]
        unfound += not found
        boxes = {"landmarks'": (Box(*low.tolist(), *high.tolist()), 0.0)}
        if found:
            boxes["detector's"] = found[0].box, found[0].roll_deg or 0.0
        for source, (box, roll_deg) in boxes.items():
            reading = read_face(image, box, roll_deg)
            apart = np.linalg.norm(reading.landmarks68 - points, axis=1).mean()
            size = math.sqrt(np.prod(high - low))
            if source == "detector's" and abs(pose[1]) < BANDS[0][1]:
                every = np.linalg.norm(reading.points[None, :, :2] - points[:, None], axis=2)
                frontal.append(100 * every / size)
            rows[source].append(
                {
                    "angles": np.abs((in_order_of_labels(reading) - pose + 180) % 360 - 180),
                    "landmarks_pct": 100 * apart / size,
                    "landmarks_ocular_pct": 100 * apart / float(np.linalg.norm(points[36] - points[45])),
                    "mouth_pct": 100 * abs(reading.mouth_open - labelled_opening(solid)),
                    "presence": reading.presence,
                    "yaw": pose[1],
                    "reported": number % 2 == 1,
                }
            )
    read = {source: summary(each) for source, each in rows.items()}
    told = {
        "all": len(paths),
        "stills": used,
        "unfound": unfound,
        "order": order_of_axes([path.with_suffix(".mat") for path in paths]),
        "correspondence": correspondence(np.array(frontal)),
        "read": read,
        "other_half": scored([row for row in rows["detector's"] if row["reported"]]),
    }
    write_record(OUT, told, text(told))
    write_json(PACKAGED, {"stills": used, "unfound": unfound, "bands": read["detector's"]})


if __name__ == "__main__":
    main()
