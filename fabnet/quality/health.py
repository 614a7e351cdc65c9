"""Is a batch of frames healthy enough to learn from? Judge, write the report, then fail if it is not."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fabnet import tables
from fabnet.config import HealthParams, SplitParams
from fabnet.errors import UserError, one_line
from fabnet.files import atomic_file, hash_json, read_json, write_json
from fabnet.frames.shards import RECIPE
from fabnet.quality.duplicates import LikePair, duplicates
from fabnet.quality.frame_audit import audit_frames
from fabnet.quality.page import PicturePair, page
from fabnet.quality.profile import drift, profile, read_profile, summarise
from fabnet.quality.sample import Sample, choose, look
from fabnet.quality.suites import Judgement, judge_tables
from fabnet.video.unit import REJECTS

_SHOWN = 3


@dataclass(frozen=True)
class Verdict:
    """What was found out about a batch.

    Attributes:
        subject: what was judged.
        broken: why its tables are illegal; None if they are legal. Nothing else was then looked at.
        counts: what the tables hold.
        judgements: on every limit.
        tables: small ones for the page, by title.
        profile: quantiles of every measure, where there are frames.
        pictures: frames that look alike across splits.
    """

    subject: str
    broken: str | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    profile: dict[str, Any] | None = None
    pictures: list[PicturePair] = field(default_factory=list)

    def failed(self, level: str) -> list[Judgement]:
        return [one for one in self.judgements if one.level == level and not one.passed]

    @property
    def healthy(self) -> bool:
        return self.broken is None and not self.failed("critical")

    def write(self, out: Path, name: str) -> None:
        """Write out/NAME.json, out/NAME.html and, where there is one, out/NAME.profile.json.

        Args:
            out: directory.
            name: of the files, without suffix.
        """
        write_json(out / f"{name}.json", self.as_json())
        with atomic_file(out / f"{name}.html") as temporary:
            text = page(self.subject, self.broken, self.judgements, self.tables, self.profile, self.pictures)
            temporary.write_text(text)
        if self.profile is not None:
            write_json(out / f"{name}.profile.json", self.profile)

    def as_json(self) -> dict[str, Any]:
        """A function of the data and the params alone."""
        limits: dict[str, dict[str, Any]] = {}
        for one in self.judgements:
            limits.setdefault(one.name, {})[one.level] = {
                "low": one.low,
                "high": one.high,
                "share": one.share,
                "rows": one.rows,
                "outside": one.outside,
                "passed": one.passed,
                "cases": [[name, _rounded(value)] for name, value in one.cases],
            }
        return {
            "healthy": self.healthy,
            "failed_critical": len(self.failed("critical")),
            "failed_warning": len(self.failed("warning")),
            "contracts": {"legal": self.broken is None, "broken": self.broken},
            "counts": self.counts,
            "limits": limits,
        }

    def require(self, page_path: Path) -> None:
        """Raises UserError if the batch is not healthy: each broken critical limit with its first cases."""
        if self.broken is not None:
            raise UserError(self.broken)
        lines = []
        for one in self.failed("critical"):
            cases = ", ".join(f"{name}: {value:g}" for name, value in one.cases[:_SHOWN])
            lines.append(f"{one.name}: {one.outside} of {one.rows} not {one.wanted} ({cases})")
        if lines:
            raise UserError(
                f"{self.subject} is not healthy: {'; '.join(lines)}. See {page_path}; mend the data, or change the "
                "limits under `health` in params.yaml"
            )


def judge_frames(frames: Path, splits: Path, wanted: SplitParams, params: HealthParams) -> Verdict:
    """Judge a directory of frames with the splits of its identities.

    Args:
        frames: a directory of track shards.
        splits: the table of the splits of its identities.
        wanted: the section `split`: what share of the identities each split should have.
        params: the section `health`.

    Raises:
        UserError: `health.profile` names no profile. An illegal table is part of the verdict.
    """
    before = read_profile(params.profile) if params.profile is not None else None
    subject = str(frames)
    try:
        counts = legal_frames(frames, splits)
    except tables.IllegalTable as error:
        more = f"`fabnet check {frames}` shows more cases; make the table again with the stage that writes it"
        return Verdict(subject, broken=f"{error}; {more}")
    except UserError as error:
        return Verdict(subject, broken=str(error))
    split_table = tables.read(splits, tables.Splits)
    percent = {name: getattr(wanted, name) for name in tables.SPLITS}
    summary = summarise(frames, dict(zip(split_table["identity"], split_table["split"], strict=True)), percent)
    sample = look(frames, summary, choose(summary, params.sample.frames, params.sample.seed))
    pairs, alike = duplicates(sample, tables.SPLITS, params.sample)
    judged = {
        "splits": summary.splits,
        "identities": summary.identities,
        "tracks": summary.tracks,
        "rejects": reject_rates(tables.read(frames / REJECTS, tables.Rejects), len(summary.tracks)),
        "sampled": sample.table,
        "duplicates": pairs,
    }
    now = profile(summary)
    if before is not None:
        judged["drift"] = drift(now, before)
    # Tables of a row per identity, track or frame grow with the data; the report holds the others.
    small = {name: judged[name] for name in judged if name not in ("identities", "tracks", "sampled")}
    judgements = judge_tables(judged, params)
    counts["sampled"] = len(sample.table)
    counts["measures"] = {name: measures_of(table) for name, table in small.items()}
    return Verdict(subject, None, counts, judgements, small, now, _pictures(frames, sample, alike))


def legal_frames(frames: Path, splits: Path) -> dict[str, Any]:
    """What the tables of a directory of frames hold, if they are legal and agree with each other and the shards.

    Args:
        frames: a directory of track shards.
        splits: the table of the splits of its identities.

    Raises:
        UserError: the first rule that is broken.
    """
    check_recipe(frames / RECIPE)
    try:
        return audit_frames(frames, splits)
    except OSError as error:  # damage in the midst of a table
        raise UserError(f"{frames}: cannot be read: {one_line(error)}; make it again") from None


def check_recipe(path: Path) -> None:
    """Raises UserError if crop.json is absent, or its hash is not that of what it says."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the stage `extract` again")
    try:
        recipe = read_json(path)
        stated, size = recipe["hash"], int(recipe["size"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: is no crop recipe; run the stage `extract` again") from None
    pixels = {key: value for key, value in recipe.items() if key not in ("hash", "fps")}
    if hash_json(pixels) != stated or size <= 0:
        raise UserError(
            f"{path}: its hash is {stated}, but what it says has {hash_json(pixels)}: a stale or edited recipe"
        )


def reject_rates(rejects: pd.DataFrame, kept: int) -> pd.DataFrame:
    """Columns reason, rows, pct, total_pct: a row per reason that occurs and one for `any`, with NaN in the other's.

    Args:
        rejects: tables.Rejects.
        kept: number of tracks that gave crops.
    """
    total = max(kept + len(rejects), 1)
    rows: list[dict[str, Any]] = [
        {"reason": reason, "rows": int(count), "pct": 100 * count / total, "total_pct": float("nan")}
        for reason, count in sorted(rejects["reason"].value_counts().items())
    ]
    rows.append({"reason": "any", "rows": len(rejects), "pct": float("nan"), "total_pct": 100 * len(rejects) / total})
    return pd.DataFrame(rows)


def _pictures(frames: Path, sample: Sample, alike: list[LikePair]) -> list[PicturePair]:
    def read(row: int) -> tuple[str, bytes]:
        at = sample.table.iloc[row]
        with open(frames / at["shard"], "rb") as file:
            file.seek(at["offset"])
            return f"{at['track_id']} {at['frame_no']}", file.read(int(at["size"]))

    return [
        PicturePair(pair.splits, f"{pair.distance:.1f} grey levels", *read(pair.first), *read(pair.second))
        for pair in alike
    ]


def measures_of(table: pd.DataFrame) -> dict[str, Any]:
    """{name of the row: {column: value}} of a small table."""
    names = [column for column in table.columns if not pd.api.types.is_numeric_dtype(table[column])]
    return {
        " ".join(str(row[name]) for name in names): {
            str(column): _rounded(row[column])
            for column in table.columns
            if column not in names and pd.notna(row[column])
        }
        for _, row in table.iterrows()
    }


def _rounded(value: Any) -> int | float:
    """Six digits, so that the order of a sum does not change bytes."""
    number = float(f"{float(value):.6g}")
    return int(number) if number.is_integer() else number
