"""Charts and exports of features and cohorts: plain values in, what is drawn or written out."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from dashboard.cohort_charts import forest_chart, volcano_chart
from dashboard.feature_charts import MapPoint, lens_chart, map_chart, score_chart, value_chart
from dashboard.feature_export import to_csv, to_json
from dashboard.run_presets import COHORT_PRESETS, RUN_PRESETS
from engine.api import CohortRow, LogitBin
from store.filters import parse_filter
from store.records import Context, FeatureStats, HistogramBin

HOSTILE = '=1+1 <script>"x"</script>\n'


def values_of(chart: Any) -> list[dict[str, Any]]:
    """The rows that a chart takes to the browser."""
    spec = chart.to_dict()
    found: list[dict[str, Any]] = spec["datasets"][spec["data"]["name"]]
    return found


def row(feature: int, difference: float, q: float) -> CohortRow:
    return CohortRow(
        feature=feature,
        n_a=5,
        n_b=3,
        n_runs_a=5,
        n_runs_b=3,
        rate_a=0.5,
        rate_b=0.5 - difference,
        difference=difference,
        low=difference - 0.1,
        high=difference + 0.1,
        auroc=0.5,
        z=1.0,
        p=q / 10,
        q=q,
        p_max=q,
        mean_a=1.0,
        mean_b=0.5,
    )


def test_bars_reach_from_edge_to_edge_of_their_bins_and_empty_ones_are_left_out() -> None:
    bins = [HistogramBin(1.0, 1.25, 7), HistogramBin(1.25, 1.5, 0), HistogramBin(1.5, 1.75, 2)]
    drawn = values_of(value_chart(bins))
    assert [(item["low"], item["high"], item["tokens"]) for item in drawn] == [
        (1.0, 1.25, 7),
        (1.5, 1.75, 2),
    ]
    assert values_of(lens_chart([LogitBin(-1.0, 0.0, 3)]))[0]["tokens"] == 3


def test_scores_are_counted_in_steps_with_the_last_one_closed() -> None:
    chart = score_chart([(0.7, "automatic"), (0.749, "automatic"), (1.0, "by hand")], 0.7)
    assert {(item["score"], item["origin"]): item["labels"] for item in values_of(chart)} == {
        ("0.70", "automatic"): 2,
        ("0.95", "by hand"): 1,
    }


def test_a_point_without_a_difference_stays_on_the_map() -> None:
    points = [
        MapPoint(1, 0.0, 1.0, 0.1, HOSTILE, "by hand", 0.5),
        MapPoint(2, 1.0, 0.0, 0.0, "", "no label"),
    ]
    chart = map_chart(points, "difference", 1)
    drawn = values_of(chart)
    assert [item["difference"] for item in drawn] == [0.5, None]
    assert drawn[0]["label"] == HOSTILE
    assert drawn[0]["size"] > drawn[1]["size"]
    assert chart.to_dict()["mark"]["invalid"] == "show"


def test_only_what_is_significant_has_a_side() -> None:
    drawn = values_of(volcano_chart([row(1, 0.4, 0.01), row(2, -0.4, 0.01), row(3, 0.4, 0.5)], 2))
    assert [item["side"] for item in drawn] == ["more in A", "more in B", "not told apart"]
    assert drawn[1]["size"] > drawn[0]["size"]
    assert len(forest_chart([row(n, 0.1, 0.01) for n in range(80)]).to_dict()["layer"]) == 3


def test_exports_hold_every_text_and_no_formula() -> None:
    contexts = (Context("a" * 64, 3, 1.5, HOSTILE, HOSTILE, "after"),)
    [head, line] = list(csv.reader(io.StringIO(to_csv(7, contexts))))
    assert head[:4] == ["feature", "run_key", "position", "value"]
    assert line[:4] == ["7", "a" * 64, "3", "1.5"]
    assert line[5] == f"'{HOSTILE}"
    stats = FeatureStats("demo-1", 7, 9, 0.1, 2.0, 1.0, HOSTILE)
    content = json.loads(to_json("demo", stats, (), (), contexts))
    assert (content["label"], content["contexts"][0]["text"]) == (HOSTILE, HOSTILE)


def test_every_preset_is_a_filter_of_runs() -> None:
    filters = [*RUN_PRESETS.values(), *(part for pair in COHORT_PRESETS.values() for part in pair)]
    assert [where for where in filters if parse_filter(where, "runs").kind != "runs"] == []
