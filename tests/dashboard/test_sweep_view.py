"""Sweeps as rows and charts: numbers with intervals, controls beside what was chosen."""

from __future__ import annotations

import json

import pytest

from dashboard.steer_charts import curve_chart, heat_map, layer_chart, overlap_chart, ranking_chart
from dashboard.sweep_view import (
    best_words,
    cell_rows,
    find_cell,
    find_number,
    measures_of,
    shown,
    splits_of,
    summary_rows,
)
from store.sweep_records import CellPlace, Estimate, MeasuredCell, SweepCell


def make_cell(
    number: int,
    arm: str = "kind",
    split: str = "report",
    role: str = "candidate",
    kind: str = "add",
    layer: int | None = 1,
    success: float | None = 0.5,
) -> SweepCell:
    """A cell with one number that matters."""
    place = CellPlace(number, arm, role, kind, 3, None, 0.1 * number, "norm", layer, False)
    estimate = Estimate(success, 0.25, 0.75)
    measured = MeasuredCell(
        f"key{number}",
        "demo-1",
        "[]",
        "",
        split,
        20,
        estimate,
        Estimate(-0.5, -1.0, 0.0),
        Estimate(),
        json.dumps({"examples": []}),
        0.1,
    )
    return SweepCell(place, measured)


CELLS = (
    make_cell(0, "nothing", kind="none", role="control"),
    make_cell(1, split="choose"),
    make_cell(2),
    make_cell(3, layer=2),
    make_cell(4, "random 1", role="control", success=None),
)


def test_rows_are_of_one_half_and_leave_out_what_is_not_steered() -> None:
    rows = cell_rows(CELLS, "report")
    assert [row["number"] for row in rows] == [2, 3, 4]
    assert [row["series"] for row in rows] == ["kind, layer 1", "kind, layer 2", "random 1"]
    assert (rows[0]["success"], rows[0]["success_low"], rows[0]["success_high"]) == (
        0.5,
        0.25,
        0.75,
    )
    assert splits_of(CELLS) == ("report", "choose")
    assert find_number(CELLS, "key3") == 3
    assert find_cell(CELLS, 9) is None


@pytest.mark.parametrize(
    ("value", "is_share", "said"),
    [
        (Estimate(0.5, 0.25, 0.75), True, "50.0% [25.0%, 75.0%]"),
        ({"value": 1.2345, "low": -1.0, "high": 2.0}, False, "1.23 [-1, 2]"),
        (Estimate(), True, "–"),
        (None, False, "–"),
        ({"value": 0.5}, True, "50.0%"),
    ],
)
def test_a_number_is_shown_with_its_interval(value: object, is_share: bool, said: str) -> None:
    assert shown(value, is_share) == said  # type: ignore[arg-type]


def test_the_best_comes_first_and_of_random_directions_the_largest() -> None:
    def row(key: str, value: float) -> dict[str, object]:
        return {
            "cell_key": key,
            "n": 24,
            "success": {"value": value, "low": 0, "high": 1},
            "coherence": {"value": 0, "low": 0, "high": 0},
            "side_effects": {"value": None},
            "is_coherent": key != "key3",
            "strength": 0.5,
            "unit": "norm",
            "layer": 1,
        }

    summary = {
        "best": {"cell_key": "key2"},
        "arms": {"other": row("key3", 0.9), "kind": row("key2", 0.5)},
        "controls": {
            "the opposite": {k: v for k, v in row("x", -1.0).items() if k != "strength"},
            "random directions": {"n": 2, "cells": [row("a", 0.1), row("b", 0.3)]},
        },
    }
    rows = summary_rows("concept", summary, CELLS)
    assert [item.name for item in rows] == [
        "kind",
        "other",
        "the opposite",
        "random directions: the largest of 2",
    ]
    assert (rows[0].role, rows[0].number, rows[1].note) == ("best", 2, "incoherent")
    assert rows[0].figures == ("0.5 [0, 1]", "0 [0, 0]", "–")
    assert rows[3].figures[0] == "0.3 [0, 1]"


@pytest.mark.parametrize("task", ["concept", "confabulation", "ranking", "unheard of"])
def test_charts_are_valid_for_every_task(task: str) -> None:
    rows = cell_rows(CELLS, "report")
    for measure in measures_of(task):
        assert heat_map(rows, measure, 2).to_dict()["params"][0]["name"] == "cell"
        assert curve_chart(rows, measure, is_last=True).to_dict()["layer"]
    values = [
        {"arm": "a", "layer": 1, "strength": 1, "coherent": "coherent", "value": 1.0}
        | {"low": 0.5, "high": 2.0}
    ]
    assert layer_chart(values, measures_of(task)[0]).to_dict()["layer"]
    assert overlap_chart(["a", "b"], [[1.0, 0.5], [0.5, 1.0]]).to_dict()["layer"]
    effects = [{"name": "feature 3", "effect": 1.0, "low": 0.5, "high": 2.0}]
    assert ranking_chart(effects).to_dict()["layer"]


def test_what_a_sweep_found_is_said_with_interval_and_n() -> None:
    best = {
        "arm": "SAE features, gated",
        "reduction": {"value": 0.75, "low": 0.6, "high": 0.875},
        "known_accuracy_loss": {"value": 0.05, "low": 0.0, "high": 0.125},
        "n_unknown": 40,
        "n_known": 1_040,
    }
    assert best_words(json.dumps({"best": best})) == (
        "SAE features, gated: 75% [60%, 88%] fewer made up at 5% [0%, 12%] loss of known answers, "
        "n = 40 + 1,040"
    )
    assert best_words(json.dumps({"best": {"cell_key": "key2"}})) == ""
    assert best_words(json.dumps({"best": None})) == ""
    assert best_words(None) == ""
