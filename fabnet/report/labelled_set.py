"""All about one labelled set."""

from fabnet.report.attempt import attempt_blocks, attempt_section
from fabnet.report.blocks import Section, Text
from fabnet.report.comparison import comparison
from fabnet.report.found import SetFound
from fabnet.report.left_out import left_out
from fabnet.report.low_label import low_label
from fabnet.report.robustness import robustness
from fabnet.report.score_tables import area_table, score_table


def labelled_set(found: SetFound) -> Section:
    """Scores, areas by unit and class, cross-check, comparison, few labels, robustness, what was left out, pictures."""
    name = found.name
    below = [
        Section(
            f"Area by {'unit' if task == 'units' else 'class'}",
            f"{name}-{task}",
            attempt_blocks(f"{name}: areas of {task}", lambda rows=rows: [area_table(rows)]),  # type: ignore[misc]
        )
        for task, rows in sorted(found.columns.items())
    ]
    if found.crosscheck:
        text = "Ridge and logistic regression on standardised embeddings, penalties chosen on validation identities."
        table = attempt_blocks(f"{name}: cross-check", lambda: [score_table(found.crosscheck)])
        below.append(Section("Cross-check with scikit-learn", f"{name}-crosscheck", [Text(text), *table]))
    below.append(
        attempt_section(
            "Differences on the same faces",
            f"{name}-paired",
            lambda: comparison(name, found.reference, found.paired, found.reference in found.scores),
        )
    )
    if found.low_label is not None:
        table_of = found.low_label
        below.append(attempt_section("With few labels", f"{name}-low-label", lambda: low_label(name, table_of)))
    if found.slices is not None:
        slices = found.slices
        below.append(
            attempt_section("Robustness", f"{name}-robustness", lambda: robustness(name, slices, list(found.scores)))
        )
    below.append(
        attempt_section(
            "Left out",
            f"{name}-left-out",
            lambda: left_out(name, found.left_out, found.absent, found.unscored, bool(found.columns)),
        )
    )
    if found.pictures:
        below.append(Section("Pictures", f"{name}-pictures", found.pictures))
    scores = attempt_blocks(f"{name}: scores", lambda: [Text(_introduction(found)), score_table(found.scores)])
    return Section(f"Labelled set `{name}`", f"set-{name}", scores, below)


def _introduction(found: SetFound) -> str:
    faces = max(score["n"] for row in found.scores.values() for score in row.values())
    supervised = (
        ""
        if "vgg11" not in found.scores
        else (" `vgg11` is no probe of an embedding: it is a network trained from scratch on the labels.")
    )
    return (
        f"Linear probes (batch norm and a bias-free linear layer, mean over seeds) on frozen embeddings, {faces} test "
        "faces; in brackets the 95 % bootstrap interval over test identities. Landmark errors are in percent of the "
        "inter-ocular distance, angles are mean absolute errors, areas are under the ROC curve, in percent. `constant` "
        "always answers the mean of the training labels, `random` is the encoder before training, `hog` and `pca` are "
        f"features of the pixels that need no learning from videos.{supervised}"
    )
