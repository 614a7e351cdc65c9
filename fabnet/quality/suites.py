"""Great Expectations judges small tables: one suite per table, one expectation per limit that params set."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fabnet.config import HealthParams, Range
from fabnet.config.health import MEASURES
from fabnet.contract import CASES

#: Columns that name a row.
KEYS = {
    "splits": ("split",),
    "identities": ("identity",),
    "tracks": ("track_id",),
    "rejects": ("reason",),
    "sampled": ("track_id", "frame_no"),
    "duplicates": ("splits",),
    "shared": ("splits",),
    "closest": ("by", "splits"),
    "sets": ("split",),
    "labels": ("split", "label"),
    "drift": ("measure",),
}

#: What each measure is, with its unit, by TABLE.MEASURE.
MEANING = {f"{table}.{name}": what for table, measures in MEASURES.items() for name, what in measures.items()}


@dataclass(frozen=True)
class Judgement:
    """What became of one limit.

    Attributes:
        table, measure: see MEANING.
        level: "critical" or "warning".
        low, high, share: the limit.
        rows: of the table, without those that the measure says nothing of.
        outside: rows outside the limit.
        cases: the first rows outside, (name, value).
        passed: whether at least `share` of the rows are inside.
    """

    table: str
    measure: str
    level: str
    low: float | None
    high: float | None
    share: float
    rows: int
    outside: int
    cases: tuple[tuple[str, float], ...]
    passed: bool

    @property
    def name(self) -> str:
        return f"{self.table}.{self.measure}"

    @property
    def wanted(self) -> str:
        """The limit in words."""
        if self.low is None:
            bounds = f"at most {self.high:g}"
        elif self.high is None:
            bounds = f"at least {self.low:g}"
        else:
            bounds = f"{self.low:g} to {self.high:g}"
        return bounds if self.share == 1 else f"{bounds} for {100 * self.share:g} %"


def judge_tables(tables: Mapping[str, pd.DataFrame], params: HealthParams) -> list[Judgement]:
    """The judgements on tables named as in KEYS, in their order and that of the params, critical ones first.

    A table with no rows breaks nothing. Nothing is written, neither to disk nor to the network.

    Args:
        tables: with the columns of KEYS and of the measures.
        params: the section `health`, which sets the limits.
    """
    # Before the import: the library would announce itself to its makers.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("fabnet")
    judgements = []
    for name, table in tables.items():
        expectations = _expectations(name, params)
        if not expectations:
            continue
        columns = [*KEYS[name], *dict.fromkeys(expectation.column for expectation in expectations)]
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        result = batch.get_batch(batch_parameters={"dataframe": table[columns]}).validate(
            gx.ExpectationSuite(name, expectations=expectations),
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": list(KEYS[name]),
                "partial_unexpected_count": CASES,
                "return_unexpected_index_query": False,
            },
        )
        judgements += [_judgement(name, one.to_json_dict(), params) for one in result.results]
    order = {level: number for number, level in enumerate(("critical", "warning"))}
    tables_order = list(tables)
    return sorted(judgements, key=lambda one: (order[one.level], tables_order.index(one.table), one.measure))


def _expectations(table: str, params: HealthParams) -> list[Any]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=measure,
            min_value=limit.low,
            max_value=limit.high,
            mostly=limit.share,
            severity=FailureSeverity(level),
        )
        for measure, limits in params.limits(table).items()
        for level, limit in (("critical", limits.critical), ("warning", limits.warning))
        if limit is not None
    ]


def _judgement(table: str, result: dict[str, Any], params: HealthParams) -> Judgement:
    config = result["expectation_config"]
    measure, level = config["kwargs"]["column"], config["severity"]
    raised = result.get("exception_info", {})
    if raised.get("raised_exception"):
        raise RuntimeError(f"Great Expectations on {table}.{measure}: {raised.get('exception_message')}")
    found = result["result"]
    limit: Range = getattr(params.limits(table)[measure], level)
    cases = tuple(
        (" ".join(str(case[key]) for key in KEYS[table]), float(case[measure]))
        for case in found.get("partial_unexpected_index_list") or []
    )
    rows, outside = int(found["element_count"] - found["missing_count"]), int(found["unexpected_count"])
    return Judgement(
        table, measure, level, limit.low, limit.high, limit.share, rows, outside, cases[:CASES], result["success"]
    )
