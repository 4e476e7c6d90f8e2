"""Charts of a comparison of two cohorts: volcano, forest, the null of the maximum. Pure.

Invariant: nothing here fetches or draws; a difference has one diverging ramp, A is the accent.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import altair as alt

from engine.api import CohortRow, PermutationNull

COLOUR_A, COLOUR_B = "#3a7bd5", "#b35806"
_LEAST_P = 1e-12
_MAX_FOREST = 25


def volcano_chart(rows: Sequence[CohortRow], chosen: int | None, height: int = 330) -> alt.Chart:
    """Difference against evidence; a dot is a feature, and a click selects it as `chosen`.

    Args:
        rows: of the comparison.
        chosen: the feature that is drawn larger.
        height: in pixels.
    """
    values = [
        {
            "feature": row.feature,
            "label": row.label or "",
            "difference": row.difference,
            "evidence": -log10(max(row.p, _LEAST_P)),
            "q": row.q,
            "side": _side(row),
            "size": 170 if row.feature == chosen else 45,
        }
        for row in rows
    ]
    selection = alt.selection_point(name="chosen", fields=["feature"], on="click", toggle=False)
    chart: Any = (
        alt.Chart(alt.InlineData(values=values))
        .mark_circle(opacity=0.8)
        .encode(
            x=alt.X("difference:Q", title="A minus B: share of groups in which it fires"),
            y=alt.Y("evidence:Q", title="−log10 p"),
            size=alt.Size("size:Q", scale=None, legend=None),
            color=_colour(),
            tooltip=[
                "feature:Q",
                "label:N",
                alt.Tooltip("difference:Q", format="+.3f"),
                alt.Tooltip("q:Q", format=".2~g"),
            ],
        )
        .add_params(selection)
        .properties(height=height)
    )
    return chart  # type: ignore[no-any-return]


def forest_chart(rows: Sequence[CohortRow]) -> alt.LayerChart:
    """Differences of the first rows with their intervals, the strongest evidence on top."""
    values = [
        {
            "feature": str(row.feature),
            "name": f"{row.feature} {(row.label or '')[:28]}".strip(),
            "difference": row.difference,
            "low": row.low,
            "high": row.high,
            "side": _side(row),
        }
        for row in rows[:_MAX_FOREST]
    ]
    order = [str(value["name"]) for value in values]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=220))
    )
    title = "A minus B, with 95% interval"
    intervals = base.mark_rule().encode(
        x=alt.X("low:Q", title=title), x2=alt.X2("high:Q"), color=_colour()
    )
    dots = base.mark_circle(size=50, opacity=1).encode(
        x=alt.X("difference:Q", title=title),
        color=_colour(),
        tooltip=[
            "name:N",
            alt.Tooltip("difference:Q", format="+.3f"),
            alt.Tooltip("low:Q", format="+.3f"),
            alt.Tooltip("high:Q", format="+.3f"),
        ],
    )
    zero = alt.Chart(alt.InlineData(values=[{"at": 0}])).mark_rule(strokeDash=[3, 3])
    chart: Any = alt.layer(zero.encode(x="at:Q"), intervals, dots)
    return chart.properties(height=18 * len(values) + 40)  # type: ignore[no-any-return]


def null_chart(null: PermutationNull, height: int = 120) -> alt.LayerChart:
    """The largest effect of each draw by lot, beside that of the comparison."""
    values = [{"z": value} for value in null.max_statistics]
    bars = (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar(opacity=0.6)
        .encode(
            x=alt.X("z:Q", bin=alt.Bin(maxbins=40), title="largest |z| of each draw by lot"),
            y=alt.Y("count():Q", title="draws"),
        )
    )
    rules = (
        alt.Chart(alt.InlineData(values=[{"z": null.observed_max}]))
        .mark_rule(size=2, color=COLOUR_B)
        .encode(x="z:Q")
    )
    chart: Any = alt.layer(bars, rules)
    return chart.properties(height=height)  # type: ignore[no-any-return]


def _side(row: CohortRow) -> str:
    if row.q > 0.05:
        return "not told apart"
    return "more in A" if row.difference > 0 else "more in B"


def _colour() -> alt.Color:
    scale = alt.Scale(
        domain=["more in A", "more in B", "not told apart"],
        range=[COLOUR_A, COLOUR_B, "#8a93a0"],
    )
    return alt.Color("side:N", scale=scale, title=None, legend=alt.Legend(orient="top"))
