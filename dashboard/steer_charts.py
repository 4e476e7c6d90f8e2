"""Charts of steering: profiles of layers, overlaps, and what sweeps measured. Rows -> altair. Pure.

Invariant: nothing here fetches or draws. Signed numbers are on one diverging ramp around 0, others
on one sequential ramp; intervals are drawn wherever they are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from dashboard.sweep_view import Measure
from engine.api import LayerRow

LEAST_RELIABILITY = 0.8
_RAMP: Final = "blues"
_DIVERGING: Final = "blueorange"
_GREY = "#8a93a0"
_HEIGHT_PX = 190
_LEGEND_ROW_PX = 22
_MAX_NAME_PX = 220
_NAMES = alt.Axis(labelAngle=0, labelLimit=_MAX_NAME_PX, labelOverlap=True)


def profile_charts(rows: Sequence[LayerRow]) -> tuple[alt.LayerChart, ...]:
    """Length, reliability, separation of a concept's vector by layer; a cross is unreliable."""
    values = [
        {
            "layer": row.layer,
            "length": row.relative_norm,
            "reliability": row.reliability,
            "separation": row.separation,
            "reliable": "reliable" if row.is_reliable else "unreliable",
        }
        for row in rows
    ]
    return (
        _profile(values, "length", "length, mean residual norms", None),
        _profile(values, "reliability", "reliability, cosine of halves", LEAST_RELIABILITY),
        _profile(values, "separation", "separation, AUROC", 0.5),
    )


def _profile(
    values: list[dict[str, Any]], name: str, title: str, rule: float | None
) -> alt.LayerChart:
    base = alt.Chart(alt.InlineData(values=values))
    layers = sorted({row["layer"] for row in values})
    scale = alt.Scale() if rule is None else alt.Scale(domain=[min(0.0, _least(values, name)), 1])
    x = alt.X("layer:Q", axis=alt.Axis(values=layers[:40], format="d"), title="layer")
    y = alt.Y(f"{name}:Q", title=None, scale=scale)
    tooltip = [alt.Tooltip("layer:Q"), alt.Tooltip(f"{name}:Q", format=".3f"), "reliable:N"]
    line = base.mark_line().encode(x=x, y=y)
    points = base.mark_point(size=55, filled=False, strokeWidth=2).encode(
        x=x,
        y=y,
        shape=alt.Shape(
            "reliable:N",
            scale=alt.Scale(domain=["reliable", "unreliable"], range=["circle", "cross"]),
            legend=None,
        ),
        tooltip=tooltip,
    )
    parts: list[alt.Chart] = [line, points]
    if rule is not None:
        data = alt.InlineData(values=[{"at": rule}])
        dashes = alt.Chart(data).mark_rule(strokeDash=[4, 3], color=_GREY)
        parts.append(dashes.encode(y=alt.Y("at:Q")))
    return alt.LayerChart(layer=parts).properties(height=_HEIGHT_PX, title=_title(title))


def overlap_chart(names: Sequence[str], matrix: Sequence[Sequence[float]]) -> alt.LayerChart:
    """Cosines between vectors."""
    values = [
        {"first": left, "second": right, "cosine": matrix[i][j]}
        for i, left in enumerate(names)
        for j, right in enumerate(names)
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("second:N", sort=list(names), title=None, axis=_NAMES),
        y=alt.Y("first:N", sort=list(names), title=None, axis=_NAMES),
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "cosine:Q",
            scale=alt.Scale(scheme=_DIVERGING, domain=[-1, 1], reverse=True),
            title="cosine",
        ),
        tooltip=["first:N", "second:N", alt.Tooltip("cosine:Q", format=".2f")],
    )
    texts = base.mark_text(fontSize=10).encode(
        text=alt.Text("cosine:Q", format=".2f"),
        color=alt.condition("abs(datum.cosine) > 0.6", alt.value("#fff"), alt.value("#111")),
    )
    return alt.LayerChart(layer=[cells, texts]).properties(height=70 + 30 * len(names))


def heat_map(rows: Sequence[dict[str, Any]], measure: Measure, marked: int | None) -> alt.Chart:
    """A measure over strength and series; a click on a cell selects its `number` as `cell`.

    Args:
        rows: of sweep_view.cell_rows.
        measure: which number is coloured.
        marked: number of the cell that is framed.
    """
    name = measure.quantity
    values = [row for row in rows if row[name] is not None]
    series = list(dict.fromkeys(row["series"] for row in values))
    is_marked = f"datum.number == {-1 if marked is None else marked}"
    picked = alt.selection_point(name="cell", fields=["number"], on="click", toggle=False)
    chart: Any = (
        alt.Chart(alt.InlineData(values=values))
        .mark_rect(cursor="pointer")
        .encode(
            x=alt.X("strength:O", title="strength", axis=alt.Axis(labelAngle=0, format="~g")),
            y=alt.Y("series:N", sort=series, title=None, axis=alt.Axis(labelLimit=_MAX_NAME_PX)),
            color=alt.Color(f"{name}:Q", title=measure.unit, scale=_scale(values, measure)),
            stroke=alt.condition(is_marked, alt.value("#8a5a00"), alt.value("transparent")),
            strokeWidth=alt.condition(is_marked, alt.value(3), alt.value(0)),
            tooltip=_tooltip(measure),
        )
        .add_params(picked)
        .properties(height=70 + 24 * max(len(series), 1))
    )
    return chart  # type: ignore[no-any-return]


def curve_chart(rows: Sequence[dict[str, Any]], measure: Measure, is_last: bool) -> alt.LayerChart:
    """A measure over strength: a line and its 95% interval for each series; controls are grey."""
    name = measure.quantity
    values = [row for row in rows if row[name] is not None]
    arms = [row for row in values if row["role"] == "candidate"]
    controls = [row for row in values if row["role"] != "candidate"]
    series = list(dict.fromkeys(row["series"] for row in arms))
    x = alt.X("strength:Q", title="strength" if is_last else None)
    axis = alt.Axis(format=".0%") if measure.is_share else alt.Axis(format=".3~r")
    y = alt.Y(f"{name}:Q", title=None, axis=axis)
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=400, title=None) if is_last else None
    color = alt.Color("series:N", sort=series, legend=legend)
    base = alt.Chart(alt.InlineData(values=arms))
    band = base.mark_area(opacity=0.15).encode(
        x=x, y=alt.Y(f"{name}_low:Q", title=None), y2=f"{name}_high:Q", color=color
    )
    line = base.mark_line(point=True).encode(x=x, y=y, color=color, tooltip=_tooltip(measure))
    others = (
        alt.Chart(alt.InlineData(values=controls))
        .mark_tick(color=_GREY, thickness=2, size=12, orient="horizontal")
        .encode(x=x, y=y, tooltip=_tooltip(measure))
    )
    extra = _LEGEND_ROW_PX * (len(series) + 4) if is_last else 0
    title = f"{measure.title}, {measure.unit}"
    return alt.LayerChart(layer=[band, line, others]).properties(
        height=_HEIGHT_PX - 40 + extra, title=_title(title)
    )


def layer_chart(rows: Sequence[dict[str, Any]], measure: Measure) -> alt.LayerChart:
    """A measure at each layer, at the strength that was chosen there, with its interval.

    Args:
        rows: with `layer`, `value`, `low`, `high`, `arm`, `strength`, `coherent`.
        measure: which number it is. What is not coherent is a cross.
    """
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0))
    )
    tooltip = ["arm:N", "layer:O", "strength:Q", "coherent:N"] + [
        alt.Tooltip(f"{name}:Q", format=".3g") for name in ("value", "low", "high")
    ]
    low = alt.Y("low:Q", title=None, axis=alt.Axis(format=".3~r"))
    rule = base.mark_rule(strokeWidth=1.5, color=_GREY).encode(y=low, y2="high:Q")
    points = base.mark_point(size=70, filled=True).encode(
        y=alt.Y("value:Q", title=None),
        shape=alt.Shape(
            "coherent:N",
            scale=alt.Scale(domain=["coherent", "incoherent"], range=["circle", "cross"]),
            legend=None,
        ),
        tooltip=tooltip,
    )
    zero = (
        alt.Chart(alt.InlineData(values=[{"at": 0}]))
        .mark_rule(strokeDash=[4, 3], color=_GREY)
        .encode(y=alt.Y("at:Q"))
    )
    title = f"{measure.title}, {measure.unit}"
    return alt.LayerChart(layer=[zero, rule, points]).properties(
        height=_HEIGHT_PX, title=_title(title)
    )


def ranking_chart(rows: Sequence[dict[str, Any]]) -> alt.LayerChart:
    """Features by their effect, with intervals; `name`, `effect`, `low`, `high`."""
    names = [row["name"] for row in rows]
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(
        y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=_MAX_NAME_PX))
    )
    bars = base.mark_bar(height=9).encode(
        x=alt.X("effect:Q", title="change of the log probability of the text, nats"),
        tooltip=["name:N"]
        + [alt.Tooltip(f"{n}:Q", format=".2f") for n in ("effect", "low", "high")],
    )
    rules = base.mark_rule(color=_GREY, strokeWidth=2).encode(x="low:Q", x2="high:Q")
    return alt.LayerChart(layer=[bars, rules]).properties(height=80 + 20 * len(names))


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=12, anchor="start")


def _tooltip(measure: Measure) -> list[Any]:
    name, form = measure.quantity, ".1%" if measure.is_share else ".3g"
    return [
        alt.Tooltip("series:N", title="arm"),
        alt.Tooltip("strength:Q", format="~g"),
        alt.Tooltip("unit:N"),
        alt.Tooltip(f"{name}:Q", format=form, title=measure.title),
        alt.Tooltip(f"{name}_low:Q", format=form, title="low"),
        alt.Tooltip(f"{name}_high:Q", format=form, title="high"),
        alt.Tooltip("n:Q"),
        alt.Tooltip("number:Q", title="cell"),
    ]


def _scale(values: Sequence[dict[str, Any]], measure: Measure) -> alt.Scale:
    numbers = [float(row[measure.quantity]) for row in values] or [0.0]
    if min(numbers) < 0:
        most = max(abs(number) for number in numbers)
        return alt.Scale(scheme=_DIVERGING, domain=[-most, most], reverse=True)
    most = 1.0 if measure.is_share else max(*numbers, 1e-9)
    return alt.Scale(scheme=_RAMP, domain=[0, most])


def _least(values: Sequence[dict[str, Any]], name: str) -> float:
    return min((float(row[name]) for row in values), default=0.0)
