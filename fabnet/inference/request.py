"""A request is a table: its rows and columns are checked before MLflow makes a data frame of it.

MLflow and pandas go through columns one by one, so a million of them would keep a worker busy for minutes; and a small
Parquet file can unpack to one of any size.
"""

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

#: Images of a request.
MAX_IMAGES = 1024

#: Pixels of a request that sends them as numbers.
MAX_NUMBER_PIXELS = 2**20

#: Bytes of a Parquet request, once unpacked.
MAX_UNPACKED = 32 * 2**20

#: The forms of JSON that MLflow takes.
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")

_MAX_COLUMNS = 64
# Every pixel is a list of three numbers; lists of rows and of images come on top.
_MAX_LISTS, _MAX_COMMAS = MAX_NUMBER_PIXELS * 9 // 8, MAX_NUMBER_PIXELS * 4
_MAX_KEYS = (MAX_IMAGES + 1) * _MAX_COLUMNS
# Codecs that make at most twenty bytes of one.
_CODECS = ("UNCOMPRESSED", "SNAPPY")


class BadTable(Exception):
    """What is wrong, in one line."""


def check_json(body: bytes) -> None:
    """Raises BadTable unless it is a table in one of FORMS, within the limits."""
    if body.count(b"[") + body.count(b"{") > _MAX_LISTS or body.count(b",") > _MAX_COMMAS:
        raise BadTable(f"more than {MAX_NUMBER_PIXELS:,} pixels as numbers; send JPEG or PNG")
    if body.count(b":") > _MAX_KEYS:  # base64 has none
        raise BadTable(f"more than {_MAX_KEYS:,} keys; a request has one for each of {MAX_IMAGES:,} images at most")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadTable(f"not JSON: {' '.join(str(error).split())[:200]}") from None
    forms = [form for form in FORMS if form in request] if isinstance(request, dict) else []
    if len(forms) != 1 or request.keys() - {*forms, "params"}:
        raise BadTable(f"a request is a JSON object with one of the keys {', '.join(FORMS)}")
    (form,) = forms
    table = request[form]
    if form == "dataframe_split":
        _check_split(table)
    elif form == "inputs" and isinstance(table, dict):
        _check_columns(table)
        for column in table.values():
            _check_rows(column if isinstance(column, list) else [column])
    else:
        _check_records(form, table)
    params = request.get("params")
    if params is not None and not (isinstance(params, dict) and len(params) <= _MAX_COLUMNS):
        raise BadTable("params must be an object")


def _check_split(table: Any) -> None:
    if not isinstance(table, dict) or not {"columns", "data"} <= table.keys() <= {"columns", "data", "index"}:
        raise BadTable("dataframe_split must be an object with the keys columns and data")
    columns, data = table["columns"], table["data"]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise BadTable("columns must be a list of names")
    if len(set(columns)) < len(columns):
        raise BadTable("columns must have different names")
    _check_columns(columns)
    if not isinstance(data, list) or not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        raise BadTable("data must be a list of rows, each a list with a value for every column")
    _check_rows(data)
    index = table.get("index")
    if index is not None and not (isinstance(index, list) and len(index) == len(data)):
        raise BadTable("index must be a list with a value for every row")


def _check_records(form: str, table: Any) -> None:
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise BadTable(f'{form} must be a list of objects, as in [{{"image": ...}}]')
    _check_rows(table)
    if any(row.keys() != table[0].keys() for row in table):
        raise BadTable(f"{form}: all rows must have the same columns")
    _check_columns(table[0])


def _check_rows(rows: Sequence[Any]) -> None:
    if not rows:
        raise BadTable("the request holds no image")
    if len(rows) > MAX_IMAGES:
        raise BadTable(f"{len(rows):,} images in one request; at most {MAX_IMAGES:,} are taken")


def _check_columns(columns: Any) -> None:
    if not 0 < len(columns) <= _MAX_COLUMNS:
        raise BadTable(f"{len(columns):,} columns; a request has one, image or pixels")


def check_parquet(body: bytes) -> None:
    """Raises BadTable unless it is a flat table within the limits.

    It is read row by row, because what it says of its own size may be false.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyarrow.types as types

    try:
        file = pq.ParquetFile(BytesIO(body))
        kinds = file.schema_arrow.types
        if any(types.is_nested(kind) or types.is_dictionary(kind) for kind in kinds):
            raise BadTable("a Parquet request has a column image (JPEG or PNG in base64), and no nested columns")
        _check_columns(kinds)
        _check_rows(range(file.metadata.num_rows))
        for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
            codecs = {group.column(number).compression for number in range(group.num_columns)}
            if not codecs.issubset(_CODECS):
                raise BadTable(f"Parquet compressed by {', '.join(sorted(codecs))}; send it by snappy, or as it is")
        rows = size = 0
        for batch in file.iter_batches(batch_size=1):
            batch.validate(full=True)  # that text is UTF-8, above all
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows > MAX_IMAGES or size > MAX_UNPACKED:
                raise BadTable(f"more than {MAX_UNPACKED:,} bytes or {MAX_IMAGES:,} rows, once unpacked")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadTable(f"not Parquet: {' '.join(str(error).split())[:200]}") from None


#: By media type. CSV, which MLflow takes from others, it cannot read into a model that takes pixels, too.
CHECKS: dict[str, Callable[[bytes], None]] = {
    "application/json": check_json,
    "application/vnd.apache.parquet": check_parquet,
}
