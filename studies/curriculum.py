"""Does the curriculum help as fine-tuning? Against as much further training without it, on drawn and on real crops.

    python -m studies.curriculum [--seeds 0 1 2] [--real FOLDER --faces FOLDER] [--only train | tell]

From a `fabnet` of each seed, on real crops from that of the first one, go on: `fabnet_curriculum`, and `fabnet_longer`,
which sees the same pairs and learns from all of them; and from each of these a network of three sources. Needs the
outputs of `dvc repro validate validate_set`. `--real` is a folder of track shards with splits.parquet beside its index,
of any crop size, and `--faces` a folder of AFLW2000-3D; without both, networks learn from drawn crops alone. Models go
to .work/studies/curriculum; what was trained under the same params is not trained again, nor scored again, and a run
that was stopped resumes.

No test face is looked at. Networks that learnt from drawn crops are scored on people of the labelled set's training
and validation splits, those that learnt from real ones on all faces of `--faces`, which tell no action units and no
expression: ridge and logistic regression in five folds over people, of which one is predicted, one chooses the penalty
and the others are learnt from. Losses are of pairs of validation people, the same for all networks of as many sources.
Writes docs/results/curriculum.md and .json.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabnet import log
from fabnet.tables import SPLITS
from studies.kept import measure_once, train_once
from studies.learning_speed import RESAMPLES, SET, params_of, score
from studies.record import write_record
from studies.variants import METRICS, comparison, summary

if TYPE_CHECKING:
    from fabnet.config import VariantParams

WORK, OUT = Path(".work/studies/curriculum"), Path("docs/results")
SIZE = 64

#: What differs from train.common of the default profile: budgets in samples, each of four views or of one target.
FURTHER: dict[str, Any] = {
    "start_from": "fabnet",
    "flow_stride": 2,
    "batch_size": 32,
    "samples": 3200,
    "learning_rate": 0.002,
    "schedule": "step",
    "drop_at": 0.8,
    "validation_every": 480,
    "validation_samples": 384,
    "checkpoint_every": 960,
}
THREE: dict[str, Any] = FURTHER | {
    "sources": 3,
    "freeze": ["flow_decoder"],
    "batch_size": 16,
    "samples": 1600,
    "validation_every": 320,
}
#: The paper's windows, [0, 50) to [40, 90), of which the last holds for two fifths of the budget.
CURRICULUM = {"longest": 480}
VARIANTS: dict[str, dict[str, Any]] = {
    "fabnet": {"views": 4, "flow_stride": 2, "samples": 9600, "checkpoint_every": 1200},
    "fabnet_longer": FURTHER,
    "fabnet_curriculum": FURTHER | {"curriculum": CURRICULUM},
    "fabnet_longer_3src": THREE | {"start_from": "fabnet_longer"},
    "fabnet_curriculum_3src": THREE | {"start_from": "fabnet_curriculum"},
}
PAIRS = (
    ("fabnet", "fabnet_longer"),
    ("fabnet", "fabnet_curriculum"),
    ("fabnet_longer", "fabnet_curriculum"),
    ("fabnet_curriculum", "fabnet_curriculum_3src"),
    ("fabnet_longer", "fabnet_longer_3src"),
    ("fabnet_longer_3src", "fabnet_curriculum_3src"),
)


#: Pairs of validation people whose losses are told.
PAIRS_OF_FRAMES = 960
#: By metric: its title, and whether more is better.
MEASURED = {
    "loss_thousandths": ("validation loss, thousandths", False),
    "below_copying_pct": ("below copying %", True),
    **METRICS,
}


def variant(name: str, seed: int) -> VariantParams:
    """Values of a network of the study.

    Args:
        name: a key of VARIANTS.
        seed: of the training.
    """
    from fabnet.config import VariantParams

    common = params_of("default").train.common
    return VariantParams.model_validate(common | VARIANTS[name] | {"seed": seed})


def place(data: str, seed: int, name: str) -> Path:
    return WORK / f"{data}-{seed}" / name


def shrink(source: Path, out: Path, size: int, cut: Callable[[int, np.ndarray], np.ndarray] | None = None) -> None:
    """A copy of a frame store at another size, with its splits; nothing is done where there is one.

    Args:
        source: folder of shards, index, crop.json and splits.parquet.
        out: folder of the copy.
        size: of its crops, pixels.
        cut: makes the new crop (size, size, 3) of a row's number and crop; None: all of it, by areas.
    """
    import cv2
    import pyarrow.parquet as pq
    import simplejpeg

    from fabnet.files import atomic_directory, write_json
    from fabnet.frames.shards import INDEX, RECIPE, TarWriter, member_name, shard_name
    from fabnet.frames.store import FrameStore

    if out.is_dir():
        return
    if cut is None:

        def cut(_: int, crop: np.ndarray) -> np.ndarray:
            return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)

    store, index = FrameStore(source), pq.read_table(source / INDEX)
    placed: dict[str, list[Any]] = {"shard": [shard_name(0)] * len(index), "offset": [], "size": []}
    with atomic_directory(out) as folder:
        with open(folder / shard_name(0), "wb") as file:
            tar = TarWriter(file)
            names = zip(index["track_id"].to_pylist(), index["frame_no"].to_pylist(), strict=True)
            for row, (track, number) in enumerate(names):
                jpeg = simplejpeg.encode_jpeg(cut(row, store.decode([row])[0]), 95, "RGB", "444")
                placed["offset"].append(tar.add(member_name(track, number), jpeg))
                placed["size"].append(len(jpeg))
            tar.close()
        for name, values in placed.items():
            at = index.schema.get_field_index(name)
            index = index.set_column(at, index.schema.field(at), [values])
        pq.write_table(index, folder / INDEX)
        write_json(folder / RECIPE, store.recipe | {"size": size})
        (folder / "splits.parquet").write_bytes((source / "splits.parquet").read_bytes())


def train(data: str, frames: Path, splits: Path, seed: int, start: Path | None) -> None:
    """Train all networks of a seed, with one thread; CPU seconds are noted beside the weights.

    Args:
        data: drawn or real.
        frames: track shards of SIZE pixels.
        splits: table of identities and splits.
        seed: of all of them.
        start: a `fabnet` to go on from; None trains one.
    """
    for name in VARIANTS:
        out = place(data, seed, name)
        if name == "fabnet" and start is not None:
            shutil.copytree(start, out, dirs_exist_ok=True)
        else:
            train_once(name, variant(name, seed), frames, splits, out)


def losses(directory: Path, frames: Path, splits: Path) -> dict[str, tuple[float, np.ndarray]]:
    """Validation loss and how far it is below copying: values, and values over resamples of people (R,).

    Args:
        directory: of a trained model.
        frames: of track shards.
        splits: table of identities and splits.
    """
    import pyarrow.parquet as pq
    import torch

    from fabnet.frames.pairs import PairSampler
    from fabnet.frames.store import FrameStore
    from fabnet.networks.build import load_model
    from fabnet.probing.intervals import resample_weights, weighted_means
    from fabnet.training.batches import Batches
    from fabnet.training.objective import copying_loss, reconstruction_loss

    table = pq.read_table(splits).to_pandas()
    store = FrameStore(frames)
    tracks = store.select(table["identity"][table["split"] == "validation"])
    start, length, identity = (
        values[tracks] for values in (store.tracks.start, store.tracks.length, store.tracks.identity)
    )
    model, card = load_model(directory)
    batches = Batches(store, PairSampler(start, length, identity, 1 + card["sources"], 7), 32)
    found: list[np.ndarray] = []
    people: list[np.ndarray] = []
    with torch.no_grad():
        for number, loaded in enumerate(batches.iterate(0, PAIRS_OF_FRAMES // 32)):
            views, mask, _ = batches.finish(loaded)
            own = reconstruction_loss(model(views, mask), views[0])
            found.append(torch.stack((own, copying_loss(views, mask, card["sources"] > 1, False))).numpy())
            rows = batches.draw(torch.arange(32 * number, 32 * number + 32)).rows[:, 0].numpy()
            people.append(store.tracks.identity[np.searchsorted(store.tracks.start, rows, side="right") - 1])
    own, copying = np.concatenate(found, axis=1)
    weights = resample_weights(np.concatenate(people), RESAMPLES, 0)
    drawn, shown = weighted_means(own, weights), weighted_means(copying, weights)
    return {
        "loss_thousandths": (1000 * float(own.mean()), 1000 * drawn),
        "below_copying_pct": (100 * (1 - float(own.mean() / copying.mean())), 100 * (1 - drawn / shown)),
    }


def measure(directory: Path, frames: Path, splits: Path, faces: Path | None) -> dict[str, tuple[float, np.ndarray]]:
    """What can be MEASURED of a network: values, and values over resamples (R,); kept beside it for the next time.

    Args:
        directory: of a trained model.
        frames: of track shards, as it learnt from.
        splits: table of identities and splits.
        faces: folder of AFLW2000-3D, for a network that learnt from real crops; else None.
    """
    from fabnet.attributes.sets import open_set
    from fabnet.config import SetParams
    from fabnet.files import hash_file

    def compute() -> dict[str, tuple[float, np.ndarray]]:
        if faces is None:
            scores = score(directory, open_set(SET, params_of("default").labelled_set(SET)), ("train", "validation"))
        else:
            real = SetParams.model_validate({"kind": "aflw2000", "path": str(faces)})
            scores = score(directory, open_set("aflw2000", real), SPLITS)
        found = losses(directory, frames, splits) | {name: (value, over) for name, (value, over, _) in scores.items()}
        return {name: found[name] for name in MEASURED if name in found}

    return measure_once(directory.with_suffix(".npz"), hash_file(directory / "best.pt"), compute)


def tell(sources: Mapping[str, tuple[Path, Path, Path | None]], seeds: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Measures of the networks that were trained with every seed, and their differences, by what they learnt from.

    Args:
        sources: frames, splits and real faces by what is learnt from.
        seeds: by what is learnt from.
    """
    from fabnet.progress import track
    from fabnet.tracking.verify.verify import processor

    told: dict[str, Any] = {"processor": processor()}
    told["params"] = {name: variant(name, 0).model_dump(mode="json") for name in VARIANTS}
    for data, given in sources.items():
        names = [
            name for name in VARIANTS if all((place(data, seed, name) / "model.json").is_file() for seed in seeds[data])
        ]
        networks = [(name, seed) for name in names for seed in seeds[data]]
        found = {
            (name, seed): measure(place(data, seed, name), *given)
            for name, seed in track(networks, f"probe, {data} crops", len(networks), "network")
        }
        draws = {
            name: {
                metric: tuple(np.stack([found[name, seed][metric][part] for seed in seeds[data]]) for part in (0, 1))
                for metric in found[name, seeds[data][0]]
            }
            for name in names
        }
        pairs = [pair for pair in PAIRS if {*pair} <= draws.keys()]
        told[data] = {"seeds": list(seeds[data])} | summary(draws, pairs, tuple(MEASURED))  # type: ignore[arg-type]
    return told


def markdown(told: Mapping[str, Any]) -> str:
    """The page.

    Args:
        told: as `tell` gives it.
    """
    sides = [told[data]["variants"] for data in ("drawn", "real") if data in told]
    absent = [f"`{name}`" for name in VARIANTS if not all(name in side for side in sides)]
    parts = [
        "# The curriculum as fine-tuning",
        f"`python -m studies.curriculum`: {SIZE} px, float32, one thread, on {told['processor']}. A cell: "
        "mean over seeds [95 % bootstrap interval over people] (seeds).",
        *(
            f"`{name}`: {_budget(params)}."
            for name, params in told["params"].items()
            if any(name in side for side in sides)
        ),
        *([f"Not trained with every seed, and left out: {', '.join(absent)}."] if absent else []),
    ]
    for data, title in (("drawn", "## Drawn crops"), ("real", "## Real crops")):
        if data not in told:
            continue
        metrics = [metric for metric in MEASURED if metric in told[data]["variants"]["fabnet"]]
        titles = [f"{title} {'↑' if more else '↓'}" for title, more in map(MEASURED.__getitem__, metrics)]
        parts += [
            f"{title}, seeds {', '.join(map(str, told[data]['seeds']))}",
            comparison(["network", *titles], told[data]["variants"], metrics, ""),
            "The second minus the first. Bold: the interval leaves out zero, and all seeds agree with its sign.",
            comparison(["difference", *titles], told[data]["differences"], metrics, "+"),
        ]
    return "\n\n".join(parts) + "\n"


def _budget(params: Mapping[str, Any]) -> str:
    start = f"from `{params['start_from']}`, " if params["start_from"] else ""
    of = f"{params['views']} views" if params["views"] else f"one target and {params['sources']} source(s)"
    windows = f", windows of at most {params['curriculum']['longest']} samples" if params["curriculum"] else ""
    return f"{start}{params['samples']:,} samples of {of}, batch {params['batch_size']}{windows}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--real-seeds", type=int, nargs="+", help="of networks that learn from real crops; as --seeds")
    parser.add_argument("--real", type=Path, help="track shards of real crops, with splits.parquet")
    parser.add_argument("--faces", type=Path, help="AFLW2000-3D, for networks that learn from real crops")
    parser.add_argument("--only", choices=("train", "tell"), help="one of the two steps")
    given = parser.parse_args()
    if (given.real is None) != (given.faces is None):
        parser.error("--real and --faces go together")
    log.set_up()
    seeds = {"drawn": given.seeds, "real": given.real_seeds or given.seeds}
    sources: dict[str, tuple[Path, Path, Path | None]] = {
        "drawn": (Path("data/frames"), Path("data/splits.parquet"), None)
    }
    if given.real is not None:
        small = WORK / f"real-{SIZE}"
        shrink(given.real, small, SIZE)
        sources["real"] = (small, small / "splits.parquet", given.faces)
    if given.only != "tell":
        for data, (frames, splits, _) in sources.items():
            for seed in seeds[data]:
                first = place(data, seeds[data][0], "fabnet")
                train(data, frames, splits, seed, first if data == "real" and seed != seeds[data][0] else None)
    if given.only != "train":
        told = tell(sources, seeds)
        write_record(OUT / "curriculum", told, markdown(told))
        print(markdown(told))


if __name__ == "__main__":
    main()
