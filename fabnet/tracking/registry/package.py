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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import fabnet
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json, write_json
from fabnet.probing.intervals import score
from fabnet.probing.predictions import open_writer, read_predictions
from fabnet.probing.saved import OUTPUTS, read_heads
from fabnet.tables import EXPRESSIONS
from fabnet.tracking.registry.card import model_card
from fabnet.tracking.registry.contents import Contents

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

MANIFEST = "manifest.json"
PROFILE = "frames.profile.json"

#: What fabnet.inference.served imports, directly or not.
REQUIREMENTS = (
    *("av", "mlflow", "numpy", "opencv-python-headless", "pandas", "pandera", "pyarrow", "pydantic", "pyyaml", "scipy"),
    *("psutil", "simplejpeg", "torch", "tqdm"),
)

# MLflow runs this file to make the model: the class itself is in the package, and importing it does nothing.
_MODEL_CODE = """\
from fabnet.inference.served import Served
from mlflow.models import set_model

set_model(Served())
"""

_RESAMPLES, _SEED = 1000, 0


def write_package(contents: Contents, out: Path, licence: str) -> None:
    """Write the directory `out`, which must not exist. The manifest is written last."""
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
        part = read_predictions(path, contents.variant, "torch")
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
    for name, entry in contents.probes.items():
        found[f"dvc.lock.probe.{name}"] = entry.id
    if contents.heads is not None:
        found["heads.sha256"] = hash_file(contents.heads)
        found["heads.set"] = str(read_heads(contents.heads).meta["set"])
    return found


def signature(contents: Contents) -> "ModelSignature":
    """One of two columns in; the embedding and what the probes read out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array

    inputs = [
        ColSpec(DataType.string, "image", required=False),
        # Checked by the model: MLflow would go through the pixels one by one.
        ColSpec(AnyType(), "pixels", required=False),
    ]
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
