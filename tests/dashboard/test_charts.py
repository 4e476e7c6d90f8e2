"""Charts hold the values that they were given, binned where there are too many to draw."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.charts import position_chart


def layers(values: dict[int, float], n_tokens: int, first: int | None) -> list[dict[str, Any]]:
    """The layers of a chart, each with its rows in its own `data`."""
    chart: dict[str, Any] = position_chart(values, n_tokens, first, "surprise").to_dict()
    datasets = chart.get("datasets", {})
    for layer in chart["layer"]:
        layer["data"] = layer["data"].get("values", datasets.get(layer["data"].get("name")))
    found: list[dict[str, Any]] = chart["layer"]
    return found


def test_a_short_run_has_a_bar_for_each_value() -> None:
    bars, _ = layers({0: 1.0, 7: 2.5}, 10, None)
    assert bars["data"] == [{"position": 0, "value": 1.0}, {"position": 7, "value": 2.5}]
    assert bars["encoding"]["x"]["scale"]["domain"] == [0, 10]


def test_a_long_run_is_binned_and_keeps_its_largest_values() -> None:
    values = {position: float(position % 100) for position in range(10_000)}
    bars, _ = layers(values, 10_000, None)
    drawn = bars["data"]
    assert len(drawn) == 2_000
    assert max(row["value"] for row in drawn) == 99.0
    assert drawn[0] == {"position": 0, "value": 4.0}


@pytest.mark.parametrize(("first", "rules"), [(None, 0), (4, 1)])
def test_the_start_of_the_answer_is_marked_where_there_is_one(
    first: int | None, rules: int
) -> None:
    assert len(layers({1: 1.0}, 9, first)[1]["data"]) == rules


def test_a_run_without_values_is_an_empty_chart() -> None:
    assert layers({}, 0, None)[0]["data"] == []
