#!/usr/bin/env bash
# Great Expectations judges the quantiles of a column, ExpectColumnQuantileValuesToBeBetween, but its verdict is a NumPy
# bool, which JSON does not take: to print the result, or to write it into a report, raises TypeError, although the
# check passed. Of the mean, the median or the standard deviation it is a bool of Python. Who checks
# the drift of a batch by its quantiles loses the report just when it is wanted. Seen with Great Expectations 1.24.1:
#
#   ExpectColumnMeanToBeBetween            builtins.bool, printed
#   ExpectColumnMedianToBeBetween          builtins.bool, printed
#   ExpectColumnQuantileValuesToBeBetween  numpy.bool, TypeError: Object of type bool is not JSON serializable
#
# Fails (exit 1) when it is otherwise. Needs python3 (3.11), and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  great-expectations==1.24.1 pandas==3.1.1 numpy==2.4.6
export GX_ANALYTICS_ENABLED=false
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' 2> "$folder/log" || { tail -n 3 "$folder/log" >&2; exit 1; }
import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

context = gx.get_context(mode="ephemeral")
asset = context.data_sources.add_pandas("frames").add_dataframe_asset("index")
batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": pd.DataFrame({"yaw": np.arange(100.0)})})
ranges = {"quantiles": [0.1, 0.5], "value_ranges": [[0, 20], [40, 60]]}
seen = {}
for expectation in (
    gxe.ExpectColumnMeanToBeBetween(column="yaw", min_value=40, max_value=60),
    gxe.ExpectColumnMedianToBeBetween(column="yaw", min_value=40, max_value=60),
    gxe.ExpectColumnQuantileValuesToBeBetween(column="yaw", quantile_ranges=ranges),
):
    result = batch.validate(expectation)
    kind = type(result.success)
    try:
        outcome = str(result) and "printed"
    except TypeError as error:
        outcome = f"TypeError: {error}"
    seen[type(expectation).__name__] = bool(result.success), kind, outcome
    print(f"{type(expectation).__name__:38} {kind.__module__}.{kind.__name__}, {outcome}")
assert all(success for success, _, _ in seen.values()), "a check that should pass fails"
*others, (_, kind, outcome) = seen.values()
assert [(kind, outcome) for _, kind, outcome in others] == [(bool, "printed")] * 2, "the mean or median changed"
assert kind is np.bool, "the verdict about quantiles is of another type now"
assert outcome == "TypeError: Object of type bool is not JSON serializable", "the result can be printed now"
PYTHON
