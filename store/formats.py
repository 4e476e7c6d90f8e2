"""Rows of a query as bytes: JSON, CSV, Parquet, Arrow.

Invariant: a value is written as it is, or as text that says it exactly: a whole number beyond 2^53
is text in JSON, bytes are hexadecimal digits. Lost are a number that is not finite to JSON (null),
and a time outside the years 1 to 9999 to JSON and CSV (`out of range`); Parquet and Arrow keep all.
Text is never changed, not even where a spreadsheet would read it as a formula: tokens such as `=`
and `-` are data. Import such a file with its columns as text.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import QueryError
from store.sandbox import QueryResult, to_values

Format = Literal["json", "csv", "parquet", "arrow"]

FORMATS: Mapping[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
"""Media types, by format."""

_MAX_SAFE_INTEGER = 2**53
_QUOTED_IN_CSV = frozenset('",\r\n')


def to_bytes(result: QueryResult, format: Format) -> bytes:
    """The whole result in one of FORMATS; text is UTF-8.

    Raises:
        QueryError: if the format has no form for a column's type.
    """
    writers: Mapping[Format, Callable[[QueryResult], bytes]] = {
        "json": _to_json,
        "csv": _to_csv,
        "parquet": _to_parquet,
        "arrow": _to_arrow,
    }
    return writers[format](result)


def to_json_rows(result: QueryResult) -> list[list[object]]:
    """The rows as values that JSON has: for the API, and for charts and tables of a page."""
    columns = [_json_column(column) for column in result.table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _to_json(result: QueryResult) -> bytes:
    content = {
        "columns": [{"name": column.name, "type": column.type} for column in result.columns],
        "rows": to_json_rows(result),
        "truncated": result.truncated,
        "elapsed_ms": round(result.elapsed_ms, 3),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def _to_csv(result: QueryResult) -> bytes:
    lines = [",".join(_quoted(column.name) for column in result.columns)]
    columns = [_csv_column(column) for column in result.table.columns]
    lines += [",".join(row) for row in zip(*columns, strict=True)]
    return ("\n".join(lines) + "\n").encode()


def _to_parquet(result: QueryResult) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(result.table, sink, compression="zstd")
    except pa.ArrowException as error:
        raise QueryError(
            "runtime",
            "A column of the result has a type that Parquet has no form for.",
            "Cast it to VARCHAR, or take another format.",
        ) from error
    return sink.getvalue()


def _to_arrow(result: QueryResult) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, result.table.schema) as writer:
        writer.write_table(result.table)
    return sink.getvalue()


def _json_column(column: pa.ChunkedArray) -> list[object]:
    return [_json_value(value) for value in _short_values(column)]


def _csv_column(column: pa.ChunkedArray) -> list[str]:
    return [_csv_value(value) for value in _short_values(column)]


def _short_values(column: pa.ChunkedArray) -> list[object]:
    if pa.types.is_float32(column.type):
        # Its shortest text, 0.1, not the 0.10000000149011612 that it is as a double.
        texts = column.cast(pa.string()).to_pylist()
        return [None if text is None else float(text) for text in texts]
    return to_values(column)


def _json_value(value: object) -> object:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _MAX_SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _json_decimal(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return _text(value)


def _json_decimal(value: Decimal) -> object:
    if value == value.to_integral_value() and abs(value) <= _MAX_SAFE_INTEGER:
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def _csv_value(value: object) -> str:
    """A missing value is an empty field, an empty text a quoted one."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple, dict)):
        return _quoted(json.dumps(_json_value(value), ensure_ascii=False))
    return _text(value)


def _quoted(text: str) -> str:
    if text and text == text.strip() and not _QUOTED_IN_CSV.intersection(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _text(value: object) -> str:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
