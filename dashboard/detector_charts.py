"""Charts of detectors: figures with intervals, and curves. Values -> altair chart. Pure.

Invariant: nothing here fetches or draws; candidates and baselines keep their colours in every
chart, and no colour is that of an outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from dashboard.confabulation_view import find_slice
from engine.api import Curves, DetectorReport, SliceResult

Curve = Literal["roc", "pr", "reliability", "risk"]
_ROW_PX = 18
_HEAD_PX = 110
CURVE_PX = 215
_KIND_COLOURS = {"candidate": "#3a7bd5", "baseline": "#8a93a0"}
LINES = ("#3a7bd5", "#cc79a7", "#8a93a0", "#7a5cc0", "#5c6670", "#b0b7c0")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
_AXES: dict[Curve, tuple[str, str]] = {
    "roc": ("right answers flagged", "false answers found"),
    "pr": ("false answers found", "false among flagged"),
    "reliability": ("probability it gives", "share that is false"),
    "risk": ("answers let through", "false among those"),
}
CURVE_TITLES: dict[Curve, str] = {
    "roc": "ROC",
    "pr": "Precision and recall",
    "reliability": "Reliability",
    "risk": "Risk and coverage",
}
_KEY_PX = 26
_KEY_WIDTH = 6


def forest_chart(reports: Sequence[DetectorReport], slice_name: str, toy: str) -> alt.LayerChart:
    """AUROC of every detector on a slice with its 95% interval, the best first.

    Args:
        reports: of one evaluation; those without a figure are left out.
        slice_name: of the held-out answers.
        toy: said beside the axis of a toy's figures, else empty.
    """
    rows = []
    for report in reports:
        found = find_slice(report, slice_name)
        if found is not None and found.auroc is not None:
            rows.append(
                {
                    "name": f"{'★ ' if report.is_chosen else ''}{report.name}",
                    "kind": report.kind,
                    "value": found.auroc.value,
                    "low": found.auroc.low,
                    "high": found.auroc.high,
                }
            )
    rows.sort(key=lambda row: -float(str(row["value"])))
    names = [str(row["name"]) for row in rows]
    lowest = min((float(str(row["low"])) for row in rows), default=0.0)
    base = alt.Chart(alt.InlineData(values=rows))
    axis = alt.Axis(labelLimit=330, ticks=False, domain=False, labelOverlap=False)
    y = alt.Y("name:N", sort=names, title=None, axis=axis, scale=alt.Scale(padding=0.9))
    scale = alt.Scale(domain=[min(0.4, lowest - 0.02), 1], nice=False)
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(_KIND_COLOURS), range=list(_KIND_COLOURS.values())),
        legend=alt.Legend(orient="top", direction="horizontal"),
    )
    tooltip = [
        alt.Tooltip("name:N", title="detector"),
        alt.Tooltip("value:Q", title="AUROC", format=".3f"),
        alt.Tooltip("low:Q", format=".3f"),
        alt.Tooltip("high:Q", format=".3f"),
    ]
    x_title = f"AUROC with 95% interval over groups{toy}"
    bars = base.mark_rule(strokeWidth=2).encode(
        y=y,
        x=alt.X("low:Q", title=x_title, scale=scale, axis=alt.Axis(orient="top")),
        x2="high:Q",
        color=colour,
        tooltip=tooltip,
    )
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        y=y, x=alt.X("value:Q", scale=scale), color=colour, tooltip=tooltip
    )
    chance = (
        alt.Chart(alt.InlineData(values=[{"chance": 0.5}]))
        .mark_rule(strokeDash=[4, 3], color="#8a93a0")
        .encode(x=alt.X("chance:Q", scale=scale))
    )
    return alt.LayerChart(layer=[chance, bars, points])


def forest_px(reports: Sequence[DetectorReport], slice_name: str) -> int:
    """Height of that chart: every detector keeps its name."""
    found = [find_slice(report, slice_name) for report in reports]
    return _HEAD_PX + _ROW_PX * sum(item is not None and item.auroc is not None for item in found)


def curve_chart(curve: Curve, chosen: Sequence[tuple[str, SliceResult]]) -> alt.LayerChart:
    """A curve of each of some detectors on one slice.

    Args:
        curve: which.
        chosen: name and figures of each; those without curves are left out.
    """
    rows: list[dict[str, Any]] = []
    for name, found in chosen:
        if found.curves is not None:
            rows += [
                {"name": name, "order": order, **point}
                for order, point in enumerate(_points(curve, found.curves))
            ]
    names = [name for name, _ in chosen]
    x_title, y_title = _AXES[curve]
    x = alt.X("x:Q", title=x_title, scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("y:Q", title=y_title, scale=alt.Scale(domain=[0, 1]))
    colours = alt.Scale(domain=names, range=list(LINES[: len(names)]))
    dashes = alt.Scale(domain=names, range=[list(dash) for dash in DASHES[: len(names)]])
    base = alt.Chart(alt.InlineData(values=rows))
    lines = base.mark_line(interpolate="linear", point=curve == "reliability").encode(
        x=x,
        y=y,
        order="order:Q",
        color=alt.Color("name:N", title=None, scale=colours, legend=None),
        strokeDash=alt.StrokeDash("name:N", title=None, scale=dashes, legend=None),
        tooltip=[
            alt.Tooltip("name:N", title="detector"),
            alt.Tooltip("x:Q", title=x_title, format=".3f"),
            alt.Tooltip("y:Q", title=y_title, format=".3f"),
        ],
    )
    layers: list[alt.Chart] = [lines]
    ends = _reference(curve, chosen)
    if ends:
        rule = alt.Chart(alt.InlineData(values=ends)).mark_line(
            strokeDash=[3, 3], strokeWidth=1, color="#8a93a0"
        )
        layers.insert(0, rule.encode(x=alt.X("x:Q"), y=alt.Y("y:Q")))
    return alt.LayerChart(layer=layers)


def _points(curve: Curve, curves: Curves) -> list[dict[str, float]]:
    if curve == "reliability":
        return [{"x": item.predicted, "y": item.observed} for item in curves.reliability]
    points = {"roc": curves.roc, "pr": curves.pr, "risk": curves.risk_coverage}[curve]
    return [{"x": point.x, "y": point.y} for point in points]


def _reference(curve: Curve, chosen: Sequence[tuple[str, SliceResult]]) -> list[dict[str, float]]:
    """What a guess reaches, or what perfect calibration would."""
    if curve in ("roc", "reliability"):
        return [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]
    level = chosen[0][1].prevalence if chosen else None
    return [] if level is None else [{"x": 0.0, "y": level}, {"x": 1.0, "y": level}]


def key_chart(names: Sequence[str]) -> alt.Chart:
    """The key of the curves: a stretch of each line beside its name.

    Args:
        names: of the detectors, in the order of the charts.
    """
    ends = [{"name": name, "x": x} for name in names for x in (0, 1)]
    axis = alt.Axis(ticks=False, domain=False, grid=False, labelLimit=400, labelOverlap=False)
    colours = alt.Scale(domain=list(names), range=list(LINES[: len(names)]))
    dashes = alt.Scale(domain=list(names), range=[list(dash) for dash in DASHES[: len(names)]])
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_line(strokeWidth=2)
        .encode(
            # the names are the axis, whose labels have the theme's colour
            y=alt.Y("name:N", sort=list(names), title=None, axis=axis),
            x=alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, _KEY_WIDTH])),
            color=alt.Color("name:N", scale=colours, legend=None),
            strokeDash=alt.StrokeDash("name:N", scale=dashes, legend=None),
        )
    )
    return chart


def key_px(names: Sequence[str]) -> int:
    """Height of that key."""
    return _KEY_PX * len(names)
