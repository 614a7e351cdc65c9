"""What a version of the registered model is made of, gathered from the outputs of the pipeline and checked."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabnet import __version__
from fabnet.errors import UserError
from fabnet.files import hash_file, hash_json, read_json
from fabnet.probing.predictions import encoders_and_probes
from fabnet.probing.saved import read_heads
from fabnet.tracking.lineage import output_hash
from fabnet.tracking.lock import Entry, read_lock, training_entry

_WEIGHTS = "best.pt"
_PROFILE = "reports/data/frames.profile.json"


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
        if (variant, "torch") not in encoders_and_probes(out / "predictions.parquet"):
            continue
        measured[entry.key] = entry
        if (path := out / "heads" / f"{variant}.npz").is_file():
            theirs = read_heads(path).meta["weights_sha256"]
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
