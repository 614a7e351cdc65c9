"""All about one labelled set."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from fabnet.probing.metrics import MAIN
from fabnet.report.blocks import (
    NOTHING,
    TITLES,
    Block,
    Content,
    Score,
    Scores,
    Section,
    Table,
    Text,
    area_table,
    edge,
    score_cell,
    score_table,
    section,
)
from fabnet.report.set_results import SetResults

_FEW_LABELS = (
    "Regularised probes trained on a share of the labelled training faces, scored on the test faces of the split: mean "
    "over draws of the share [95 % bootstrap interval over test identities]."
)
_BINS = (
    "Scored faces sorted into bins, each scored by itself: value [95 % bootstrap interval over the identities of the "
    "bin]. A bin with too few faces is counted and not scored. Errors of landmarks are measured by the distance of "
    "the eyes as seen in the image, which shrinks as a head turns."
)
_PAPERS = (
    "The probe of the paper on the same faces: batch norm and a linear layer without bias, trained by Adam without "
    "regularisation, the epoch chosen on validation identities, mean over seeds or repeats. It overfits where features "
    "are many and faces few."
)

#: Properties that faces are sorted by, in the order of the report.
_PROPERTIES = ("yaw", "side", "brightness")


def labelled_set(found: SetResults) -> Content:
    """Scores, those by unit and class, the paper's probe, differences, few labels, robustness, omissions, pictures."""
    name = found.name
    yield Text(_introduction(found))
    yield score_table(found.scores, saw=found.saw)
    yield from map(Text, _warnings(found))
    for task, rows in sorted(found.columns.items()):
        title = f"Area by {'unit' if task == 'units' else 'class'}"
        yield section(title, f"{name}-{task}", partial(_by_column, rows), f"{name}: areas of {task}")
    if found.papers:
        papers = partial(_papers, found)
        yield section("With the paper's probe", f"{name}-paper-probe", papers, f"{name}: the paper's probe")
    measured = found.reference in found.scores
    differences = partial(comparison, found.reference, found.paired, measured)
    yield section(f"Differences to `{found.reference}` on the same faces", f"{name}-paired", differences)
    if found.low_label is not None:
        yield section("With few labels", f"{name}-low-label", partial(low_label, found.low_label))
    if found.slices is not None:
        bins = partial(robustness, name, found.slices, list(found.scores))
        yield section("Robustness", f"{name}-robustness", bins)
    omissions = partial(left_out, found.left_out, found.absent, found.unscored, bool(found.columns))
    yield section("Left out", f"{name}-left-out", omissions)
    if found.pictures:
        yield Section("Pictures", f"{name}-pictures", found.pictures)


def _introduction(found: SetResults) -> str:
    supervised = ""
    if "vgg11" in found.scores:
        supervised = " `vgg11` is no probe of an embedding: it is a network trained from scratch on the labels."
    learnt = ""
    if found.saw:
        learnt = (
            " `learnt from` is what an encoder saw before the labels that its probe learns from; of one that was not "
            "trained here, what `encoders` in params.yaml declares."
        )
    return (
        "Regularised linear probes (ridge, and logistic regression of units and classes) on frozen, standardised "
        f"embeddings, penalties chosen on validation identities. {_protocol(found)} In brackets the 95 % bootstrap "
        "interval over identities. Landmark errors are in percent of the "
        "inter-ocular distance, angles are mean absolute errors, areas are under the ROC curve, in percent. `constant` "
        "always answers the mean of the training labels, `random` is the encoder before training, `hog` and `pca` are "
        f"features of the pixels that need no learning from videos.{supervised}{learnt}"
    )


def _protocol(found: SetResults) -> str:
    told = found.protocol
    if told.get("scored") != "folds":
        return f"Scored on {found.scored_faces:,} test faces."
    others = "".join(f" `{name}` is scored on the {count:,} test faces." for name, count in found.other_faces.items())
    return (
        f"The set is small, so all its {told['faces']:,} faces of {told['identities']:,} identities are scored by "
        f"cross-validation: {told['folds']} folds of whole identities, {told['repeats']} times with other folds, the "
        f"penalty chosen within the folds that are learnt from; scores are means over the repeats.{others}"
    )


def _warnings(found: SetResults) -> list[str]:
    """Where the two probes disagree by more than their intervals, and penalties at the end of their list."""
    said = []
    apart = disagreements(found.scores, found.papers)
    if apart:
        told = "; ".join(
            f"`{name}` {TITLES[metric]} {ours['value']:.2f} [{ours['low']:.2f}, {ours['high']:.2f}] against "
            f"{theirs['value']:.2f} [{theirs['low']:.2f}, {theirs['high']:.2f}]"
            for name, metric, ours, theirs in apart
        )
        said.append(
            "**Warning: the regularised probe and that of the paper disagree by more than their intervals.** "
            f"Regularised against the paper's: {told}."
        )
    if found.edges:
        told = "; ".join(f"`{name}`: {', '.join(tasks)}" for name, tasks in found.edges.items())
        said.append(
            f"**Warning: chosen penalties lie at an end of `probe.ridge_alphas` or `probe.logistic_cs`:** {told}. "
            "A better one may lie beyond, unless the encoder is no better than `constant`."
        )
    return said


def disagreements(scores: Mapping[str, Scores], papers: Mapping[str, Scores]) -> list[tuple[str, str, Score, Score]]:
    """Encoder, metric and both scores wherever the 95 % intervals of the two probes do not overlap.

    Args:
        scores: by encoder, of the regularised probe.
        papers: likewise, of the paper's.
    """
    return [
        (encoder, metric, ours, theirs)
        for encoder, row in scores.items()
        for metric, ours in row.items()
        if (theirs := papers.get(encoder, {}).get(metric)) is not None
        and (ours["low"] > theirs["high"] or theirs["low"] > ours["high"])
    ]


def _by_column(rows: Mapping[str, Any]) -> Content:
    yield area_table(rows)


def _papers(found: SetResults) -> Content:
    yield Text(_PAPERS)
    yield score_table(found.papers, saw=found.saw)


def comparison(reference: str, paired: Mapping[str, Mapping[str, Mapping[str, Any]]], measured: bool) -> Content:
    """Differences to the reference.

    Args:
        reference: the encoder that others are compared with.
        paired: what `probing.intervals.paired` gives.
        measured: whether the reference was scored on this set.
    """
    if not measured:
        yield Text(f"`{reference}` was not scored on this set, so nothing is compared with it.")
        return
    if not paired:
        yield Text(f"No other encoder was scored beside `{reference}`.")
        return
    metrics = [metric for metric in TITLES if any(metric in row for row in paired.values())]
    rows = [
        [encoder, *(_difference_cell(row[metric]) if metric in row else NOTHING for metric in metrics)]
        for encoder, row in paired.items()
    ]
    yield Text(
        f"An encoder's score minus that of `{reference}`, with the 95 % interval of the difference over the same "
        "resamples of test identities; bold where it leaves out zero. Where less is better (↓), a positive difference "
        f"is in favour of `{reference}`; where more is (↑), a negative one. Each interval speaks of its own "
        "comparison: of twenty that differ in nothing, one is bold on average."
    )
    yield Table(["encoder", *(TITLES[metric] for metric in metrics)], rows)


def _difference_cell(difference: Mapping[str, Any]) -> str:
    mark = "**" if difference["apart"] else ""
    low, high = difference["low"], difference["high"]
    return f"{mark}{difference['difference']:+.2f}{mark} [{low:+.2f}, {high:+.2f}]"


def low_label(table: pd.DataFrame) -> Content:
    """Scores of probes that learnt from few labels: a table per metric, a column per share.

    Args:
        table: of the contract LowLabel.
    """
    yield Text(_FEW_LABELS)
    shares = table[["share", "faces"]].drop_duplicates().sort_values("share")
    head = [
        f"{row.share:.3g} % = {row.faces:,} faces" for row in shares.assign(share=100 * shares["share"]).itertuples()
    ]
    for metric in [metric for metric in TITLES if (table["metric"] == metric).any()]:
        part = table[table["metric"] == metric]
        rows = []
        for encoder in part["encoder"].drop_duplicates():
            mine = part[part["encoder"] == encoder].set_index("share").to_dict("index")
            cells = (score_cell(mine[s], bold=False) if s in mine else NOTHING for s in shares["share"])
            rows.append([encoder, *cells])
        yield Table([TITLES[metric], *head], rows)


def robustness(name: str, slices: Mapping[str, Any], encoders: Sequence[str]) -> Content:
    """Where encoders err: a subsection per property, such as yaw, with a table per metric.

    Args:
        name: of the labelled set.
        slices: what `probing.slices.measure_slices` gives.
        encoders: in the order of the rows.
    """
    yield Text(_BINS)
    for key in sorted(slices, key=lambda key: _PROPERTIES.index(key) if key in _PROPERTIES else len(_PROPERTIES)):
        title = f"By {slices[key]['title']}"
        yield Section(title, f"{name}-by-{key}", _bins(slices[key], encoders))


def _bins(each: Mapping[str, Any], order: Sequence[str]) -> Sequence[Block]:
    if "missing" in each:
        return [Text(each["missing"])]
    if each["one_value"] is not None:
        return [Text(f"All test faces have the same value, {edge(each['one_value'])}: there is nothing to compare.")]
    bins = each["bins"]
    blocks: list[Block] = []
    if each["outside"]:
        blocks.append(Text(f"{each['outside']:,} test faces lie in no bin."))
    head = [f"{edge(bin_['low'])} to {edge(bin_['high'])}" for bin_ in bins]
    counts = [
        ["faces", *(f"{bin_['faces']:,}" for bin_ in bins)],
        ["identities", *(f"{bin_['identities']:,}" for bin_ in bins)],
    ]
    scored = {encoder for bin_ in bins for encoder in bin_["scores"]}
    encoders = [encoder for encoder in order if encoder in scored]
    for metric in MAIN:
        measured = [encoder for encoder in encoders if any(metric in bin_["scores"].get(encoder, {}) for bin_ in bins)]
        if measured:
            rows = [[encoder, *(_bin_cell(bin_, encoder, metric) for bin_ in bins)] for encoder in measured]
            blocks.append(Table([TITLES[metric], *head], [*counts, *rows]))
    if not encoders:
        blocks.append(Table(["", *head], counts))
        blocks.append(Text("No bin has enough faces to be scored."))
    blocks += [Text(said) for bin_, title in zip(bins, head, strict=True) if (said := _absent(bin_, title))]
    return blocks


def _bin_cell(bin_: Mapping[str, Any], encoder: str, metric: str) -> str:
    if not bin_["faces"]:
        return "no faces"
    if not bin_["enough"]:
        return "too few"
    scores = bin_["scores"].get(encoder, {})
    return score_cell(scores[metric], bold=False) if metric in scores else NOTHING


def _absent(bin_: Mapping[str, Any], title: str) -> str:
    if not bin_["enough"] or not bin_["absent"]:
        return ""
    named = "; ".join(f"{task}: {', '.join(names)}" for task, names in sorted(bin_["absent"].items()))
    return f"Left out of the areas from {title}, because all its faces agree: {named}."


def left_out(
    faces: Mapping[str, int], absent: Mapping[str, Sequence[str]], unscored: Mapping[str, Sequence[str]], classes: bool
) -> Content:
    """Faces and classes that the set lost on its way to a score.

    Args:
        faces: {reason: faces}.
        absent: {split: action units and classes that no face of it shows}.
        unscored: {task: action units and classes that are constant among scored or learnt faces}.
        classes: whether the set labels action units or expressions at all.
    """
    if faces:
        rows = [[reason, f"{count:,}"] for reason, count in sorted(faces.items(), key=lambda pair: (-pair[1], pair[0]))]
        total = sum(faces.values())
        yield Table(["reason", "faces"], rows, f"{total:,} faces of the set were left out before probing:")
    else:
        yield Text("No face of the set was left out.")
    for split, names in sorted(absent.items()):
        yield Text(f"No face of the split {split} shows {', '.join(names)}.")
    for task, names in sorted(unscored.items()):
        yield Text(
            f"{', '.join(names)}: all faces that are scored, or that are learnt from, agree, so there is no area; "
            f"{task} is scored without."
        )
    if classes and not absent and not unscored:
        yield Text(
            "Every unit and class that it labels is present and absent among the faces that are scored and learnt from."
        )
