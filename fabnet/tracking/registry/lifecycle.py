"""A trained variant becomes the challenger, the challenger champion through the gate, and a champion can be taken back.

To register, the files are uploaded to the artifacts of the run that trained the weights, below the identity of what
they hold. Only when they have been read back complete is the version made, with all its tags in one transaction, and
only then does an alias point to it. Every later step is one change of an alias.

Killed at any moment, the same command resumes with what is missing: `promote` sets `previous` before `champion` and
takes `challenger` away last; `rollback` sets `champion` before it takes `previous` away.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fabnet.errors import UserError
from fabnet.tracking.gate.compare import Evaluation, Verdict, judge, summary
from fabnet.tracking.gate.rules import Gates
from fabnet.tracking.registry.package import Contents, check_package, describe, gather, write_package
from fabnet.tracking.registry.versions import (
    CHALLENGER,
    CHAMPION,
    NAME,
    PREVIOUS,
    at_alias,
    check_complete,
    downloaded,
    evaluation,
    label,
    open_registry,
    with_tag,
)
from fabnet.tracking.store import project_root
from fabnet.tracking.sync import run_of, sync

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


logger = logging.getLogger(__name__)

FOLDER = "registered"


@dataclass(frozen=True)
class Registration:
    """What `register` did. `alias` is the one that points to the version."""

    version: str
    new: bool
    alias: str

    def line(self) -> str:
        what = "registered" if self.new else "was registered already"
        return f"models:/{NAME}/{self.version}: {what}, {self.alias}"


def register(variant: str, probes: str | None = None, root: Path | None = None) -> Registration:
    """Register models/VARIANT with its probes as challenger. Idempotent: the same weights and probes are one version.

    Args:
        variant: a trained one.
        variant: of dvc.lock, trained.
        probes: labelled set whose probes are served with it; None takes the only one there is.
        root: of the project; left out, the one that the working directory lies in.
        root: of the project; None looks for it.

    Raises:
        UserError: outputs are absent or do not belong together, or the store failed.
    """
    root = root or project_root()
    logger.info("%s: comparing its files with dvc.lock (step 1 of 5)", variant)
    contents = gather(root, variant, probes)
    logger.info("%s: looking for its run in the tracking store (step 2 of 5)", variant)
    done = sync(root)
    with open_registry(write=True) as (client, experiment):
        run = run_of(client, experiment, contents.train)
        if run is None:
            raise UserError(f"{contents.train.name}: has no run: {done.skipped.get(contents.train.name, 'sync again')}")
        _make_registered_model(client)
        existing = with_tag(client, "fabnet.identity", contents.identity)
        version = existing[0] if existing else None
        if version is None:
            source = _upload(client, run, contents, root)
            tags = {**describe(contents), "git.commit": run.data.tags.get("git.commit", "none")}
            description = f"{contents.variant}, weights {contents.weights[:12]}; the card is README.md"
            version = client.create_model_version(NAME, source, run.info.run_id, tags, description=description)
        else:
            check_complete(client, version)
        champion = at_alias(client, CHAMPION)
        if champion is not None and champion.version == version.version:
            return Registration(str(version.version), False, CHAMPION)
        client.set_registered_model_alias(NAME, CHALLENGER, version.version)
        return Registration(str(version.version), not existing, CHALLENGER)


def _make_registered_model(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _upload(client: "MlflowClient", run: "Run", contents: Contents, root: Path) -> str:
    """Put the files among the run's artifacts and read them back; their URI."""
    from mlflow.artifacts import download_artifacts

    folder = f"{FOLDER}/{contents.identity}"
    source = f"{run.info.artifact_uri}/{folder}"
    with TemporaryDirectory() as temporary:
        package = Path(temporary) / "package"
        logger.info("%s: writing its package, which takes a minute (step 3 of 5)", contents.variant)
        write_package(contents, package, _licence(root))
        size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
        logger.info("%s: uploading %.1f MB (step 4 of 5)", contents.variant, size / 1e6)
        client.log_artifacts(run.info.run_id, str(package), folder)
        logger.info("%s: reading it back (step 5 of 5)", contents.variant)
        into = None if source.startswith("file:") else temporary
        stored = download_artifacts(artifact_uri=source, dst_path=into, tracking_uri=client.tracking_uri)
        check_package(Path(stored), f"{source} (just uploaded)")
    return source


def _licence(root: Path) -> str:
    path = root / "LICENSE"
    return path.read_text().strip().splitlines()[0] if path.is_file() else "not stated"


_GATE = "gate"
_TAG_LENGTH = 4000


@dataclass(frozen=True)
class Promotion:
    """What `promote` did. Without a verdict, the challenger was the champion already."""

    champion: str
    verdict: Verdict | None

    @property
    def exit_code(self) -> int:
        """Of the command: the verdict's, or 0 without one."""
        return self.verdict.exit_code if self.verdict else 0


def promote(gates: Gates, uncompared: bool = False) -> Promotion:
    """Make the challenger champion if the gate lets it.

    Args:
        gates: the rules.
        uncompared: hold it to the floors alone. For a new evaluation set, on which no champion was scored.

    Raises:
        CannotCompare: the champion was scored on another evaluation set; says which.
        UserError: there is no challenger, or a version is incomplete.
    """
    with open_registry(write=True) as (client, _):
        challenger, champion = at_alias(client, CHALLENGER), at_alias(client, CHAMPION)
        if challenger is None:
            hint = f"; {label(champion)} is champion" if champion else ""
            raise UserError(f"there is no challenger: `fabnet register` makes one{hint}")
        if champion is not None and champion.version == challenger.version:  # killed before the last step
            client.delete_registered_model_alias(NAME, CHALLENGER)
            return Promotion(label(champion), None)
        verdict = _judge(client, champion, challenger, gates, uncompared)
        client.set_model_version_tag(NAME, challenger.version, _GATE, summary(verdict)[:_TAG_LENGTH])
        if not verdict.passed:
            return Promotion(label(champion) if champion else "none", verdict)
        if champion is not None:
            client.set_registered_model_alias(NAME, PREVIOUS, champion.version)
        client.set_registered_model_alias(NAME, CHAMPION, challenger.version)
        client.delete_registered_model_alias(NAME, CHALLENGER)
        return Promotion(label(challenger), verdict)


def rollback() -> str:
    """Make the previous champion champion again; its name. The one that goes keeps its version and loses its alias.

    Raises:
        UserError: there is no previous champion, or it is incomplete.
    """
    with open_registry(write=True) as (client, _):
        previous = at_alias(client, PREVIOUS)
        if previous is None:
            raise UserError("there is no previous champion to go back to")
        check_complete(client, previous)
        client.set_registered_model_alias(NAME, CHAMPION, previous.version)
        client.delete_registered_model_alias(NAME, PREVIOUS)
        return label(previous)


def _judge(
    client: "MlflowClient",
    champion: "ModelVersion | None",
    challenger: "ModelVersion",
    gates: Gates,
    uncompared: bool,
) -> Verdict:
    ours = _evaluation(client, challenger)
    if champion is None:
        return judge(None, ours, gates)
    if uncompared:
        rule = f"not compared with {label(champion)}, as asked: floors only"
        return replace(judge(None, ours, gates), rule=rule)
    return judge(_evaluation(client, champion), ours, gates)


def _evaluation(client: "MlflowClient", version: "ModelVersion") -> Evaluation:
    with downloaded(client, version) as directory:
        return evaluation(directory, version)
