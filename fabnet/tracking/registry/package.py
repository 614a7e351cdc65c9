"""A version as a directory: one MLflow pyfunc made from code, its weights a state dict and its probes plain arrays.

MLmodel, requirements.txt ...   MLflow's own; code/ holds the package fabnet
artifacts/model/                model.json and best.pt, as `train` wrote them
artifacts/VARIANT.npz           the probes, where there are any
artifacts/description.json      versions and hashes
evaluation/SET.parquet          predictions of this encoder, for the gate
frames.profile.json             quantiles of the frames that it learnt from, where `validate` wrote them
README.md                       the model card
manifest.json                   SHA-256 of every file: what makes a version complete
"""

import json
import shutil
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import fabnet
from fabnet import __version__
from fabnet.errors import UserError
from fabnet.files import hash_file, hash_json, read_json, write_json
from fabnet.probing.intervals import score
from fabnet.probing.predictions import REGULARISED, encoders_and_probes, open_writer, read_predictions
from fabnet.probing.readings import OUTPUTS, read_heads
from fabnet.report.blocks import score_table
from fabnet.report.render import table
from fabnet.tables import EXPRESSIONS
from fabnet.tracking.lineage import Entry, output_hash, read_lock, training_entry

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


_WEIGHTS = "best.pt"
_PROFILE = "reports/data/frames.profile.json"
_LIMITS = """\
- It sees one face at a time, cut as the recipe below says. A face cut otherwise gives numbers, but not these.
- It learnt without labels from the people in its training videos. Faces unlike theirs, in age, skin, light or camera,
  are read less well; the scores say nothing of people outside the test sets.
- Scores of a drawn (synthetic) set tell how the pipeline works, not how well the model reads photographs.
- The probes are linear maps trained on the labelled set named below; their errors come on top of the embedding's."""
_USE = """\
Research on facial attributes: embeddings of faces for linear probes of pose, landmarks, action units and expression.
Not for identifying people, and not for decisions about anybody: an expression is no evidence of what a person feels."""
MANIFEST = "manifest.json"
PROFILE = "frames.profile.json"

#: What fabnet.serving.pyfunc_model imports, directly or not.
REQUIREMENTS = (
    *("av", "mlflow", "numpy", "opencv-python-headless", "pandas", "pandera", "pyarrow", "pydantic", "pyyaml", "scipy"),
    *("psutil", "simplejpeg", "torch", "tqdm"),
)

# MLflow runs this file to make the model: the class itself is in the package, and importing it does nothing.
_MODEL_CODE = """\
from fabnet.serving.pyfunc_model import FabnetPyfunc
from mlflow.models import set_model

set_model(FabnetPyfunc())
"""
_RESAMPLES, _SEED = 1000, 0


@dataclass(frozen=True)
class Contents:
    """A trained variant with its probes and what was measured of it.

    Attributes:
        directory: models/VARIANT.
        card: its model.json.
        heads: the probes that are served with it, or None.
        predictions: files of predictions by labelled set; rows of other encoders are in them too.
        profile: what the frames that were trained on are like, as the stage `validate` wrote it; None where it has not
            run.
        train, probes: entries of dvc.lock, the latter by labelled set.
    """

    variant: str
    directory: Path
    card: Mapping[str, Any]
    heads: Path | None
    predictions: Mapping[str, Path]
    profile: Path | None
    train: Entry
    probes: Mapping[str, Entry]

    @property
    def weights(self) -> str:
        return str(self.card["weights_sha256"])

    @property
    def identity(self) -> str:
        """Equal for equal weights, probes, measurements and code version: what is registered once."""
        held = {
            "weights": self.weights,
            "heads": hash_file(self.heads) if self.heads else None,
            "measured": {name: entry.outs for name, entry in self.probes.items()},
            "fabnet": __version__,
        }
        if self.profile is not None:
            held["profile"] = hash_file(self.profile)
        return hash_json(held)


def gather(root: Path, variant: str, probes: str | None = None) -> Contents:
    """Find everything that belongs to a variant, and make sure that it belongs together.

    Args:
        root: of the project.
        variant: a trained one.
        probes: labelled set whose probes are served; None takes the only one there is.

    Raises:
        UserError: an output is absent, is not what dvc.lock says, or belongs to other weights.
    """
    lock = read_lock(root)
    trained = training_entry(lock, variant)
    if trained is None:
        known = ", ".join(entry.key for entry in lock.values() if entry.trains) or "none"
        raise UserError(f"{variant}: no trained variant of that name in dvc.lock; there are: {known}")
    directory = root / "models" / variant
    # What is registered is what dvc.lock names, not what may lie in the folder by now.
    _check(root, trained)
    card = read_json(directory / "model.json")
    if hash_file(directory / _WEIGHTS) != card["weights_sha256"]:
        raise UserError(f"{directory / _WEIGHTS}: is not the file that model.json describes; train the variant again")
    measured: dict[str, Entry] = {}
    heads: dict[str, Path] = {}
    for entry in lock.values():
        if entry.kind != "probe":
            continue
        _check(root, entry)
        out = root / "probes" / entry.key
        # The set was probed when this variant was not yet there.
        if (variant, REGULARISED) not in encoders_and_probes(out / "predictions.parquet"):
            continue
        measured[entry.key] = entry
        if (path := out / "heads" / f"{variant}.npz").is_file():
            theirs = read_heads(path).meta["weights_sha256"]
            # One stage fits the probes of all variants, and may not have run since this one was trained again.
            if theirs != card["weights_sha256"]:
                raise UserError(
                    f"{path}: reads embeddings of weights {theirs[:12]}..., not of {directory}; run `make repro`"
                )
            heads[entry.key] = path
    if probes is None and len(heads) > 1:
        raise UserError(
            f"{variant} has probes on {', '.join(heads)}; name the set whose probes are to be served (--probes)"
        )
    if probes is not None and probes not in heads:
        raise UserError(
            f"{probes}: no saved probes of {variant} on such a set; there are: {', '.join(heads) or 'none'}"
        )
    served = heads.get(probes or next(iter(heads), ""))
    files = {key: root / "probes" / key / "predictions.parquet" for key in measured}
    return Contents(variant, directory, card, served, files, _profile(root, lock, trained), trained, measured)


def _profile(root: Path, lock: Mapping[str, Entry], trained: Entry) -> Path | None:
    """The profile of the frames that `trained` learnt from."""
    entry = lock.get("validate")
    if entry is None or _PROFILE not in entry.outs:
        return None
    if entry.deps.get("data/frames") != trained.deps.get("data/frames"):
        raise UserError(f"{_PROFILE}: tells of other frames than {trained.name} learnt from; run `make repro`")
    _check(root, entry, {_PROFILE})
    return root / _PROFILE


def _check(root: Path, entry: Entry, only: Collection[str] | None = None) -> None:
    for path, md5 in entry.outs.items():
        if only is not None and path not in only:
            continue
        if not (root / path).exists() or output_hash(root / path) != md5:
            raise UserError(f"{path}: is absent or not as in dvc.lock; run `make repro`, or `dvc checkout`")


def model_card(contents: Contents, scores: Mapping[str, Mapping[str, Any]], licence: str) -> str:
    """The page.

    Args:
        contents: of the version.
        scores: by labelled set and metric, as in metrics.json.
        licence: first line of the project's licence.
    """
    card, recipe = contents.card, contents.card["recipe"]
    rows = [
        ("variant", contents.variant),
        ("objective", card["objective"]),
        ("weights (SHA-256)", f"`{contents.weights}`"),
        ("input", f"a square face crop; resized to {card['image_size']} px"),
        ("output", f"{card['embedding_dim']} numbers" + (" and what the probes read" if contents.heads else "")),
        ("registered by", f"fabnet {__version__}"),
        *_told_of_copying(card),
        ("licence of code and weights", f"{licence}; the data's own licences bind what was learnt from them"),
    ]
    data = [("training data", path, md5) for path, md5 in contents.train.deps.items() if path.startswith("data/")]
    for name, entry in contents.probes.items():
        others = ("fabnet/", "stages/", "embeddings/")
        data += [(f"labelled set `{name}`", p, md5) for p, md5 in entry.deps.items() if not p.startswith(others)]
    parts = [
        f"# {contents.variant}",
        "An encoder of facial attributes, learnt from talking-face videos without labels (Wiles et al., BMVC 2018).",
        _table(("", ""), rows),
        "## Intended use",
        _USE,
        "## Data",
        _table(("what", "path", "hash in dvc.lock"), [(what, f"`{p}`", f"`{md5}`") for what, p, md5 in data]),
        "## Crop recipe",
        _table(("key", "value"), [(key, f"`{value}`") for key, value in sorted(recipe.items())]),
        "## Scores",
        "Regularised linear probes on the frozen embedding; in brackets the 95 % bootstrap interval over identities.",
        *(f"Labelled set `{name}`:\n\n{table(score_table({contents.variant: row}))}" for name, row in scores.items()),
        "## Limits",
        _LIMITS,
        "## Training",
        _table(("param", "value"), [(key, f"`{value}`") for key, value in sorted(card["params"].items())]),
    ]
    return "\n\n".join(parts) + "\n"


def _told_of_copying(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    below = card.get("below_copying_pct")
    return [] if below is None else [("validation loss", f"{below:.1f} % below that of showing the source unchanged")]


def _table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def write_package(contents: Contents, out: Path, licence: str) -> None:
    """Write the directory `out`, which must not exist. The manifest is written last.

    Args:
        contents: of the version.
        out: directory to write.
        licence: of code and weights.
    """
    from mlflow.pyfunc import save_model

    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        staged = Path(temporary)
        (staged / "served_model.py").write_text(_MODEL_CODE)
        (staged / "model").mkdir()
        for name in ("model.json", "best.pt"):
            shutil.copyfile(contents.directory / name, staged / "model" / name)
        artifacts = {"model": str(staged / "model"), "description": str(staged / "description.json")}
        write_json(staged / "description.json", describe(contents))
        if contents.heads is not None:
            (staged / "heads").mkdir()
            shutil.copyfile(contents.heads, staged / "heads" / contents.heads.name)
            artifacts["heads"] = str(staged / "heads" / contents.heads.name)
        warnings.filterwarnings("ignore", message=".*input example was not provided")  # there is a signature
        save_model(
            str(out),
            python_model=str(staged / "served_model.py"),
            artifacts=artifacts,
            code_paths=[str(_code(staged))],
            signature=signature(contents),
            pip_requirements=requirements(),
        )
    scores: dict[str, dict[str, Any]] = {}
    for name, path in contents.predictions.items():
        part = read_predictions(path, contents.variant, REGULARISED)
        scores[name] = score(part, _RESAMPLES, _SEED)
        with open_writer(out / "evaluation" / f"{name}.parquet") as writer:
            writer.add(part)
    if contents.profile is not None:
        shutil.copyfile(contents.profile, out / PROFILE)
    (out / "README.md").write_text(model_card(contents, scores, licence))
    files = sorted(path for path in out.rglob("*") if path.is_file())
    write_json(out / MANIFEST, {path.relative_to(out).as_posix(): hash_file(path) for path in files})


def _code(staged: Path) -> Path:
    """A copy of the package without what Python compiled."""
    source = Path(fabnet.__file__).parent
    shutil.copytree(source, staged / "fabnet", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return staged / "fabnet"


def check_package(directory: Path, where: str) -> None:
    """Make sure that a version is whole: every file of its manifest is there and as it was.

    Args:
        directory: of a version.
        where: names the version in errors.

    Raises:
        UserError: names `where` and the first file that is not.
    """
    try:
        manifest = read_json(directory / MANIFEST)
    except (OSError, ValueError):
        raise UserError(
            f"{where}: incomplete: no {MANIFEST}; delete the version and register the model again"
        ) from None
    for name, digest in manifest.items():
        path = directory / name
        if not path.is_file() or hash_file(path) != digest:
            state = "damaged" if path.is_file() else "missing"
            raise UserError(f"{where}: incomplete: {name} is {state}; delete the version and register the model again")


def describe(contents: Contents) -> dict[str, str]:
    """Versions and hashes: tags of the version, and a file in it. Keys are MLflow tags."""
    found = {
        "fabnet": fabnet.__version__,
        "fabnet.identity": contents.identity,
        "variant": contents.variant,
        "weights.sha256": contents.weights,
        "recipe.hash": str(contents.card["recipe"]["hash"]),
        "dvc.lock": contents.train.id,
        "dvc.outs": json.dumps(dict(contents.train.outs), sort_keys=True),
    }
    found |= {
        f"data/{path.removeprefix('data/')}": md5 for path, md5 in contents.train.deps.items() if path[:5] == "data/"
    }
    if contents.card.get("below_copying_pct") is not None:
        found["below_copying_pct"] = f"{contents.card['below_copying_pct']:.2f}"
    for name, entry in contents.probes.items():
        found[f"dvc.lock.probe.{name}"] = entry.id
    if contents.heads is not None:
        found["heads.sha256"] = hash_file(contents.heads)
        found["heads.set"] = str(read_heads(contents.heads).meta["set"])
    return found


def signature(contents: Contents) -> "ModelSignature":
    """A column of images in; the embedding and what the probes read out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    # Not required: the model says in one line that it is missing, MLflow repeats the request.
    inputs = [ColSpec(DataType.string, "image", required=False)]
    outputs = [ColSpec(Array(DataType.double), "embedding")]
    for head in read_heads(contents.heads).heads if contents.heads is not None else ():
        if head.task.startswith("landmarks"):
            outputs.append(ColSpec(Array(DataType.double), head.task))
        elif head.task == "expression":
            outputs.append(ColSpec(DataType.string, "expression"))
            outputs += [ColSpec(DataType.double, f"expression_{name}") for name in EXPRESSIONS]
        else:
            outputs += [ColSpec(DataType.double, name) for name in OUTPUTS[head.task]]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def requirements() -> list[str]:
    """What is installed here of REQUIREMENTS, pinned; `+cpu` and the like are left out, so that a GPU build will do."""
    try:
        return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]
    except PackageNotFoundError as error:
        raise UserError(
            f"{error.name}: is not installed, but the registered model needs it; run `make repro`"
        ) from None
