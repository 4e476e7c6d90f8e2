"""Rows of a query as bytes: JSON, CSV, Parquet, Arrow.

Invariant: a value is written as it is, or as text that says it exactly: a whole number beyond 2^53
is text in JSON, bytes are hexadecimal digits. Lost are a number that is not finite to JSON (null),
and a time outside the years 1 to 9999 to JSON and CSV (`out of range`); Parquet and Arrow keep all.
Text is never changed, not even where a spreadsheet would read it as a formula: tokens such as `=`
and `-` are data. Import such a file with its columns as text.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

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

_TEXT_ROWS = 1_000
_GROUP_ROWS = 20_000
_MAX_SAFE_INTEGER = 2**53
_QUOTED_IN_CSV = frozenset('",\r\n')


def to_bytes(result: QueryResult, format: Format) -> bytes:
    """The whole result in one of FORMATS; text is UTF-8.

    Raises:
        QueryError: if the format has no form for a column's type.
    """
    return b"".join(iter_bytes(result, format))


def iter_bytes(result: QueryResult, format: Format) -> Iterator[bytes]:
    """The same in pieces, each made when it is taken: beside the result, one piece is in memory.

    The first is made at once, so that a type without a form in the format is an error here.

    Raises:
        QueryError: if the format has no form for a column's type.
    """
    writers: Mapping[Format, Callable[[QueryResult], Iterator[bytes]]] = {
        "json": _iter_json,
        "csv": _iter_csv,
        "parquet": _iter_parquet,
        "arrow": _iter_arrow,
    }
    pieces = writers[format](result)
    return itertools.chain([next(pieces)], pieces)


def to_json_rows(result: QueryResult) -> list[list[object]]:
    """The rows as values that JSON has: for the API, and for charts and tables of a page."""
    columns = [_json_column(column) for column in result.table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _chunks(result: QueryResult, n_rows: int) -> Iterator[QueryResult]:
    for first in range(0, result.n_rows, n_rows):
        yield result.slice(first, n_rows)


def _iter_json(result: QueryResult) -> Iterator[bytes]:
    columns = [{"name": column.name, "type": column.type} for column in result.columns]
    yield f'{{"columns": {_json_text(columns)}, "rows": ['.encode()
    separator = ""
    for chunk in _chunks(result, _TEXT_ROWS):
        rows = ", ".join(map(_json_text, to_json_rows(chunk)))
        yield (separator + rows).encode()
        separator = ", "
    elapsed_ms = round(result.elapsed_ms, 3)
    truncated = _json_text(result.truncated)
    yield f'], "truncated": {truncated}, "elapsed_ms": {elapsed_ms}}}'.encode()


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _iter_csv(result: QueryResult) -> Iterator[bytes]:
    yield (",".join(_quoted(column.name) for column in result.columns) + "\n").encode()
    for chunk in _chunks(result, _TEXT_ROWS):
        columns = [_csv_column(column) for column in chunk.table.columns]
        lines = [",".join(row) for row in zip(*columns, strict=True)]
        yield ("\n".join(lines) + "\n").encode()


class _Sink(io.RawIOBase):
    """A file that is only written: what was written since the last `take` is taken out of it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: Any) -> int:
        """Keeps the bytes until they are taken."""
        part = bytes(content)
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _iter_parquet(result: QueryResult) -> Iterator[bytes]:
    sink = _Sink()
    try:
        writer = pq.ParquetWriter(sink, result.table.schema, compression="zstd")
        for chunk in _chunks(result, _GROUP_ROWS):
            writer.write_table(chunk.table)
            yield sink.take()
        writer.close()
    except pa.ArrowException as error:
        raise QueryError(
            "runtime",
            "A column of the result has a type that Parquet has no form for.",
            "Cast it to VARCHAR, or take another format.",
        ) from error
    yield sink.take()


def _iter_arrow(result: QueryResult) -> Iterator[bytes]:
    sink = _Sink()
    with pa.ipc.new_stream(sink, result.table.schema) as writer:
        for chunk in _chunks(result, _GROUP_ROWS):
            writer.write_table(chunk.table)
            yield sink.take()
    yield sink.take()


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
