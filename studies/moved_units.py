"""Do warps move brows and mouths? A drawn person at rest is warped to the same picture with a movement of the face.

    python -m studies.moved_units models/fabnet_3src models/fabnet_next ...

Source and target differ in nothing but some action units, at full intensity, or in a turn of the head. They are of the
test people of the drawn labelled set, none of whom is in the videos that networks learn from, with the pose and light
of their first face.

A warp with the source's own embedding in place of the target's should move nothing, but moves a little and blurs. So
the target is compared with the warp to it and with that one: told is how much of the difference the change of the
embedding takes away. 100 % is a warp that becomes the target; below 0 it goes away from it. What is left of the
difference between the target and the source itself is told, too.

A warp may move a brow the right way and still make a worse picture, as it blurs all others. So landmarks are followed,
too: where the flow of a target fetches each of its 68 points from, and how much of the way to where that point is in
the source this is. Writes docs/results/moved-units.md, .json and .png.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fabnet import log
from studies.record import write_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fabnet.config import Params
    from fabnet.synthetic.state import FaceState

OUT = Path("docs/results/moved-units")
#: What moves: the units that are at full intensity, or degrees of yaw.
MOVEMENTS: dict[str, tuple[int, ...] | float] = {
    "brows raised (1, 2)": (1, 2),
    "brows lowered (4)": (4,),
    "eyes wide (5)": (5,),
    "smile (6, 12)": (6, 12),
    "nose wrinkled (9)": (9,),
    "chin raised (17)": (17,),
    "lips stretched (20)": (20,),
    "mouth opened (25, 26)": (25, 26),
    "head turned by 10 degrees": 10.0,
}
PEOPLE, RESAMPLES = 60, 1000


def at_rest(state: FaceState) -> FaceState:
    """The same pose and light with no action unit, eyes open and looking ahead.

    Args:
        state: of a face.
    """
    from fabnet.synthetic.state import AT_REST

    return replace(state, units=AT_REST, blink=0.0, gaze=(0.0, 0.0), asymmetry=0.0)


def moved(state: FaceState, movement: tuple[int, ...] | float) -> FaceState:
    """A face at rest, after a movement.

    Args:
        state: at rest.
        movement: of MOVEMENTS.
    """
    from fabnet.tables import UNITS

    if isinstance(movement, float):
        return replace(state, yaw=state.yaw + (movement if state.yaw < 0 else -movement))
    return replace(state, units=tuple(float(unit in movement) for unit in UNITS))


class Drawn(NamedTuple):
    """Faces at rest and after each movement.

    Attributes:
        sources: (P, H, W, 3) uint8, of P people.
        targets: (M, P, H, W, 3) uint8, after M movements.
        points: landmarks of the sources and then the targets, (1 + M, P, 68, 2), in continuous pixels, x and y.
    """

    sources: np.ndarray
    targets: np.ndarray
    points: np.ndarray


def draw(params: Params, people: int) -> Drawn:
    """Pictures and landmarks of so many test people.

    Args:
        params: of the project.
        people: P, at most as many as the labelled set has.
    """
    from fabnet.synthetic.faces import portraits_of
    from fabnet.synthetic.landmarks import landmarks68
    from fabnet.synthetic.render import render
    from fabnet.video.crop import Box, crop

    made, size = params.synthesize, params.extract.image_size
    first = made.faces.train + made.faces.validation
    whole = Box(0, 0, made.image_size, made.image_size)
    sources, targets, points = [], [], []
    for number in range(first, first + min(people, made.faces.test)):
        person, portraits = portraits_of(made.seed, number, 1)
        rest = at_rest(portraits[0].state)
        states = (rest, *(moved(rest, movement) for movement in MOVEMENTS.values()))
        pictures = [crop(render(person, state, made.image_size), whole, size) for state in states]
        sources.append(pictures[0])
        targets.append(pictures[1:])
        points.append([landmarks68(person, state, size) for state in states])
    return Drawn(np.stack(sources), np.stack(targets, axis=1), np.stack(points, axis=1))


def warped(directory: Path, sources: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sources moved to each target, and first to themselves, (1 + M, P, H, W, 3), and flows (1 + M, P, 2, H, W).

    Args:
        directory: of a trained FAb-Net.
        sources, targets: see `draw`.

    Raises:
        UserError: there is no such network, or it is of another size.
    """
    from fabnet.errors import UserError
    from fabnet.inspection import network as inside

    network = inside.open_fabnet(directory)
    if network.encoder.image_size != sources.shape[2]:
        raise UserError(f"{directory}: is for {network.encoder.image_size} px, params.yaml for {sources.shape[2]}")
    source_PD = inside.embeddings(network, sources)
    wanted = (source_PD, *(inside.embeddings(network, each) for each in targets))
    flows = np.stack([inside.flows(network, source_PD, each) for each in wanted])
    return np.stack([inside.moved(sources, flow) for flow in flows]), flows


def taken_away(sources: np.ndarray, targets: np.ndarray, made: np.ndarray) -> dict[str, dict[str, float]]:
    """By movement, the percentage of the difference that is taken away, with its interval over people.

    Args:
        sources, targets: see `draw`.
        made: of `warped`.
    """
    from fabnet.probing.intervals import interval, resample_weights

    def apart(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.abs(pictures.astype(float) - targets).mean(axis=(2, 3, 4))
        return found

    as_is_MP, still_MP, moved_MP = apart(sources[None]), apart(made[:1]), apart(made[1:])
    weights = resample_weights(np.arange(len(sources)), RESAMPLES, 0)
    found = {}
    for name, as_is, still, after in zip(MOVEMENTS, as_is_MP, still_MP, moved_MP, strict=True):
        low, high = interval(100 * (1 - weights @ after / (weights @ still)))
        value, left = 100 * (1 - after.sum() / still.sum()), 100 * after.sum() / as_is.sum()
        found[name] = {"value": float(value), "low": low, "high": high, "left_of_source_pct": float(left)}
    return found


def of_the_way(points: np.ndarray, flows: np.ndarray) -> dict[str, dict[str, float]]:
    """By movement, how far along their way the flow takes the landmarks, percent, with its interval over people.

    Offsets at the points of a target are projected on what takes these to the source, and summed over points and
    people: 0 where nothing moves, 100 where all points come from where they are in the source, below 0 the wrong way.

    Args:
        points: see Drawn.
        flows: of `warped`.
    """
    from scipy.ndimage import map_coordinates

    from fabnet.figures.flow import offsets
    from fabnet.probing.intervals import interval, resample_weights

    people = points.shape[1]
    weights = resample_weights(np.arange(people), RESAMPLES, 0)
    found = {}
    for name, target_PN2, flow_P2HW in zip(MOVEMENTS, points[1:], flows[1:], strict=True):
        way_PN2 = points[0] - target_PN2
        fetched_PN2 = np.empty_like(way_PN2)
        for person, place_N2 in enumerate(target_PN2):
            place_2N = place_N2[:, ::-1].T - 0.5  # row and column; pixel centres are at integers there
            for axis, map_HW in enumerate(offsets(flow_P2HW[person])):
                fetched_PN2[person, :, axis] = map_coordinates(map_HW, place_2N, order=1, mode="nearest")
        along_P, whole_P = (fetched_PN2 * way_PN2).sum(axis=(1, 2)), (way_PN2**2).sum(axis=(1, 2))
        low, high = interval(100 * (weights @ along_P) / (weights @ whole_P))
        length = float(np.sqrt((way_PN2**2).sum(axis=2)).max(axis=1).mean())
        value = float(100 * along_P.sum() / whole_P.sum())
        found[name] = {"value": value, "low": low, "high": high, "farthest_px": length}
    return found


def panels(sources: np.ndarray, targets: np.ndarray, made: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """A column for each movement, each of another person: source, target, and by network the warp and its flow.

    Args:
        sources, targets: see `draw`.
        made: of `warped`, by network; flows are shown less those from the source to itself.
    """
    from matplotlib.figure import Figure

    from fabnet.figures.flow import draw_wheel, flow_colours, largest_of, offsets

    count = len(targets)
    shown = [(column, column % len(sources)) for column in range(count)]
    fetched = {
        name: np.stack([offsets(flows[1 + at, person] - flows[0, person]) for at, person in shown])
        for name, (_, flows) in made.items()
    }
    largest = largest_of(np.concatenate([each[:-1] for each in fetched.values()]))  # heads move farther than brows
    rows: list[tuple[str, list[np.ndarray]]] = [
        ("source", [sources[person] for _, person in shown]),
        ("target", [targets[at, person] for at, person in shown]),
    ]
    for name, (pictures, _) in made.items():
        rows.append((name, [pictures[1 + at, person] for at, person in shown]))
        rows.append(("change of flow", [flow_colours(each, largest) for each in fetched[name]]))
    figure = Figure(figsize=(1.35 * count + 1.1, 1.42 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), count + 1, squeeze=False, width_ratios=[*[1] * count, 0.7])
    for line, (name, shown_now) in zip(axes, rows, strict=True):
        for axis, picture in zip(line, shown_now, strict=False):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8)
        line[count].axis("off")
    for axis, title in zip(axes[0], MOVEMENTS, strict=False):
        axis.set_title(title.replace(" (", "\n(").replace(" by ", "\nby "), fontsize=8)
    draw_wheel(axes[3, count])
    axes[3, count].set_title(f"fetched from there;\nedge: {largest:.1f} px", fontsize=7)
    return figure


def page(told: Mapping[str, Any]) -> str:
    """Markdown.

    Args:
        told: the record.
    """
    ways = told["ways"]
    farthest = {movement: f"{cell['farthest_px']:.1f}" for movement, cell in next(iter(ways.values())).items()}
    lines = [
        "# Do warps move brows and mouths?",
        "",
        f"`python -m studies.moved_units {' '.join(told['directories'])}`: {told['people']} drawn test people, "
        f"{told['size']} px. Source and target differ in the action units named, at full intensity, or in a turn of "
        "the head.",
        "",
        "How much of the difference to the target the target's embedding takes away, percent [95 % interval over "
        "people], against a warp with the source's own embedding. In brackets what is then left, as a share of the "
        "difference between source and target: more than 100 % where the warp blurs and moves more than it mends.",
        "",
        *_table({f"`{name}`": _cells(own, 1, "left_of_source_pct") for name, own in told["networks"].items()}),
        "",
        "How much of the way from each landmark of the target to the same one of the source the flow goes, percent "
        "[95 % interval over people], and how far the landmark lies that moves most.",
        "",
        *_table({"farthest, px": farthest} | {f"`{name}`": _cells(own, 0) for name, own in ways.items()}),
        "",
        f"![Each movement, its warp and its flow]({OUT.name}.png)",
    ]
    return "\n".join(lines) + "\n"


def _cells(own: Mapping[str, Mapping[str, float]], digits: int, beside: str | None = None) -> dict[str, str]:
    """A value and its interval by movement, with so many digits, and another value in brackets."""
    return {
        movement: f"{cell['value']:.{digits}f} [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"
        + (f" ({cell[beside]:.0f})" if beside else "")
        for movement, cell in own.items()
    }


def _table(columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A row for each movement, and columns by their titles."""
    rows = [" | ".join((movement, *(column[movement] for column in columns.values()))) for movement in MOVEMENTS]
    return [
        f"| what moves | {' | '.join(columns)} |",
        "|---" * (1 + len(columns)) + "|",
        *(f"| {row} |" for row in rows),
    ]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+", help="of trained FAb-Nets")
    parser.add_argument("--people", type=int, default=PEOPLE, help="at least 1")
    parser.add_argument("--out", type=Path, default=OUT, help="of page, numbers and picture, without suffix")
    arguments = parser.parse_args(given)
    names = [directory.name for directory in arguments.directories]
    if len(set(names)) < len(names):
        parser.error(f"networks are told by the names of their folders, which must differ: {', '.join(names)}")
    if arguments.people < 1:
        parser.error(f"--people {arguments.people}: must be at least 1")
    log.set_up()
    from fabnet.files import atomic_file
    from studies.variants import load

    params = load(None)
    sources, targets, points = draw(params, arguments.people)
    made = {directory.name: warped(directory, sources, targets) for directory in arguments.directories}
    told = {
        "directories": [str(directory) for directory in arguments.directories],
        "people": len(sources),
        "size": params.extract.image_size,
        "networks": {name: taken_away(sources, targets, pictures) for name, (pictures, _) in made.items()},
        "ways": {name: of_the_way(points, flows) for name, (_, flows) in made.items()},
    }
    with atomic_file(arguments.out.with_name(f"{arguments.out.name}.png")) as temporary:
        panels(sources, targets, made).savefig(temporary, format="png", dpi=80, metadata={"Software": None})
    write_record(arguments.out, told, page(told))
    print(page(told))


if __name__ == "__main__":
    main()
