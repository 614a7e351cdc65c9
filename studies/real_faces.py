"""What do networks learn from crops of real faces? The default variants, baselines and changes of recipe over seeds.

    python -m studies.real_faces FRAMES --sets aflw2000=FOLDER [synthetic=FOLDER] [--seeds 0 1 2] [--recipes jitter ...]
        [--chosen jitter] [--people 15 30 60] [--samples 2400 4800] [--work FOLDER] [--only train | tell]

FRAMES is a folder of track shards of any crop size, with index.parquet, crop.json and splits.parquet; networks learn
from a copy of it at the size of params.yaml. Each set is named by its kind. Every trained network is kept in `--work`
with its params, so that a run that was stopped goes on; only what was trained is told, with the seeds that it has.

Scores are of the default regularised probe: by folds over people of a small set, on the test split of a large one. No
recipe is chosen on them: `--recipes` are compared, at half the budget and with the first seed, on the validation people
of FRAMES, with what FaceMesh reads of their crops, as they are and turned, in place of labels
(`studies/read_faces.py`); the `--chosen` one is then trained with every seed and the whole budget. Writes
docs/results/real-faces.md and .json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabnet import log
from studies.curriculum import shrink
from studies.kept import measure_once, train_once
from studies.learning_speed import RESAMPLES, params_of
from studies.real_faces_page import CHOOSING, PAPER, page
from studies.record import write_record
from studies.variants import METRICS, RANDOM, summary

if TYPE_CHECKING:
    from fabnet.attributes.sets import LabelledSet
    from fabnet.config import Params, VariantParams

WORK, OUT = Path(".work/studies/real_faces"), Path("docs/results/real-faces")
#: What FaceMesh reads of the crops as they are, and turned by up to TURN degrees, as heads in photographs are.
READINGS, TURNED, TURN = "readings", "turned", 30.0
#: The network that recipes change and curves are of, and ours, which the chosen recipe changes as well.
BEST, OURS = "fabnet_3src", "fabnet_next"

#: The same further training, without the curriculum.
CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    "fabnet_longer": ("fabnet_curriculum", {"curriculum": None}),
    "fabnet_longer_3src": ("fabnet_curriculum_3src", {"start_from": "fabnet_longer"}),
}
#: Changes to BEST that were tried: what differs in its params, and whether crops are framed as AFLW2000-3D's are.
RECIPES: dict[str, tuple[dict[str, Any], bool]] = {
    "jitter": ({"jitter": 0.15}, False),
    "framed": ({}, True),
    "histograms": ({"flow_stride": 4, "histograms": 6.0}, False),
    "histograms-jitter": ({"flow_stride": 4, "histograms": 6.0, "jitter": 0.15}, False),
    "histograms-turn": ({"flow_stride": 4, "histograms": 6.0, "jitter": 0.15, "turn": TURN}, False),
}
#: Samples at which they are compared with the recipe as it is.
COMPARED_AT = 9600
SEEDLESS = ("constant", "pca", "hog")
UNTRAINED = (*SEEDLESS[:1], RANDOM, *SEEDLESS[1:])
PAIRS = (
    *PAPER,
    ("fabnet_longer", "fabnet_curriculum"),
    ("fabnet_longer_3src", "fabnet_curriculum_3src"),
    ("fabnet", BEST),
    (BEST, OURS),
    ("hog", OURS),
    *((other, BEST) for other in ("autoencoder", *UNTRAINED)),
)


@dataclass(frozen=True)
class Run:
    """A network of the study.

    Attributes:
        group: folder below the work folder: main, recipe-NAME, people-N or samples-N.
        variant: its name there.
        values: its params, with the seed.
        framed: whether it learns from crops that are framed as AFLW2000-3D's.
        people: training people; None: all of the store's.
    """

    group: str
    variant: str
    values: VariantParams
    framed: bool = False
    people: int | None = None

    def place(self, work: Path) -> Path:
        return work / self.group / f"seed-{self.values.seed}" / self.variant


def runs(params: Params, given: argparse.Namespace) -> Iterator[Run]:
    """All networks that are asked for, those that others start from first; the first seed of everything comes first.

    Args:
        params: of the project.
        given: the arguments of the command.
    """

    def of(name: str, seed: int) -> VariantParams:
        source, changed = CONTROLS.get(name, (name, {}))
        return params.train.variant(source).model_copy(update={**changed, "seed": seed})

    def changed(recipe: str, values: VariantParams) -> tuple[VariantParams, bool]:
        changes, framed = RECIPES[recipe]
        return values.model_copy(update=changes), framed

    first = with_budget(of(BEST, given.seeds[0]), COMPARED_AT)
    for seed in given.seeds:
        yield from (Run("main", name, of(name, seed)) for name in (*params.train.names, *CONTROLS))
        if seed == given.seeds[0] and given.recipes:
            yield Run(f"samples-{COMPARED_AT}", BEST, first)
            yield from (Run(f"recipe-{recipe}", BEST, *changed(recipe, first)) for recipe in given.recipes)
        if given.chosen is not None:
            for name in (each for each in (BEST, OURS) if each in params.train.names):
                yield Run(f"chosen-{given.chosen}", name, *changed(given.chosen, of(name, seed)))
    first = of(BEST, given.seeds[0])
    for people in given.people:
        yield Run(f"people-{people}", BEST, first, people=people)
    for samples in given.samples:
        if samples != COMPARED_AT or not given.recipes:
            yield Run(f"samples-{samples}", BEST, with_budget(first, samples))
        if given.chosen is not None:
            for seed in given.seeds if samples > first.samples else given.seeds[:1]:
                values, framed = changed(given.chosen, of(BEST, seed))
                yield Run(f"chosen-{given.chosen}-{samples}", BEST, with_budget(values, samples), framed)


def with_budget(values: VariantParams, samples: int) -> VariantParams:
    """The same training with another number of samples, validated and kept at least once.

    Args:
        values: of the training.
        samples: seen in all.
    """
    often = {key: min(getattr(values, key), samples) for key in ("validation_every", "checkpoint_every")}
    return values.model_copy(update={"samples": samples, **often})


# -- what is learnt from --------------------------------------------------------------------------------------------


def crops(frames: Path, work: Path, size: int, framed: bool) -> Path:
    """The store at another size, made unless it is there.

    Args:
        frames: the store, with its splits.
        work: folder of the study.
        size: pixels of a crop.
        framed: cut anew around FaceMesh's points, as AFLW2000-3D is; what its network is not sure of stays as it is.
    """
    out = work / f"frames-{size}{'-framed' if framed else ''}"
    if not framed:
        shrink(frames, out, size)
        return out
    from fabnet.attributes.aflw2000 import face_box
    from fabnet.frames.store import FrameStore
    from fabnet.video.crop import Box, crop
    from fabnet.video.mesh import MIN_PRESENCE
    from studies.read_faces import read_crops

    readings = read_crops(frames, work / f"{READINGS}.parquet")
    sure = (readings["presence"] >= MIN_PRESENCE).to_numpy()
    points = readings["landmarks68"]
    side = FrameStore(frames).size

    def cut(row: int, image: np.ndarray) -> np.ndarray:
        box = face_box(points[row].reshape(-1, 2)) if sure[row] else (0, 0, side, side)
        return crop(image, Box(*box), size)

    shrink(frames, out, size, cut)
    return out


def fewer_people(splits: Path, people: int, out: Path) -> Path:
    """Splits with so many training people: the first of a seeded order, so that fewer are some of more.

    Args:
        splits: table of identities and splits.
        people: that are kept.
        out: the new table.

    Raises:
        UserError: there are not as many.
    """
    import pandas as pd

    from fabnet import tables
    from fabnet.errors import UserError

    table = pd.read_parquet(splits)
    learnt = np.sort(table.loc[table["split"] == "train", "identity"].to_numpy().astype(str))
    if people > len(learnt):
        raise UserError(f"{splits}: has {len(learnt)} training people, not {people}; ask --people for fewer")
    kept = np.random.default_rng(0).permutation(learnt)[:people]
    out.parent.mkdir(parents=True, exist_ok=True)
    tables.write(table[(table["split"] != "train") | table["identity"].isin(kept)], out, tables.Splits)
    return out


def train(run: Run, frames: Path, work: Path, size: int) -> None:
    """Train a network unless it is there.

    Args:
        run: the network.
        frames: the store, with its splits.
        work: folder of the study.
        size: pixels of a crop.
    """
    learnt = crops(frames, work, size, run.framed)
    splits = learnt / "splits.parquet"
    if run.people is not None:
        splits = fewer_people(splits, run.people, work / run.group / "splits.parquet")
    train_once(run.variant, run.values, learnt, splits, run.place(work))


def described(frames: Path) -> dict[str, int]:
    """How many crops, tracks and people of each split a store has.

    Args:
        frames: the store, with its splits.
    """
    import pandas as pd

    index = pd.read_parquet(frames / "index.parquet", columns=["track_id", "identity"])
    people = pd.read_parquet(frames / "splits.parquet")["split"].value_counts()
    return {"crops": len(index), "tracks": index["track_id"].nunique(), **{str(k): int(n) for k, n in people.items()}}


# -- what is measured -----------------------------------------------------------------------------------------------


def scores(
    features: np.ndarray | None, encoder: str, labelled: LabelledSet, params: Params
) -> dict[str, tuple[float, np.ndarray]]:
    """What the default regularised probe reads of a set: values by metric, and over resamples of people (R,).

    Args:
        features: (N, D), of all faces of the set; None: the constant prediction.
        encoder: its name.
        labelled: the set.
        params: of the project.
    """
    import pandas as pd

    from fabnet.attributes.sets import targets
    from fabnet.probing.evaluate import Protocol, probe_constant, protocol_of, rows_by_split
    from fabnet.probing.folds import regularised_out_of_fold
    from fabnet.probing.intervals import bootstrap
    from fabnet.probing.predictions import REGULARISED, frame
    from fabnet.probing.problem import Problem
    from fabnet.probing.regularised import fit, penalties_of

    table, size = labelled.table(), params.extract.image_size
    problems = [
        Problem(task.name, task.loss, targets(table, task), task.outputs)
        for task in labelled.tasks
        if any(metric in METRICS for metric in task.metrics)
    ]
    if labelled.name in CHOOSING:  # whatever their number: the people to score are those that no network learnt from
        protocol = Protocol(table, rows_by_split(table, labelled.name), None)
    else:
        protocol = protocol_of(table, params.probe.folds, f"--sets {labelled.name}")
    if features is None:
        predictions = probe_constant(problems, protocol, size)[0]
    else:
        penalties = penalties_of(params.probe)
        if protocol.folds_RN is None:
            probes = fit(features, problems, protocol.rows["train"], protocol.rows["validation"], penalties)
            found = [probe.predict(features, protocol.scored) for probe in probes]
        else:
            found = regularised_out_of_fold(features, problems, protocol.folds_RN, penalties).predictions
        faces, scored = table.iloc[protocol.scored], protocol.scored
        predictions = pd.concat(
            frame(encoder, REGULARISED, problem.task, faces, each, problem.reference(scored), size)
            for problem, each in zip(problems, found, strict=True)
        )
    drawn = bootstrap(predictions, RESAMPLES, 0)
    return {metric: drawn[metric][:2] for metric in METRICS if metric in drawn}


def score_trained(directory: Path, labelled: LabelledSet, params: Params) -> dict[str, tuple[float, np.ndarray]]:
    """`scores` of the embeddings of all faces of a set.

    Args:
        directory: of a trained network.
        labelled: the set.
        params: of the project.
    """
    from fabnet.attributes.sets import iterate_crops
    from fabnet.networks.build import load_model
    from fabnet.networks.encoder import embed_images

    model, card = load_model(directory)
    batches = (images for _, images in iterate_crops(labelled, card["image_size"], params.embed.batch_size))
    return scores(np.concatenate(list(embed_images(model.encoder, batches))), card["variant"], labelled, params)


def score_untrained(
    encoder: str, seed: int, labelled: LabelledSet, params: Params
) -> dict[str, tuple[float, np.ndarray]]:
    """`scores` of features of a set that are not learnt from videos, as the stage `baseline` makes them.

    Args:
        encoder: one of UNTRAINED.
        seed: of the random encoder.
        labelled: the set.
        params: of the project.
    """
    from fabnet.attributes.sets import iterate_crops
    from fabnet.networks.build import random_encoder
    from fabnet.networks.encoder import embed_images
    from fabnet.probing.embed_set import PixelPca, common_scale, hog

    size, batch = params.extract.image_size, params.embed.batch_size

    def images(split: str | None = None) -> Iterator[np.ndarray]:
        return (each for _, each in iterate_crops(labelled, size, batch, split))

    if encoder == "constant":
        return scores(None, encoder, labelled, params)
    if encoder != RANDOM:
        embed = hog if encoder == "hog" else PixelPca(images("train"))
        return scores(np.concatenate(list(map(embed, images()))), encoder, labelled, params)
    common = params.train.variant(BEST)
    network = random_encoder(size, common.base_filters, common.embedding_dim, seed)
    features = np.concatenate(list(embed_images(network, images())))
    learnt = (labelled.table()["split"] == "train").to_numpy()
    return scores(features / common_scale([features[learnt]]), encoder, labelled, params)


def tell(
    labelled: Mapping[str, LabelledSet], networks: Sequence[Run], seeds: Sequence[int], params: Params, work: Path
) -> dict[str, Any]:
    """The record: scores of all encoders on all sets by group, differences, and what trainings cost.

    Args:
        labelled: sets by name; READINGS and TURNED are what recipes are chosen on.
        networks: all that were asked for; those that are not trained are left out.
        seeds: of the untrained encoders.
        params: of the project.
        work: folder of the study.
    """
    from fabnet.files import hash_file, read_json
    from fabnet.progress import track
    from fabnet.tracking.verify.verify import processor

    there = [run for run in networks if (run.place(work) / "model.json").is_file()]
    cards = {run: read_json(run.place(work) / "model.json") for run in there}
    told: dict[str, Any] = {"processor": processor(), "size": params.extract.image_size, "sets": {}, "networks": {}}
    told["missing"] = [f"{run.group}/{run.variant}, seed {run.values.seed}" for run in networks if run not in there]
    for run in there:
        path, card = run.place(work).with_suffix(".json"), cards[run]
        note = read_json(path) if path.is_file() else {}
        told["networks"].setdefault(f"{run.group}/{run.variant}", []).append(
            {
                "seed": run.values.seed,
                "samples": run.values.samples,
                "cpu_s": note.get("cpu_s"),
                "resumed": note.get("resumed", False),
                "below_copying_pct": card["below_copying_pct"],
                "params": card["params"],
            }
        )
    for name, own in labelled.items():
        table, faces = own.table(), own.fingerprint()
        draws: dict[str, dict[int, dict[str, tuple[float, np.ndarray]]]] = {}
        for run in track(there, f"probe@{name}", len(there), "network"):
            directory = run.place(work)
            draws.setdefault(f"{run.group}/{run.variant}", {})[run.values.seed] = measure_once(
                directory.with_name(f"{run.variant}.{name}.npz"),
                f"{hash_file(directory / 'best.pt')} {faces}",
                partial(score_trained, directory, own, params),
            )
        for encoder in UNTRAINED:
            for seed in seeds if encoder == RANDOM else seeds[:1]:
                draws.setdefault(encoder, {})[seed] = measure_once(
                    work / "untrained" / f"{encoder}-{seed}.{name}.npz",
                    faces,
                    partial(score_untrained, encoder, seed, own, params),
                )
        told["sets"][name] = {
            "faces": len(table),
            "people": int(table["identity"].nunique()),
            **_summary(draws),
        }
    return told


def _summary(draws: Mapping[str, Mapping[int, Mapping[str, tuple[float, np.ndarray]]]]) -> dict[str, Any]:
    """Scores of all encoders, and differences of pairs over the seeds that both have.

    Args:
        draws: by encoder, seed and metric. A baseline without seeds has one, and is the same for all of the other's.
    """

    def stacked(name: str, seeds: Sequence[int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        own = draws[name]
        rows = [own[seed] if seed in own else next(iter(own.values())) for seed in seeds]
        return {m: (np.array([row[m][0] for row in rows]), np.stack([row[m][1] for row in rows])) for m in rows[0]}

    encoders = summary({name: stacked(name, sorted(own)) for name, own in draws.items()}, [])["variants"]
    pairs = [(_full(a), _full(b)) for a, b in PAIRS]
    for name in draws:
        if name.startswith("recipe-"):
            pairs.append((f"samples-{COMPARED_AT}/{BEST}", name))
        elif name.startswith("chosen-"):
            pairs += [(f"main/{BEST}", name), ("hog", name)]
    differences: dict[str, Any] = {}
    for a, b in pairs:
        if a not in draws or b not in draws:
            continue
        if seeds := sorted(set(draws[b]) if a in SEEDLESS else set(draws[a]) & set(draws[b])):
            differences |= summary({name: stacked(name, seeds) for name in (a, b)}, [(a, b)])["differences"]
    return {"encoders": encoders, "differences": differences}


def _full(name: str) -> str:
    return name if name in UNTRAINED else f"main/{name}"


def opened(sets: Sequence[str], frames: Path, work: Path) -> dict[str, LabelledSet]:
    """The labelled sets of the command line by name, and what FaceMesh reads of the store, upright and turned.

    Args:
        sets: KIND=FOLDER each.
        frames: the store, with its splits.
        work: folder of the study.

    Raises:
        UserError: a set is not written so, or its files are absent.
    """
    from pydantic import ValidationError

    from fabnet.attributes.sets import open_set
    from fabnet.config import SetParams
    from fabnet.errors import UserError, first_line
    from studies.read_faces import ReadFaces, read_crops

    found: dict[str, LabelledSet] = {}
    for each in sets:
        kind, equals, folder = each.partition("=")
        if not equals:
            raise UserError(f"--sets {each}: is no KIND=FOLDER, such as aflw2000=../aflw2000")
        try:
            found[kind] = open_set(kind, SetParams.model_validate({"kind": kind, "path": folder}))
        except ValidationError as error:
            raise UserError(f"--sets {each}: {first_line(error)}; see docs/labelled-sets.md for kinds") from None
    for name, turn in ((READINGS, 0.0), (TURNED, TURN)):
        readings = read_crops(frames, work / f"{name}.parquet", turn)
        found[name] = ReadFaces(name, frames, frames / "splits.parquet", readings)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, help="track shards with index.parquet, crop.json and splits.parquet")
    parser.add_argument("--sets", nargs="+", required=True, metavar="KIND=FOLDER", help="labelled sets that are scored")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="*", choices=RECIPES, default=[], help=f"changes to {BEST} to compare")
    parser.add_argument("--chosen", choices=RECIPES, help="the one that is trained with every seed")
    parser.add_argument("--people", type=int, nargs="*", default=[], help=f"of a curve of {BEST}, first seed")
    parser.add_argument(
        "--samples",
        type=int,
        nargs="*",
        default=[],
        help="likewise, and of the chosen recipe; of this with every seed, where there are more than it has by default",
    )
    parser.add_argument("--work", type=Path, default=WORK, help="folder of networks and scores")
    parser.add_argument("--out", type=Path, default=OUT, help="of the page and its numbers, without suffix")
    parser.add_argument("--only", choices=("train", "tell"), help="one of the two steps")
    given = parser.parse_args()
    log.set_up()
    params = params_of("default")
    networks = list(runs(params, given))
    if given.only != "tell":
        for number, run in enumerate(networks, 1):
            print(f"{number}/{len(networks)} {run.group} seed {run.values.seed} {run.variant}", flush=True)
            train(run, given.frames, given.work, params.extract.image_size)
    if given.only != "train":
        told = tell(opened(given.sets, given.frames, given.work), networks, given.seeds, params, given.work)
        told["crops"] = described(given.frames)
        write_record(given.out, told, page(told))
        print(page(told))


if __name__ == "__main__":
    main()
