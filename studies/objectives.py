"""Which objective reads more from a face in no more CPU seconds? Recipes of FAb-Net, and what was left of each.

    python -m studies.objectives [--candidates [stride_4 ...] [--share 0.35]] [--seeds 0 1 2] [--jobs 2]

`fabnet_3src` is trained as params.yaml has it, `fabnet_next` likewise but with as many samples as take the same CPU
seconds: the cost of a sample is measured before, by steps of all recipes in turn, so that they meet the same machine.
The test faces are asked about these two: scores over seeds, each unit and expression, and how many of a face's nearest
ten are of its own person. Writes docs/results/objectives.md and .json.

With `--candidates`, recipes are compared with `fabnet_3src` on people of the labelled set's training and validation
splits, in folds; no test face is asked. A candidate is `fabnet_3src` with other params, in a `--share` of its CPU
seconds. Writes docs/results/objectives-candidates.md and .json; objectives-tried.md, beside them, tells of trials by
hand.

Needs the outputs of `dvc repro validate validate_set`. Models go to .work/studies/objectives; what is there is not
trained again, and what was stopped goes on.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fabnet import log
from fabnet.files import atomic_file
from studies.kept import train_once
from studies.learning_speed import METRICS as BY_FOLDS
from studies.learning_speed import RESAMPLES, folded
from studies.record import write_record
from studies.variants import METRICS, comparison, load, summary
from studies.warp_losses import LOSSES, replacing

if TYPE_CHECKING:
    import pandas as pd

    from fabnet.config import Params, VariantParams

WORK, OUT = Path(".work/studies/objectives"), Path("docs/results")
FRAMES, SPLITS = Path("data/frames"), Path("data/splits.parquet")
SET, REFERENCE, VARIANT = "synthetic", "fabnet_3src", "fabnet_next"
#: What a candidate changes of REFERENCE: params, and the loss of the warp.
CANDIDATES: dict[str, dict[str, Any]] = {
    "stride_4": {"flow_stride": 4},
    "histograms_6": {"histograms": 6.0},
    "stride_4_histograms_2": {"flow_stride": 4, "histograms": 2.0},
    "stride_4_histograms_6": {"flow_stride": 4, "histograms": 6.0},
    "stride_4_histograms_20": {"flow_stride": 4, "histograms": 20.0},
    "stride_4_histograms_6_jitter": {"flow_stride": 4, "histograms": 6.0, "jitter": 0.15},
    "stride_4_histograms_6_turn": {"flow_stride": 4, "histograms": 6.0, "jitter": 0.15, "turn": 30.0},
    "stride_4_histograms_6_six_views": {"flow_stride": 4, "histograms": 6.0, "views": 6, "sources": 5},
    **{name: {"loss": name} for name in LOSSES},
}
#: Of the samples of REFERENCE, when candidates are compared.
SHARE = 0.2
_ROUNDS, _STEPS, _NEAREST = 5, 4, 10
# Side of the crops that points are told in.
_PIXELS = 64


def recipe(params: Params, name: str, seed: int) -> VariantParams:
    """What a recipe trains with, but for its number of samples.

    Args:
        params: of the project.
        name: of a variant, or a candidate.
        seed: of the training.
    """
    from fabnet.config import VariantParams

    changes = {key: value for key, value in CANDIDATES.get(name, {}).items() if key != "loss"}
    values = params.train.variant(REFERENCE if name in CANDIDATES else name).model_dump()
    return VariantParams.model_validate(values | changes | {"seed": seed})


def loss_of(name: str) -> str | None:
    """What replaces the loss of the warp, see `studies/warp_losses.py`."""
    loss: str | None = CANDIDATES.get(name, {}).get("loss")
    return loss


# -- training -------------------------------------------------------------------------------------------------------


def costs(params: Params, names: Sequence[str]) -> dict[str, float]:
    """CPU seconds of a sample by recipe: the median over rounds, in each of which all take a few steps in turn.

    Args:
        params: of the project.
        names: of the recipes.
    """
    import torch

    from fabnet.frames.store import FrameStore
    from fabnet.networks.fabnet import OURS
    from fabnet.training.variant import identities_of, trainer_of
    from fabnet.training.world import World

    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    frames, identities = FrameStore(FRAMES), identities_of(SPLITS)
    trainers = {
        name: trainer_of(name, recipe(params, name, 0), frames, identities, None, OURS, World()) for name in names
    }
    batches = {name: iter(each.train.iterate(0, (1 + _ROUNDS) * _STEPS)) for name, each in trainers.items()}
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1 + _ROUNDS):  # the first round warms up
        for name, trainer in trainers.items():
            before = resource.getrusage(resource.RUSAGE_THREAD)
            with replacing(loss_of(name)):
                for _ in range(_STEPS):
                    trainer._train_step(next(batches[name]))
                    trainer.step += 1
            after = resource.getrusage(resource.RUSAGE_THREAD)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found[name].append(used / (_STEPS * trainer.params.batch_size))
    return {name: median(rounds[1:]) for name, rounds in found.items()}


def folder_of(share: float) -> Path:
    """Where what has this share of the CPU seconds lies."""
    return WORK / ("" if share == 1 else f"share-{share:g}")


def measured_costs(params: Params, names: Sequence[str], share: float) -> dict[str, float]:
    """`costs`, kept beside the networks; measured anew, of all, where a recipe is not among them."""
    from fabnet.files import read_json, write_json

    path = folder_of(share) / "costs.json"
    kept: dict[str, float] = read_json(path) if path.is_file() else {}
    if not set(names) <= kept.keys():
        kept = costs(params, names)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, kept)
    return {name: kept[name] for name in names}


def trained(name: str, seed: int, share: float) -> Path:
    """Where a network lies."""
    return folder_of(share) / f"seed-{seed}" / name


def train_seed(params: Params, names: Sequence[str], seed: int, share: float) -> None:
    """Train recipes with one seed, note the CPU seconds of each, and probe them.

    Args:
        params: of the project.
        names: of the recipes.
        seed: of the training.
        share: of the samples of REFERENCE; the others have as many as take the same CPU seconds.
    """
    cost = measured_costs(params, names, share)
    budget = share * params.train.variant(REFERENCE).samples * cost[REFERENCE]
    for name in names:
        values = recipe(params, name, seed)
        steps = round(budget / cost[name] / values.batch_size)
        values = values.model_copy(update={"samples": steps * values.batch_size})
        with replacing(loss_of(name)):
            train_once(name, values, FRAMES, SPLITS, trained(name, seed, share))
        ask(params, name, seed, share)


# -- scores ---------------------------------------------------------------------------------------------------------


def own_person(embedding_ND: np.ndarray, person_N: np.ndarray, nearest: int = _NEAREST) -> np.ndarray:
    """Of each face, the percentage of its nearest others, by cosine, that are of the same person: (N,).

    Args:
        embedding_ND: of the faces.
        person_N: whose they are.
        nearest: how many count.
    """
    unit_ND = embedding_ND / np.linalg.norm(embedding_ND, axis=1, keepdims=True)
    alike_NN = unit_ND @ unit_ND.T
    np.fill_diagonal(alike_NN, -np.inf)
    neighbours = np.argpartition(-alike_NN, nearest - 1, axis=1)[:, :nearest]
    share_N: np.ndarray = 100 * (person_N[neighbours] == person_N[:, None]).mean(axis=1)
    return share_N


class Asked(NamedTuple):
    """What a model was asked: predictions (tables.Predictions) of the test faces, and in folds of the others; of each
    test face the share of its nearest that are of its own person, percent, and the person."""

    test: pd.DataFrame
    folds: pd.DataFrame
    own_pct: np.ndarray
    person: np.ndarray


def ask(params: Params, name: str, seed: int, share: float = 1.0) -> Asked:
    """Probe a model, or read what it answered before; answers lie beside it, by the hash of its weights.

    Args:
        params: of the project.
        name: of the recipe.
        seed: of the training.
        share: of the samples of REFERENCE.
    """
    import pandas as pd

    from fabnet.attributes.sets import iterate_crops, open_set, targets
    from fabnet.networks.build import load_model
    from fabnet.networks.encoder import embed_images
    from fabnet.probing import regularised
    from fabnet.probing.predictions import REGULARISED, frame
    from fabnet.probing.problem import Problem

    directory = trained(name, seed, share)
    model, card = load_model(directory)
    kept = directory.with_name(f"{name}.{card['weights_sha256'][:12]}")
    files = [kept.with_name(f"{kept.name}.{part}.parquet") for part in ("test", "folds", "faces")]
    if all(file.is_file() for file in files):
        test, folds, faces = map(pd.read_parquet, files)
        return Asked(test, folds, faces["own_pct"].to_numpy(), faces["identity"].to_numpy())
    labelled = open_set(SET, params.labelled_set(SET))
    table = labelled.table()
    crops = (images for _, images in iterate_crops(labelled, card["image_size"], params.embed.batch_size))
    features = np.concatenate(list(embed_images(model.encoder, crops)))
    rows = {split: np.flatnonzero(table["split"] == split) for split in ("train", "validation", "test")}
    tasks = [task for task in labelled.tasks if task.name != "landmarks5"]
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in tasks]
    probes = regularised.fit(
        features, problems, rows["train"], rows["validation"], regularised.penalties_of(params.probe)
    )
    scored = table.iloc[rows["test"]]
    told = [
        frame(
            name, REGULARISED, p.task, scored, probe.predict(features, rows["test"]), p.reference(rows["test"]), _PIXELS
        )
        for p, probe in zip(problems, probes, strict=True)
    ]
    seen = np.concatenate((rows["train"], rows["validation"]))
    others = [Problem(p.task, p.loss, p.labels[seen], p.outputs) for p in problems]
    person = scored["identity"].to_numpy()
    faces = pd.DataFrame({"own_pct": own_person(features[rows["test"]], person), "identity": person})
    parts = pd.concat(told, ignore_index=True), folded(features[seen], table.iloc[seen], others, name), faces
    for part, file in zip(parts, files, strict=True):
        with atomic_file(file) as temporary:
            part.to_parquet(temporary)
    return Asked(parts[0], parts[1], faces["own_pct"].to_numpy(), person)


def by_column(predicted: pd.DataFrame) -> dict[str, float]:
    """ROC AUC of each unit and expression, percent; those that no face, or every face, shows are left out."""
    from fabnet.probing.intervals import score_columns

    found: dict[str, float] = {}
    for task in ("units", "expression"):
        told = score_columns(predicted, task, 0, 0)
        found |= {name: float(each["value"]) for name, each in told.items() if each is not None}
    return found


def on_test(params: Params, seeds: Sequence[int]) -> dict[str, Any]:
    """Both variants on the test faces: scores, their difference, each unit and expression, neighbours.

    Args:
        params: of the project.
        seeds: of the trainings.
    """
    from fabnet.probing.intervals import bootstrap, interval, resample_weights

    resamples = params.report.bootstrap, params.report.seed
    draws, columns, persons = {}, {}, {}
    for name in (REFERENCE, VARIANT):
        asked = [ask(params, name, seed) for seed in seeds]
        draws[name] = over_seeds([bootstrap(each.test, *resamples) for each in asked])
        by_seed = [by_column(each.test) for each in asked]
        columns[name] = {column: [one[column] for one in by_seed] for column in by_seed[0]}
        weights = resample_weights(asked[0].person, *resamples)
        drawn = weights @ np.mean([each.own_pct for each in asked], axis=0) / weights.sum(axis=1)
        low, high = interval(drawn)
        values = [float(each.own_pct.mean()) for each in asked]
        persons[name] = {"value": float(np.mean(values)), "low": low, "high": high, "seeds": values}
    return summary(draws, [(REFERENCE, VARIANT)]) | {"columns": columns, "own_person_pct": persons}


def in_folds(params: Params, names: Sequence[str], seeds: Sequence[int], share: float = 1.0) -> dict[str, Any]:
    """Every recipe by people of the training and validation splits, and less the first: what candidates are chosen by.

    Args:
        params: of the project.
        names: of the recipes, REFERENCE first.
        seeds: of the trainings.
        share: of the samples of REFERENCE.
    """
    from fabnet.probing.intervals import bootstrap

    draws = {
        name: over_seeds([bootstrap(ask(params, name, seed, share).folds, RESAMPLES, 0) for seed in seeds])
        for name in names
    }
    return summary(draws, [(names[0], name) for name in names[1:]], BY_FOLDS)


def over_seeds(
    found: Sequence[Mapping[str, tuple[float, np.ndarray, int]]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By metric: values (S,) of seeds, and of their resamples (S, R), from what `bootstrap` gives of each seed."""
    return {
        metric: (np.array([each[metric][0] for each in found]), np.stack([each[metric][1] for each in found]))
        for metric in found[0]
    }


# -- the record -----------------------------------------------------------------------------------------------------


def markdown(told: Mapping[str, Any]) -> str:
    columns = told["test"]["columns"]
    titles = [f"{title} {'↑' if more else '↓'}" for title, more in METRICS.values()]
    seen = " and ".join(
        f"{told['samples'][name]:,} samples of {told['cost_ms'][name]:.1f} ms (`{name}`; "
        f"{', '.join(f'{each:.0f}' for each in told['cpu_s'][name])} CPU s)"
        for name in (REFERENCE, VARIANT)
    )
    lines = [
        "# Objectives of FAb-Net and what they read",
        "",
        f"`python -m studies.objectives`: seeds {', '.join(map(str, told['seeds']))}, on {told['processor']}, one "
        "thread. A cell: mean over seeds [95 % interval over people] (seeds).",
        "",
        "Both have the same CPU seconds, by steps of both in turn, and as many numbers in an embedding: "
        f"{seen}. The seconds in brackets are those of the trainings, which shared the machine.",
        "",
        "## On test faces",
        "",
        comparison(["variant", *titles], told["test"]["variants"], list(METRICS), ""),
        "",
        comparison(["difference", *titles], told["test"]["differences"], list(METRICS), "+"),
        "",
        f"Of a face's nearest {_NEAREST} other test faces, by cosine, so many are of its own person: "
        + "; ".join(
            f"`{name}` {each['value']:.1f} % [{each['low']:.1f}, {each['high']:.1f}]"
            for name, each in told["test"]["own_person_pct"].items()
        )
        + ".",
        "",
        "## Each unit and expression",
        "",
        "ROC AUC on test faces, percent, mean over seeds.",
        "",
        f"| | `{REFERENCE}` | `{VARIANT}` | difference (seeds) |",
        "|---|---|---|---|",
    ]
    for column in columns[REFERENCE]:
        before, after = (np.array(columns[name][column]) for name in (REFERENCE, VARIANT))
        apart = ", ".join(f"{each:+.1f}" for each in after - before)
        lines.append(
            f"| {column} | {before.mean():.1f} | {after.mean():.1f} | {(after - before).mean():+.1f} ({apart}) |"
        )
    lines += [
        "",
        "How recipes were compared: [candidates](objectives-candidates.md), and [by hand](objectives-tried.md).",
    ]
    return "\n".join(lines) + "\n"


def candidates_page(told: Mapping[str, Any]) -> str:
    titles = list(BY_FOLDS.values())
    cost, samples, below = told["cost_ms"], told["samples"], told["below_copying_pct"]
    lines = [
        "# Candidates at equal CPU seconds",
        "",
        f"`python -m studies.objectives --candidates {' '.join(list(cost)[1:])}`: {told['share']:.0%} of the CPU "
        f"seconds that `{REFERENCE}` has by default, seeds {', '.join(map(str, told['seeds']))}, on "
        f"{told['processor']}, one thread. Drawn people of the training and validation splits in five folds; no test "
        "face. A cell: mean over "
        "seeds [95 % interval over people] (seeds).",
        "",
        comparison(["recipe", *titles], told["folds"]["variants"], list(BY_FOLDS), ""),
        "",
        f"The recipe minus `{REFERENCE}`. Bold: the interval leaves out zero, and all seeds agree with its sign.",
        "",
        comparison(["difference", *titles], told["folds"]["differences"], list(BY_FOLDS), "+"),
        "",
        f"Cost of a sample as a multiple of that of `{REFERENCE}` ({cost[REFERENCE]:.1f} ms), by steps of all in turn, "
        "and what is left to see in the same time:",
        "",
        "| recipe | what differs | cost | samples | below copying % |",
        "|---|---|---|---|---|",
    ]
    for name in cost:
        changes = ", ".join(f"{key}: {value}" for key, value in CANDIDATES.get(name, {}).items())
        shares = "-" if loss_of(name) else ", ".join(f"{each:.1f}" for each in below[name])
        lines.append(f"| `{name}` | {changes} | {cost[name] / cost[REFERENCE]:.2f} | {samples[name]:,} | {shares} |")
    lines += ["", "Losses and encoders that this script does not train: [tried by hand](objectives-tried.md)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="*", choices=CANDIDATES, metavar="NAME", help="to compare; none: all")
    parser.add_argument("--share", type=float, default=SHARE, help=f"of the CPU seconds of {REFERENCE}, for candidates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="seeds that are trained at once, with one thread each")
    parser.add_argument("--train-seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    log.set_up()
    candidates = given.candidates if given.candidates is None else given.candidates or list(CANDIDATES)
    names = [REFERENCE, VARIANT] if candidates is None else [REFERENCE, *candidates]
    share, params = 1.0 if candidates is None else given.share, load(None)
    if given.train_seed is not None:
        train_seed(params, names, given.train_seed, share)
        return
    from fabnet.files import read_json
    from fabnet.tracking.verify.verify import processor

    cost = measured_costs(params, names, share)  # before trainings, which share the machine with what measures
    own = [sys.executable, "-m", "studies.objectives", "--share", str(given.share)]
    own += [] if candidates is None else ["--candidates", *candidates]
    with ThreadPoolExecutor(given.jobs) as pool:
        codes = pool.map(lambda seed: subprocess.run([*own, "--train-seed", str(seed)]).returncode, given.seeds)
        if any(list(codes)):
            sys.exit("error: a training failed; see above")
    cards = {name: [read_json(trained(name, seed, share) / "model.json") for seed in given.seeds] for name in names}
    told = {
        "processor": processor(),
        "seeds": given.seeds,
        "cost_ms": {name: 1000 * each for name, each in cost.items()},
        "samples": {name: of_seeds[0]["params"]["samples"] for name, of_seeds in cards.items()},
        "params": {name: of_seeds[0]["params"] for name, of_seeds in cards.items()},
    }
    if candidates is None:
        told["cpu_s"] = {
            name: [read_json(trained(name, seed, share).with_suffix(".json"))["cpu_s"] for seed in given.seeds]
            for name in names
        }
        told["test"] = on_test(params, given.seeds)
        path, page = OUT / "objectives", markdown(told)
    else:
        told["share"], told["folds"] = share, in_folds(params, names, given.seeds, share)
        told["below_copying_pct"] = {name: [each["below_copying_pct"] for each in cards[name]] for name in names}
        path, page = OUT / "objectives-candidates", candidates_page(told)
    write_record(path, told, page)
    print(page)


if __name__ == "__main__":
    main()
