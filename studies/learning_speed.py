"""How many CPU seconds does an embedding take? The recipe of the default profile against that of another one.

    python -m studies.learning_speed [--variant fabnet_3src] [--against tables] [--seeds 0] [--jobs 2]

Both train `--variant`, and what it starts from, on data/frames, each in processes with one thread and a CPU clock of
their own; `--jobs 2` trains both at once, so that they meet the same machine at the same time. Needs the outputs of
`dvc repro validate validate_set`. Models go to .work/studies/learning_speed, where what was trained under the same
params is not trained again.

Scored are people of the labelled set's training and validation splits alone: ridge and logistic regression in five
folds over identities, of which one is predicted, one chooses the penalty and the others are learnt from. No test face
is looked at. Writes docs/results/learning-speed.md and .json.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabnet import log
from studies.record import write_record

if TYPE_CHECKING:
    import pandas as pd

    from fabnet.attributes.sets import LabelledSet
    from fabnet.config import Params

WORK, OUT = Path(".work/studies/learning_speed"), Path("docs/results")
FRAMES, SPLITS = Path("data/frames"), Path("data/splits.parquet")
SET, FOLDS, RESAMPLES = "synthetic", 5, 1000
METRICS = {
    "yaw_mae_deg": "yaw ° ↓",
    "landmarks68_nme_pct": "68 landmarks % ↓",
    "units_auc": "action units AUC ↑",
    "expression_auc": "expression AUC ↑",
}


def params_of(profile: str) -> Params:
    """The committed params with `profile` laid over them, in float32."""
    import yaml

    from fabnet.config import parse_params
    from fabnet.profiles import DEFAULT, committed, overlaid

    text = committed()
    if profile != DEFAULT:
        text = overlaid(text, (Path("profiles") / f"{profile}.yaml").read_text())
    values = yaml.safe_load(text)
    values["train"]["common"]["precision"] = "fp32"
    return parse_params(values)


def lineage(params: Params, variant: str) -> list[str]:
    """The variant after those whose weights it begins with."""
    start = params.train.variant(variant).start_from
    return [*(lineage(params, start) if start else []), variant]


def place(profile: str, variant: str, seed: int) -> Path:
    return WORK / f"{profile}-{seed}" / variant


def train(profile: str, variant: str, seed: int) -> None:
    """Train a variant of a profile and note the CPU seconds of this process beside the weights."""
    from fabnet.config import VariantParams
    from fabnet.files import read_json, write_json
    from fabnet.training.variant import train_variant

    params = params_of(profile)
    for name in lineage(params, variant):
        values, out = params.train.variant(name).model_copy(update={"seed": seed}), place(profile, name, seed)
        note = out.with_name(f"{name}.json")
        if note.is_file():
            if VariantParams.model_validate(read_json(note)["params"]) != values:
                sys.exit(f"error: {out}: was trained under other params; delete {WORK} to train it again")
            continue
        if (out.parent / ".unfinished" / name / "checkpoint.pt").exists():
            sys.exit(f"error: {out}: was interrupted; delete {out.parent} to time it whole")
        before = cpu_seconds()
        train_variant(name, values, FRAMES, SPLITS, out, out.parent / ".unfinished")
        write_json(note, {"cpu_s": cpu_seconds() - before, "params": values.model_dump(mode="json")})


def cpu_seconds() -> float:
    """Of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def folded(features: np.ndarray, table: pd.DataFrame, problems: list[Any], name: str) -> pd.DataFrame:
    """Predictions (tables.Predictions) of every face by probes that did not learn from its person."""
    import pandas as pd

    from fabnet.probing.predictions import REGULARISED, frame
    from fabnet.probing.regularised import Penalties, fit

    people = np.unique(table["identity"])
    fold_of = dict(zip(people, np.random.default_rng(0).permutation(len(people)) % FOLDS, strict=True))
    fold = table["identity"].map(fold_of).to_numpy()
    parts = []
    for number in range(FOLDS):
        test, choosing = np.flatnonzero(fold == number), np.flatnonzero(fold == (number + 1) % FOLDS)
        learning = np.setdiff1d(np.arange(len(table)), np.concatenate((test, choosing)))
        probes = fit(features, problems, learning, choosing, Penalties((1, 10, 100, 1000), (0.001, 0.03)))
        parts += [
            frame(
                name,
                REGULARISED,
                problem.task,
                table.iloc[test],
                probe.predict(features, test),
                problem.reference(test),
                64,
            )
            for problem, probe in zip(problems, probes, strict=True)
        ]
    return pd.concat(parts, ignore_index=True)


def score(
    directory: Path, labelled: LabelledSet, splits: Collection[str], leaving: Collection[str] = ("landmarks5",)
) -> dict[str, tuple[float, np.ndarray, int]]:
    """By metric: value, and values over resamples of identities, as `intervals.bootstrap` gives them.

    Args:
        directory: of a trained model.
        labelled: the set.
        splits: of it that are scored, all in folds.
        leaving: tasks that are not.
    """
    from fabnet.attributes.sets import iterate_crops, targets
    from fabnet.networks.build import load_model
    from fabnet.networks.encoder import embed_images
    from fabnet.probing.intervals import bootstrap
    from fabnet.probing.problem import Problem

    table = labelled.table()
    model, card = load_model(directory)
    crops = (images for _, images in iterate_crops(labelled, card["image_size"], 256))
    features = np.concatenate(list(embed_images(model.encoder, crops)))
    seen = np.flatnonzero(table["split"].isin(splits))
    tasks = [task for task in labelled.tasks if task.name not in leaving]
    problems = [Problem(task.name, task.loss, targets(table, task)[seen], task.outputs) for task in tasks]
    return bootstrap(folded(features[seen], table.iloc[seen], problems, card["variant"]), RESAMPLES, 0)


def compare(variant: str, against: str, seeds: list[int]) -> dict[str, Any]:
    """CPU seconds and scores of both recipes, and the difference on the same people, by seed and over seeds."""
    from fabnet.attributes.sets import open_set
    from fabnet.files import read_json
    from fabnet.probing.intervals import interval
    from fabnet.tracking.verify.verify import processor

    labelled = open_set(SET, params_of("default").labelled_set(SET))
    drawn: dict[str, dict[str, list[Any]]] = {}
    told: dict[str, Any] = {"variant": variant, "processor": processor(), "seeds": seeds, "recipes": {}}
    for profile in ("default", against):
        names = lineage(params_of(profile), variant)
        cpu = [sum(read_json(place(profile, n, seed).with_name(f"{n}.json"))["cpu_s"] for n in names) for seed in seeds]
        found = [score(place(profile, variant, seed), labelled, ("train", "validation")) for seed in seeds]
        drawn[profile] = {metric: [each[metric] for each in found] for metric in METRICS}
        scores = {}
        for metric, values in drawn[profile].items():
            low, high = interval(np.mean([each[1] for each in values], axis=0))
            each = [float(one[0]) for one in values]
            scores[metric] = {"value": float(np.mean(each)), "low": low, "high": high, "seeds": each}
        told["recipes"][profile] = {"trains": names, "cpu_s": cpu, "scores": scores}
    told["differences"] = {}
    for metric in METRICS:
        ours, theirs = (np.stack([each[1] for each in drawn[profile][metric]]) for profile in ("default", against))
        low, high = interval((ours - theirs).mean(axis=0))
        value = np.mean([a[0] - b[0] for a, b in zip(*(drawn[p][metric] for p in ("default", against)), strict=True)])
        told["differences"][metric] = {"value": float(value), "low": low, "high": high}
    own, other = (float(np.mean(told["recipes"][profile]["cpu_s"])) for profile in ("default", against))
    told["cpu_ratio"] = own / other
    return told


def markdown(told: dict[str, Any]) -> str:
    profiles = list(told["recipes"])
    lines = [
        f"# CPU seconds to `{told['variant']}`",
        "",
        f"`python -m studies.learning_speed`: recipes of two profiles on one machine, float32, one thread each, seeds "
        f"{', '.join(map(str, told['seeds']))}, on {told['processor']}.",
        "Scores are of training and validation people of the labelled set in five folds (ridge, logistic regression), "
        "with 95 % bootstrap intervals over people.",
        "",
        f"**{told['cpu_ratio']:.2f}** of the CPU seconds of `{profiles[1]}`.",
        "",
        "| profile | trains | CPU s | " + " | ".join(METRICS.values()) + " |",
        "|---" * (3 + len(METRICS)) + "|",
    ]
    for name, recipe in told["recipes"].items():
        cells = [f"{s['value']:.2f} [{s['low']:.2f}, {s['high']:.2f}]" for s in recipe["scores"].values()]
        cpu = ", ".join(f"{seconds:.0f}" for seconds in recipe["cpu_s"])
        lines.append(f"| `{name}` | {', '.join(recipe['trains'])} | {cpu} | " + " | ".join(cells) + " |")
    cells = [f"{d['value']:+.2f} [{d['low']:+.2f}, {d['high']:+.2f}]" for d in told["differences"].values()]
    lines.append(f"| {profiles[0]} - {profiles[1]} | | | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="fabnet_3src")
    parser.add_argument("--against", default="tables", help="a profile")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, with one thread each")
    parser.add_argument("--train", nargs=2, metavar=("PROFILE", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    log.set_up()
    if given.train is not None:
        train(given.train[0], given.variant, int(given.train[1]))
        return
    own = [sys.executable, "-m", "studies.learning_speed", "--variant", given.variant]
    jobs = [[*own, "--train", profile, str(seed)] for seed in given.seeds for profile in (given.against, "default")]
    with ThreadPoolExecutor(given.jobs) as pool:
        codes = list(pool.map(lambda command: subprocess.run(command).returncode, jobs))
    if any(codes):
        sys.exit("error: a training failed; see above")
    told = compare(given.variant, given.against, given.seeds)
    write_record(OUT / "learning-speed", told, markdown(told))
    print(markdown(told))


if __name__ == "__main__":
    main()
