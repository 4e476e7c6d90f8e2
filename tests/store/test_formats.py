"""Rows of a query as JSON, CSV, Parquet and Arrow: nothing lost, nothing broken by odd values."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.connection import Store
from store.errors import QueryError
from store.formats import FORMATS, Format, iter_bytes, to_bytes, to_json_rows
from store.sandbox import Column, QueryResult, run_query


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store, shared by the tests: a query cannot change it."""
    opened = Store.open(tmp_path_factory.mktemp("formats") / "store.duckdb")
    yield opened
    opened.close()


def _json(store: Store, sql: str) -> Any:
    return json.loads(to_bytes(run_query(store, sql), "json"))


def _csv(store: Store, sql: str) -> list[list[str]]:
    text = to_bytes(run_query(store, sql), "csv").decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_json_names_columns_types_and_whether_there_is_more(store: Store) -> None:
    result = run_query(store, "SELECT i, i / 2 AS half FROM range(10) t(i)", max_rows=2)
    content = json.loads(to_bytes(result, "json"))
    assert content["columns"] == [
        {"name": "i", "type": "BIGINT"},
        {"name": "half", "type": "DOUBLE"},
    ]
    assert content["rows"] == [[0, 0.0], [1, 0.5]] == to_json_rows(result)
    assert content["truncated"] is True
    assert content["elapsed_ms"] > 0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NULL", None),
        ("true", True),
        ("9007199254740992", 2**53),
        ("9007199254740993", "9007199254740993"),
        ("-9007199254740993", "-9007199254740993"),
        ("sum(5)", 5),
        ("170141183460469231731687303715884105727::HUGEINT", str(2**127 - 1)),
        ("0.1::FLOAT", 0.1),
        ("0.1::DOUBLE", 0.1),
        ("unnest([0.1::FLOAT, NULL])", 0.1),
        ("'nan'::FLOAT", None),
        ("'-inf'::DOUBLE", None),
        ("1.50::DECIMAL(5, 2)", 1.5),
        ("12345678901234567.123::DECIMAL(20, 3)", "12345678901234567.123"),
        ("DATE '2024-02-29'", "2024-02-29"),
        ("TIME '10:00:00.5'", "10:00:00.500000"),
        ("TIMESTAMP '2024-02-29 10:00:00'", "2024-02-29T10:00:00"),
        ("TIMESTAMPTZ '2024-02-29 10:00:00+02'", "2024-02-29T08:00:00+00:00"),
        ("TIMESTAMP 'infinity'", "infinity"),
        ("DATE '-infinity'", "-infinity"),
        ("DATE '290000-01-01'", "out of range"),
        ("'ab'::BLOB", "6162"),
        ("'00000000-0000-0000-0000-000000000001'::UUID", "00000000-0000-0000-0000-000000000001"),
        ("INTERVAL '1 month 2 days 3 seconds'", "1 month 2 days 00:00:03"),
        ("'10:00:00+02'::TIMETZ", "10:00:00+02"),
        ("340282366920938463463374607431768211455::UHUGEINT", str(2**128 - 1)),
        ("'0101'::BIT", "0101"),
        ("[1, NULL, 'nan'::DOUBLE]", [1.0, None, None]),
        ("{'a': [1], 'b': NULL}", {"a": [1], "b": None}),
        ("MAP {'k': 1}", [["k", 1]]),
        ("'x'::ENUM('x', 'y')", "x"),
        ("chr(0) || chr(27) || '<b>é😀'", "\x00\x1b<b>é😀"),
    ],
)
def test_a_value_is_in_json_as_it_is_or_as_text_that_says_it(
    store: Store, expression: str, expected: object
) -> None:
    [value], *_ = _json(store, f"SELECT {expression}")["rows"]
    assert value == expected
    assert type(value) is type(expected)


def test_csv_quotes_what_needs_it_and_tells_missing_from_empty(store: Store) -> None:
    result = run_query(store, "SELECT NULL AS a, '' AS b, ' x' AS c, 'é' AS \"d,e\", true AS f")
    assert to_bytes(result, "csv").decode() == 'a,b,c,"d,e",f\n,""," x",é,true\n'


@pytest.mark.parametrize(
    "text", ["plain", "a,b", 'say "hi"', "two\nlines", "cr\r\nlf", "=1+1", "tab\there", "日本語"]
)
def test_any_text_comes_back_from_csv(store: Store, text: str) -> None:
    quoted = text.replace("'", "''")
    assert _csv(store, f"SELECT '{quoted}' AS t, 1 AS n") == [["t", "n"], [text, "1"]]


def test_csv_keeps_numbers_exact(store: Store) -> None:
    rows = _csv(store, "SELECT 9007199254740993, 0.1::FLOAT, 'nan'::DOUBLE, 1.10::DECIMAL(4, 2)")
    assert rows[1] == ["9007199254740993", "0.1", "nan", "1.10"]


def test_parquet_and_arrow_hold_the_same_table(store: Store) -> None:
    result = run_query(store, "SELECT i, 'é' || i AS t, [i] AS l, NULL AS n FROM range(3) x(i)")
    parquet = pq.read_table(io.BytesIO(to_bytes(result, "parquet")))
    with pa.ipc.open_stream(to_bytes(result, "arrow")) as stream:
        arrow = stream.read_all()
    assert parquet.to_pylist() == arrow.to_pylist() == result.table.to_pylist()
    assert arrow.schema == result.table.schema


@pytest.mark.parametrize("name", FORMATS)
def test_every_type_and_no_rows_at_all_can_be_written(store: Store, name: Format) -> None:
    assert to_bytes(run_query(store, "FROM test_all_types()"), name)
    assert to_bytes(run_query(store, "FROM runs WHERE false"), name)


@pytest.mark.parametrize(
    "expression",
    [
        "[1, NULL]",
        "{'a': 1, 'b': ['x']}",
        "MAP {'k': 1.5}",
        "1.50::DECIMAL(38, 10)",
        "170141183460469231731687303715884105727::HUGEINT",
        "'x'::ENUM('x', 'y')",
        "'\\xFF'::BLOB",
        "TIMESTAMPTZ '2024-02-29 10:00:00+02'",
        "TIMESTAMP 'infinity'",
        "INTERVAL 1 YEAR",
        "map()",
        "row()",
        "[row()]",
        "union_value(k := 1)",
        "NULL",
    ],
)
def test_a_table_read_back_from_parquet_or_arrow_is_equal(store: Store, expression: str) -> None:
    result = run_query(store, f"SELECT {expression} AS v, i FROM range(3) t(i)")
    assert pq.read_table(io.BytesIO(to_bytes(result, "parquet"))).equals(result.table)
    with pa.ipc.open_stream(to_bytes(result, "arrow")) as stream:
        assert stream.read_all().equals(result.table)


def test_rows_hold_text_where_python_has_no_time_for_it(store: Store) -> None:
    result = run_query(store, "SELECT TIMESTAMP 'infinity', [DATE '290000-01-01'], 1")
    assert result.rows == [("infinity", "out of range", 1)]


def test_a_type_that_parquet_lacks_is_said() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    result = QueryResult(pa.table({"u": union}), (Column("u", "UNION"),), False, 1.0)
    with pytest.raises(QueryError, match="Parquet") as caught:
        to_bytes(result, "parquet")
    assert caught.value.hint


@pytest.mark.parametrize("format", FORMATS)
def test_pieces_are_made_one_after_the_other_and_join_to_the_whole(
    store: Store, format: Format
) -> None:
    result = run_query(store, "SELECT i, 'text ' || i AS t FROM range(50000) r(i)", 50_000)
    tracemalloc.start()
    sizes = [len(piece) for piece in iter_bytes(result, format)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sizes) > 2
    assert sum(sizes) == len(to_bytes(result, format))
    assert peak < 4_000_000
    assert run_query(store, "SELECT 1 WHERE false").n_rows == 0


def test_what_comes_out_in_pieces_is_read_back_whole(store: Store) -> None:
    result = run_query(store, "SELECT i, i / 7 AS x FROM range(45001) r(i)", 50_000)
    rows = json.loads(to_bytes(result, "json"))["rows"]
    assert [row[0] for row in rows] == list(range(45_001))
    assert to_bytes(result, "csv").count(b"\n") == 45_002
    parquet = pq.read_table(io.BytesIO(to_bytes(result, "parquet")))
    arrow = pa.ipc.open_stream(to_bytes(result, "arrow")).read_all()
    assert parquet.equals(arrow)
    assert arrow.num_rows == 45_001


@pytest.mark.parametrize("format", FORMATS)
def test_no_rows_are_a_whole_answer_too(store: Store, format: Format) -> None:
    content = to_bytes(run_query(store, "SELECT 1 AS a WHERE false"), format)
    if format == "json":
        assert json.loads(content)["rows"] == []
    elif format == "csv":
        assert content == b"a\n"
    elif format == "parquet":
        assert pq.read_table(io.BytesIO(content)).column_names == ["a"]
    else:
        assert pa.ipc.open_stream(content).read_all().num_rows == 0
