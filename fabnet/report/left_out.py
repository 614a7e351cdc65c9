"""Faces and classes that a labelled set lost on its way to a score."""

from collections.abc import Mapping, Sequence

from fabnet.report.blocks import Block, Section, Table, Text


def left_out(
    name: str,
    faces: Mapping[str, int],
    absent: Mapping[str, Sequence[str]],
    unscored: Mapping[str, Sequence[str]],
    classes: bool,
) -> Section:
    """What is not in the scores.

    Args:
        name: of the labelled set.
        faces: {reason: faces}.
        absent: {split: units and classes that no face of it shows}.
        unscored: {task: units and classes that all test faces agree on}.
        classes: whether the set labels units or expressions at all.
    """
    blocks: list[Block] = []
    if faces:
        rows = [[reason, f"{count:,}"] for reason, count in sorted(faces.items(), key=lambda pair: (-pair[1], pair[0]))]
        total = sum(faces.values())
        blocks.append(Table(["reason", "faces"], rows, f"{total:,} faces of the set were left out before probing:"))
    else:
        blocks.append(Text("No face of the set was left out."))
    for split, names in sorted(absent.items()):
        blocks.append(Text(f"No face of the split {split} shows {', '.join(names)}."))
    for task, names in sorted(unscored.items()):
        blocks.append(
            Text(f"All test faces agree on {', '.join(names)}, which therefore have no area: {task} is scored without.")
        )
    if classes and not absent and not unscored:
        blocks.append(Text("Every unit and class that it labels is both present and absent among the test faces."))
    return Section("Left out", f"{name}-left-out", blocks)
