"""A table of faces as columns of single values: what formats without lists are made of."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fabnet.probing.readings import OUTPUTS


def matrix(rows: pa.Table, name: str) -> NDArray[np.float32]:
    """A column of lists of K numbers, as an array (N, K).

    Args:
        rows: N faces, as `fabnet.model.Model.table` gives them.
        name: of the column: embedding, landmarks68 or landmarks5.
    """
    lists = rows[name].combine_chunks()
    return np.asarray(lists.flatten(), np.float32).reshape(len(rows), lists.type.list_size)


def flat_names(column: pa.Field) -> list[str]:
    """Names of the single values of a column: its own, or `embedding_0` ..., `landmarks68_x0`, `landmarks68_y0` ..."""
    if not pa.types.is_fixed_size_list(column.type):
        return [column.name]
    values = OUTPUTS.get(column.name, tuple(map(str, range(column.type.list_size))))
    return [f"{column.name}_{value}" for value in values]


def flat_schema(columns: pa.Schema) -> pa.Schema:
    """The columns that `flat` makes of these."""
    return pa.schema(
        [
            (name, column.type.value_type if pa.types.is_fixed_size_list(column.type) else column.type)
            for column in columns
            for name in flat_names(column)
        ]
    )


def flat(rows: pa.Table) -> pa.Table:
    """The same rows with a column for each value of a list."""
    arrays = []
    for column in rows.schema:
        if pa.types.is_fixed_size_list(column.type):
            arrays += [pa.array(values) for values in matrix(rows, column.name).T]
        else:
            arrays.append(rows[column.name])
    return pa.Table.from_arrays(arrays, schema=flat_schema(rows.schema))
