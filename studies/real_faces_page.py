"""The page of the study of real faces, from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.variants import METRICS, comparison

#: Sets of what FaceMesh reads, on which recipes are chosen.
CHOOSING = {"readings": "as they are", "turned": "each turned by up to 30 degrees"}
#: What `fabnet_3src` should read from AFLW2000-3D.
GOALS = {"pose_mae_deg": 10.5, "landmarks68_nme_pct": 24.0}
GOAL_SET = "aflw2000"
#: Percent of its error, and of the gap to HOG, that `fabnet_next` should take off.
OURS_BETTER, OURS_GAP = 10, 50
#: In the paper, the second of each is the better one.
PAPER = (("autoencoder", "fabnet"), ("fabnet", "fabnet_curriculum"), ("fabnet_curriculum", "fabnet_curriculum_3src"))


def page(told: Mapping[str, Any]) -> str:
    """Markdown.

    Args:
        told: as `real_faces.tell` gives it, with `crops`.
    """
    crops = told["crops"]
    parts = [
        "# Networks that learn from real faces",
        f"`python -m studies.real_faces`: {crops['crops']:,} crops of {crops['tracks']} tracks, "
        f"{crops['train']} people to learn from and {crops['validation']} to choose on, out of public demonstration "
        f"clips; {told['size']} px, float32, one thread, on {told['processor']}. Neither crops nor anything learnt "
        "from them is in this repository. A cell: mean over training seeds [95 % bootstrap interval over people] "
        "(seeds).",
    ]
    for name, own in told["sets"].items():
        if name not in CHOOSING:
            parts += _of_set(name, own)
    parts += [*_goals(told), *_recipes(told), *_curves(told), *_trainings(told)]
    return "\n\n".join(parts) + "\n"


def _of_set(name: str, own: Mapping[str, Any]) -> list[str]:
    rows = {_short(key): row for key, row in own["encoders"].items() if not key.startswith("people-")}
    pairs = {_short(key): row for key, row in own["differences"].items()}
    parts = [
        f"## On `{name}`: {own['faces']:,} faces, {own['people']:,} people",
        _table("features", rows, ""),
        "The second minus the first. Bold: the interval leaves out zero, and all seeds agree with its sign.",
        _table("difference", pairs, "+"),
    ]
    lines = []
    for a, b in PAPER:
        if difference := own["differences"].get(f"main/{b} - main/{a}"):
            verdicts = (f"{METRICS[metric][0]} {_verdict(metric, cell)}" for metric, cell in difference.items())
            lines.append(f"| {b} better than {a} | {'; '.join(verdicts)} |")
    if lines:
        parts += ["The order of the paper:", "\n".join(["| in the paper | here |", "|---|---|", *lines])]
    return parts


def _verdict(metric: str, cell: Mapping[str, Any]) -> str:
    if cell["low"] * cell["high"] <= 0:
        return "undecided"
    return "holds" if (cell["value"] > 0) == METRICS[metric][1] else "the other way round"


def _goals(told: Mapping[str, Any]) -> list[str]:
    own = told["sets"].get(GOAL_SET)
    if own is None:
        return []
    lines = ["| network | metric | goal | measured | |", "|---|---|---|---|---|"]
    for key, row in own["encoders"].items():
        if key.endswith("/fabnet_3src") and key.startswith(("main/", "chosen-")):
            for metric, goal in GOALS.items():
                cell = row[metric]
                met = "met" if cell["value"] <= goal else f"missed by {cell['value'] - goal:.1f}"
                measured = f"{cell['value']:.1f} [{cell['low']:.1f}, {cell['high']:.1f}]"
                lines.append(f"| {_short(key)} | {METRICS[metric][0]} | at most {goal:g} | {measured} | {met} |")
    what = (
        "`chosen-NAME` is the recipe that is chosen below, on other faces; a number behind it is that of its samples, "
        "a point of the curve below, which is of these faces."
    )
    return [f"## Goals, on `{GOAL_SET}`", what, "\n".join(lines), *_ours(own)]


def _ours(own: Mapping[str, Any]) -> list[str]:
    """How much better `fabnet_next` is than `fabnet_3src`, in percent of the error and of the gap to HOG."""
    rows = own["encoders"]
    lines = ["| network | metric | measured | `fabnet_3src` | HOG | better by | of the gap to HOG |", "|---" * 7 + "|"]
    for key in (key for key in rows if key.endswith("/fabnet_next")):
        for metric in GOALS:
            value, before, hog = (rows[each][metric]["value"] for each in (key, "main/fabnet_3src", "hog"))
            better, closed = 100 * (before - value) / before, 100 * (before - value) / (before - hog)
            verdicts = (
                f"{share:.0f} % ({'met' if share >= goal else 'missed'})"
                for share, goal in ((better, OURS_BETTER), (closed, OURS_GAP))
            )
            cells = (f"{each:.2f}" for each in (value, before, hog))
            lines.append(f"| {_short(key)} | {METRICS[metric][0]} | {' | '.join((*cells, *verdicts))} |")
    what = (
        f"`fabnet_next` should err by {OURS_BETTER} % less than `fabnet_3src`, and by half of what that errs more than "
        "HOG."
    )
    return [what, "\n".join(lines)] if len(lines) > 2 else []


def _recipes(told: Mapping[str, Any]) -> list[str]:
    parts: list[str] = []
    for name, how in CHOOSING.items():
        own = told["sets"][name]
        changed = [each for each in own["encoders"] if each.startswith("recipe-")]
        if not changed:
            continue
        base = [each for each in own["encoders"] if f"{changed[0]} - {each}" in own["differences"]]
        pairs = {_short(key): row for key, row in own["differences"].items() if "recipe-" in key}
        parts += [
            f"What FaceMesh reads of {own['faces']:,} crops, {how}:",
            _table("network", {_short(each): own["encoders"][each] for each in (*base, *changed, "hog")}, ""),
            _table("difference", pairs, "+"),
        ]
    what = (
        "Compared with the first seed at half the budget, on the validation people, with what FaceMesh reads of their "
        "crops in place of labels: probes learn from training people. People who talk hold their heads upright, those "
        "in photographs less so: hence the second table. The choice is made here; no face of the sets above has a part "
        "in it."
    )
    return ["## Changes to the recipe", what, *parts] if parts else []


def _curves(told: Mapping[str, Any]) -> list[str]:
    people: dict[int, str] = {}
    samples: dict[int, str] = {}
    chosen: dict[int, str] = {}
    for key, (first, *_) in told["networks"].items():
        group = key.partition("/")[0]
        if group.startswith("people-"):
            people[int(group.partition("-")[2])] = key
        elif group.startswith("samples-"):
            samples[first["samples"]] = key
        elif group.startswith("chosen-") and key.endswith("/fabnet_3src"):
            chosen[first["samples"]] = key
        elif key == "main/fabnet_3src":
            people[told["crops"]["train"]] = samples[first["samples"]] = key
    parts: list[str] = []
    for what, title, points in (
        ("people", "Number of people: `fabnet_3src`", people),
        ("samples", "Number of samples: `fabnet_3src`", samples),
        ("samples", "Number of samples: the chosen recipe", chosen),
    ):
        if len(points) < 2:
            continue
        for name in (name for name in told["sets"] if name not in CHOOSING):
            encoders = told["sets"][name]["encoders"]
            rows = {f"{number:,}": _first_seed(encoders[points[number]]) for number in sorted(points)}
            parts += [f"## {title} on `{name}`, first seed", _table(what, rows, "")]
    return parts


def _first_seed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a network with several seeds, the first one's value; the interval stays that of the mean."""
    return {metric: cell | {"value": cell["seeds"][0], "seeds": cell["seeds"][:1]} for metric, cell in row.items()}


def _trainings(told: Mapping[str, Any]) -> list[str]:
    lines = ["| network | samples | seeds | CPU s | below copying % |", "|---|---|---|---|---|"]
    for key, each in told["networks"].items():
        cpu = ", ".join(map(_cpu, each))
        below = ", ".join(
            "-" if one["below_copying_pct"] is None else f"{one['below_copying_pct']:.1f}" for one in each
        )
        seeds = ", ".join(str(one["seed"]) for one in each)
        lines.append(f"| {_short(key)} | {each[0]['samples']:,} | {seeds} | {cpu} | {below} |")
    parts = ["## What was trained", "\n".join(lines)]
    if missing := told["missing"]:
        parts.append(f"Asked for, not trained, and so left out: {'; '.join(map(_short, missing))}.")
    return parts


def _cpu(one: Mapping[str, Any]) -> str:
    if one["cpu_s"] is None:
        return "?"
    return f"{'over ' if one['resumed'] else ''}{one['cpu_s']:.0f}"


def _table(head: str, rows: Mapping[str, Any], sign: str) -> str:
    metrics = [metric for metric in METRICS if metric in next(iter(rows.values()))]
    titles = [f"{title} {'↑' if more else '↓'}" for title, more in map(METRICS.__getitem__, metrics)]
    return comparison([head, *titles], rows, metrics, sign)


def _short(key: str) -> str:
    return key.replace("main/", "")
