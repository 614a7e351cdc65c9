"""The challenger becomes champion through the gate, and a champion that disappoints is taken back.

Every step is one change of an alias, and all versions were found complete before. Killed between two steps, the same
command resumes: `promote` sets `previous` before `champion` and takes `challenger` away last; `rollback` sets
`champion` before it takes `previous` away.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fabnet.errors import UserError
from fabnet.tracking.gate.compare import Evaluation, Verdict, judge, summary
from fabnet.tracking.gate.rules import Gates
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
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_GATE = "gate"
_TAG_LENGTH = 4000


@dataclass(frozen=True)
class Promotion:
    """What `promote` did. Without a verdict, the challenger was the champion already."""

    champion: str
    verdict: Verdict | None

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code if self.verdict else 0


def promote(gates: Gates, uncompared: bool = False) -> Promotion:
    """Make the challenger champion if the gate lets it.

    Args:
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
