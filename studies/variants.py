"""Do the variants differ? Each one trained with several seeds, probed, and compared on the same test faces.

    python -m studies.variants [--seeds 0 1 2] [--jobs 2] [--set synthetic] [--over profiles/study.yaml --name study]

Needs the outputs of `make repro`, which it leaves alone; models go to .work/studies/variants. What was trained under
the same params and data is not trained again, and a seed that was stopped goes on. Writes the table to
docs/results/variants.md, or NAME.md, and what it is made of to variants.json.

A cell is the mean over training seeds. Its interval is of other people: identities are drawn with replacement, the same
ones for every variant and seed, so that two variants are compared face by face. How far seeds lie apart is told beside.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabnet import log
from studies.kept import train_once
from studies.record import write_record

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from fabnet.config import Params

WORK, OUT = Path(".work/studies/variants"), Path("docs/results")
FRAMES, SPLITS = Path("data/frames"), Path("data/splits.parquet")

#: The encoder before training.
RANDOM = "random"

# By metric: its title, and whether more is better.
METRICS = {
    "yaw_mae_deg": ("yaw °", False),
    "pose_mae_deg": ("pose °", False),
    "landmarks68_nme_pct": ("68 landmarks %", False),
    "units_auc": ("action units AUC", True),
    "expression_auc": ("expression AUC", True),
}

#: By encoder and metric: values (S,) of training seeds, and of their resamples (S, R).
Draws = Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]


def load(over: Path | None) -> Params:
    """params.yaml with the file `over` laid over it."""
    import yaml

    from fabnet.config import parse_params
    from fabnet.profiles import overlaid

    text = Path("params.yaml").read_text()
    return parse_params(yaml.safe_load(overlaid(text, over.read_text()) if over else text))


# -- one seed -------------------------------------------------------------------------------------------------------


def train_seed(params: Params, seed: int) -> None:
    """Train all variants with one seed, those that others start from first."""
    for name in params.train.names:
        values = params.train.variant(name).model_copy(update={"seed": seed})
        train_once(name, values, FRAMES, SPLITS, WORK / f"seed-{seed}" / name)


def predictions(params: Params, set_name: str, seed: int, variant: str) -> pd.DataFrame:
    """What regularised probes predict for the test faces, from the embeddings of one model, or of the untrained one."""
    from fabnet.attributes.sets import iterate_crops, open_set, targets
    from fabnet.networks.build import load_model, random_encoder
    from fabnet.networks.encoder import embed_images
    from fabnet.probing.embed_set import common_scale
    from fabnet.probing.evaluate import Protocol, probe_encoder, rows_by_split
    from fabnet.probing.problem import Problem

    labelled = open_set(set_name, params.labelled_set(set_name))
    table = labelled.table()
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    rows = rows_by_split(table, f"sets.{set_name}")
    if variant == RANDOM:
        common, size = params.train.variant(params.train.names[0]), params.extract.image_size
        encoder: nn.Module = random_encoder(size, common.base_filters, common.embedding_dim, seed)
    else:
        model, card = load_model(WORK / f"seed-{seed}" / variant)
        encoder, size = model.encoder, card["image_size"]
    crops = (images for _, images in iterate_crops(labelled, size, params.embed.batch_size))
    features = np.concatenate(list(embed_images(encoder, crops)))
    if variant == RANDOM:  # as the stage `baseline` has it
        features /= common_scale([features[rows["train"]]])
    protocol = Protocol(table, rows, None)
    tables, _, _ = probe_encoder(variant, features, problems, protocol, params.probe, params.extract.image_size)
    return tables[0]


# -- all seeds ------------------------------------------------------------------------------------------------------


def summary(draws: Draws, pairs: Sequence[tuple[str, str]], wanted: Collection[str] = tuple(METRICS)) -> dict[str, Any]:
    """Means over seeds with intervals over identities, for every variant and for the difference of every pair.

    A pair (a, b) gives b minus a, seed by seed and resample by resample.

    Args:
        draws: of every variant.
        pairs: of variants.
        wanted: metrics; others are left out.
    """
    from fabnet.probing.intervals import interval

    def told(values: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
        low, high = interval(drawn.mean(axis=0))
        return {"value": float(values.mean()), "low": low, "high": high, "seeds": values.tolist()}

    return {
        "variants": {
            name: {metric: told(*of) for metric, of in metrics.items() if metric in wanted}
            for name, metrics in draws.items()
        },
        "differences": {
            f"{b} - {a}": {
                metric: told(draws[b][metric][0] - draws[a][metric][0], draws[b][metric][1] - draws[a][metric][1])
                for metric in wanted
                if metric in draws[a]
            }
            for a, b in pairs
        },
    }


def markdown(found: Mapping[str, Any], what: str) -> str:
    metrics = [metric for metric in METRICS if metric in next(iter(found["variants"].values()))]
    titles = [f"{title} {'↑' if more else '↓'}" for title, more in (METRICS[metric] for metric in metrics)]
    parts = [
        "# Variants and baselines over training seeds",
        what,
        comparison(["variant", *titles], found["variants"], metrics, ""),
        "## Differences, on the same faces and seeds",
        "The second minus the first. Bold: the interval leaves out zero, and all seeds agree with its sign.",
        comparison(["difference", *titles], found["differences"], metrics, "+"),
    ]
    return "\n\n".join(parts) + "\n"


def comparison(head: Sequence[str], rows: Mapping[str, Any], metrics: Sequence[str], sign: str) -> str:
    """A Markdown table of cells as `summary` tells them.

    Args:
        head: titles of the columns.
        rows: by name and metric.
        metrics: of the columns after the first.
        sign: "+" to mark differences, which are bold where the interval and all seeds agree on their sign.
    """
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row[metric], sign) for metric in metrics) + " |")
    return "\n".join(lines)


def _cell(told: Mapping[str, Any], sign: str) -> str:
    value = f"{told['value']:{sign}.2f}"
    if sign and told["low"] * told["high"] > 0 and len({np.sign(each) for each in told["seeds"]}) == 1:
        value = f"**{value}**"
    seeds = ", ".join(f"{each:{sign}.2f}" for each in told["seeds"])
    return f"{value} [{told['low']:{sign}.2f}, {told['high']:{sign}.2f}] ({seeds})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--jobs", type=int, default=1, help="seeds that are trained at once, with train.common.threads each"
    )
    parser.add_argument("--set", default="synthetic", help="a labelled set of params.yaml")
    parser.add_argument("--over", type=Path, help="YAML laid over params.yaml")
    parser.add_argument("--train-seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="variants", help="of the files in docs/results")
    given = parser.parse_args()
    log.set_up()
    params = load(given.over)
    if given.train_seed is not None:
        train_seed(params, given.train_seed)
        return
    _train(given)
    _compare(params, given)


def _train(given: argparse.Namespace) -> None:
    """Each seed in a process of its own, `jobs` of them at once."""
    over = [] if given.over is None else ["--over", str(given.over)]
    commands = [[sys.executable, "-m", "studies.variants", "--train-seed", str(seed), *over] for seed in given.seeds]
    with ThreadPoolExecutor(given.jobs) as pool:
        done = list(pool.map(lambda command: subprocess.run(command).returncode, commands))
    if any(done):
        sys.exit(
            f"error: training stopped for seeds {[seed for seed, code in zip(given.seeds, done, strict=True) if code]}"
        )


def _compare(params: Params, given: argparse.Namespace) -> None:
    from fabnet.probing.intervals import bootstrap
    from fabnet.progress import track

    names = [*params.train.names, RANDOM]
    found: dict[str, list[Any]] = {}
    for seed in given.seeds:
        for name in track(names, f"probe seed {seed}", len(names), "variant"):
            predicted = predictions(params, given.set, seed, name)
            found.setdefault(name, []).append(bootstrap(predicted, params.report.bootstrap, params.report.seed))
    draws = {
        name: {
            metric: (np.array([each[metric][0] for each in seeds]), np.stack([each[metric][1] for each in seeds]))
            for metric in seeds[0]
        }
        for name, seeds in found.items()
    }
    faces = next(iter(found.values()))[0]["yaw_mae_deg"][2]
    own = [name for name in params.train.names if params.train.variant(name).objective == "fabnet"]
    others = [name for name in names if name not in own]
    pairs = [(a, b) for at, b in enumerate(own) for a in (*own[:at], *others)]
    told = summary(draws, pairs)
    told["params"] = {name: params.train.variant(name).model_dump(mode="json") for name in params.train.names}
    what = (
        f"`python -m studies.variants`: seeds {', '.join(map(str, given.seeds))}, {faces} test faces of the set "
        f"`{given.set}`, regularised probes. A cell: mean over seeds [95 % interval over test identities] (seeds)."
    )
    page = markdown(told, what)
    write_record(OUT / given.name, told, page)
    print(page)


if __name__ == "__main__":
    main()
