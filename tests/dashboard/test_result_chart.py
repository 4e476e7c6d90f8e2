"""Charts and links of results: what is guessed, what a link asks for, what a cell opens."""

from __future__ import annotations

from typing import Any, get_args
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pytest

from dashboard.links import Mark, parse_link
from dashboard.result_chart import MAX_DRAWN, ChartChoice, choose, default_choice, result_chart
from dashboard.result_links import link_cells, row_state
from store.connection import Store
from store.sandbox import QueryResult, run_query
from tests.dashboard.conftest import Bench

KEY = "a" * 64


@pytest.fixture
def store(bench: Bench) -> Store:
    return bench.services.store


def query(store: Store, sql: str) -> QueryResult:
    return run_query(store, sql)


@pytest.mark.parametrize(
    ("sql", "choice"),
    [
        ("SELECT now()::TIMESTAMP AS t, 2 AS n", ChartChoice("line", "t", "n")),
        ("SELECT 3 AS position, 0.5 AS entropy", ChartChoice("line", "position", "entropy")),
        ("SELECT 'a' AS name, 2 AS n", ChartChoice("bar", "name", "n")),
        ("SELECT 7 AS feature, 2.5 AS value", ChartChoice("bar", "feature", "value")),
        ("SELECT 2.5 AS a, 1.5 AS b", ChartChoice("point", "a", "b")),
        ("SELECT 1 AS only", ChartChoice("point", "only", "only")),
        ("SELECT 'a' AS name, [1, 2] AS l", None),
    ],
)
def test_a_chart_is_guessed_from_names_and_types(
    store: Store, sql: str, choice: ChartChoice | None
) -> None:
    assert default_choice(query(store, sql).columns) == choice


def test_a_link_chooses_columns_that_exist_and_the_rest_is_guessed(store: Store) -> None:
    columns = query(store, "SELECT 'a' AS name, 1 AS n, 2 AS m").columns
    assert choose(columns, "area", None, "m", "gone") == ChartChoice("area", "name", "m", None)
    assert choose(columns, None, "gone", None, "name") == ChartChoice("bar", "name", "n", "name")
    words = query(store, "SELECT 'a' AS name, 'b' AS other").columns
    assert choose(words, None, None, None, None) is None
    assert choose(words, None, "name", "other", None) == ChartChoice("point", "name", "other")


def test_names_and_values_of_any_kind_are_drawn_as_they_are(store: Store) -> None:
    result = query(
        store,
        """SELECT 'a.b[0]' AS "x.y[0]:Q", 9007199254740993 AS "n'\\", 'nan'::DOUBLE AS z""",
    )
    for mark in get_args(Mark):
        chart, rows = drawn(result, ChartChoice(mark, "x.y[0]:Q", "n'\\", "z"))
        assert rows == [{"c0": "a.b[0]", "c1": "9007199254740993", "c2": None}]
        assert chart["encoding"]["x"]["field"] == "c0"
        assert chart["encoding"]["x"]["title"] == "x.y[0]:Q"


def test_no_more_rows_are_drawn_than_a_browser_takes(store: Store) -> None:
    result = run_query(store, "SELECT i, i AS j FROM range(9000) t(i)", 10_000)
    assert len(drawn(result, ChartChoice("point", "i", "j"))[1]) == MAX_DRAWN


def drawn(
    result: QueryResult, choice: ChartChoice
) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """The chart as the browser gets it, and its rows."""
    chart: dict[str, Any] = result_chart(result, choice).to_dict()
    datasets = chart.get("datasets", {})
    rows: list[dict[str, object]] = chart["data"].get("values") or datasets[chart["data"]["name"]]
    return chart, rows


def test_run_keys_and_features_become_links_that_sort_as_their_numbers() -> None:
    table = pa.table(
        {
            "run_key": [KEY, "no key", None],
            "position": [3, 4, 5],
            "feature": [200, 17, None],
            "value": [1.0, 2.0, 3.0],
        }
    )
    linked = link_cells(table, "demo-1")
    runs = linked.table.column("run_key").to_pylist()
    features = linked.table.column("feature").to_pylist()
    assert runs == [f"/ask?run={KEY}&token=3&feature=200", "no key", None]
    assert features[2] is None
    assert sorted(features[:2]) == [features[1], features[0]]
    state = parse_link(dict(parse_qsl(urlsplit(features[1]).query))).state
    assert (state.source, state.feature) == ("demo-1", 17)
    assert set(linked.shown_parts) == {"run_key", "feature"}


def test_a_feature_of_an_unknown_source_stays_a_number() -> None:
    table = pa.table({"feature": [1, 2]})
    assert link_cells(table, None).table.equals(table)
    with_source = pa.table({"feature": [1], "source_id": ["s-1"]})
    assert "source=s-1" in link_cells(with_source, None).table.column("feature")[0].as_py()


def test_only_whole_numbers_in_range_open_a_feature() -> None:
    for value in (-1, 2**31, 1.5, "7", True, None):
        assert row_state("feature", {"feature": value}, "demo") is None
    assert row_state("query_id", {"query_id": "0123456789"}, None) is not None
    assert row_state("query_id", {"query_id": "<script>"}, None) is None
