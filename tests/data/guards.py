"""Who catches a planted fault: every guard of a project, and the rule that it names."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fabnet import contract, tables
from fabnet.config import SplitParams
from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.probing.embeddings import read_embeddings
from fabnet.probing.predictions import read_predictions
from fabnet.quality.check import check
from fabnet.quality.health import Verdict, judge_frames, legal_frames
from fabnet.quality.set_audit import audit_set, judge_set
from tests.data import good_data
from tests.data.good_data import LIMITS, PERCENT, Place
from tests.data.planting import Fault

#: Rules that joins of tables are checked by, as their messages tell them.
JOINS = {
    "has no split": "every identity of the index has a split",
    "is not in .*index": "every identity of the splits is in the index",
    "its shard .* does not exist": "the shard of every row exists, and is not empty",
    "no JPEG at bytes": "a JPEG lies at every offset",
    "is out of order": "tracks are in order",
    "holds no rows": "there are rows",
    "column .*: sums to": "the ledger's counts are those of index and rejects",
    "column shard: .*is not there": "shards.parquet tells of every shard of the index",
    "column frames: .*shards: ": "shards hold the frames that the index names",
    "column bytes: .*shards: ": "shards have the size that was written",
    "column sha256: .*shards: ": "shards hold the bytes that were written",
    "its first unit begins": "the first unit begins at the first clip",
    "its hash is": "the recipe's hash is that of its content",
    "no such file|no such table": "the file exists",
    "cannot be read as a table": "the file is a whole table",
    "was written under version": "the file is of no later version",
    "also appears in the videos": "labelled people are not in the videos",
    "has shape": "there is one id for each embedding",
    "not finite": "embeddings are finite",
    "must hold value, low, high, n": "a score has value, low, high and n",
    "is a table of": "the file holds the table that its name says",
}


def caught(place: Place) -> Iterator[tuple[str, str]]:
    """(stage, rule) of everything that the guards say of a project, in the order in which they are asked."""
    frames, splits = place.root / "frames", place.path("splits")
    guards: list[tuple[str, Callable[[], object]]] = [
        ("validate", lambda: legal_frames(frames, splits)),
        ("validate_set", lambda: audit_set("faces", tables.read(place.path("labels"), tables.Labels), splits)),
        ("probe", lambda: read_embeddings(place.root / "embeddings")),
        ("report", lambda: read_predictions(place.path("predictions"))),
        ("report", lambda: tables.read(place.path("history"), tables.History)),
        ("report", lambda: _metrics(place.root / "metrics.json")),
    ]
    legal = True
    for stage, guard in guards:
        try:
            guard()
        except contract.IllegalTable as error:
            legal = False
            for finding in error.findings:
                yield stage, f"{finding.column or 'rows'}: {finding.rule}"
        except UserError as error:
            legal = False
            yield stage, _join(str(error))
    if legal:
        # The quicker one first: whoever asks for the first catch alone does not wait for the other.
        yield from _failed("validate_set", judge_set("faces", tables.read(place.path("labels"), tables.Labels), LIMITS))
        yield from _failed("validate", judge_frames(frames, splits, SplitParams(seed=0, **PERCENT), LIMITS))

        for line in check(place.root / "embeddings").lines:
            if line.startswith("ILLEGAL"):
                yield "fabnet check", _join(line)


def _failed(stage: str, verdict: Verdict) -> Iterator[tuple[str, str]]:
    assert verdict.broken is None
    return ((f"{stage}, {one.level}", one.name) for one in verdict.judgements if not one.passed)


def _metrics(path: Path) -> None:
    tables.check(tables.metrics_frame(read_json(path), path), tables.Metrics, str(path))


def _join(message: str) -> str:
    return next((rule for pattern, rule in JOINS.items() if re.search(pattern, message)), f"? {message}")


def catch(base: Place, one: Fault, folder: Path) -> tuple[str, str] | None:
    """The first (stage, rule) that catches a fault, or None."""
    place = good_data.copy(base, folder)
    one.plant(place)
    return next(caught(place), None)
