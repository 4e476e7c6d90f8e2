"""Charts of features: histograms, and the map of a source. Plain values -> altair chart. Pure.

Invariant: nothing here fetches or draws; activation is the theme's accent on one ramp, differences
are on one diverging ramp; nothing is coloured by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from engine.api import LogitBin
from store.records import HistogramBin

MapColour = Literal["density", "label", "difference"]
_NOTHING = "#8a93a055"
_VALUES: dict[MapColour, str] = {
    "density": "density",
    "label": "origin",
    "difference": "difference",
}
_ORIGINS = ("by hand", "automatic", "by a model", "no label")


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A feature on the map.

    Attributes:
        origin: of its current label, in words; difference: of a comparison; None if not told.
    """

    feature: int
    x: float
    y: float
    density: float
    label: str
    origin: str
    difference: float | None = None


def value_chart(bins: Sequence[HistogramBin], height: int = 130) -> alt.Chart:
    """How often a feature fired how strongly; the axis of values is logarithmic, as the bins are.

    Args:
        bins: from the smallest to the largest value.
        height: in pixels.
    """
    rows = [
        {"low": item.low, "high": item.high, "tokens": item.n_tokens_active}
        for item in bins
        if item.n_tokens_active
    ]
    scale = alt.Scale(type="log", nice=False)
    return _histogram(rows, "value", scale, height)


def lens_chart(bins: Sequence[LogitBin], height: int = 130) -> alt.Chart:
    """How many tokens of the vocabulary a feature boosts how much; counts are logarithmic."""
    rows = [
        {"low": item.low, "high": item.high, "tokens": item.n_tokens}
        for item in bins
        if item.n_tokens
    ]
    return _histogram(rows, "logit", alt.Scale(nice=False, zero=False), height, is_log=True)


def score_chart(scores: Sequence[tuple[float, str]], least: float, height: int = 190) -> alt.Chart:
    """How many labels have which score, by origin.

    Args:
        scores: a score and the origin's words, of each label.
        least: score from which a label is shown.
        height: in pixels.
    """
    counts: dict[tuple[int, str], int] = {}
    for score, origin in scores:
        place = min(int(score * 20 + 1e-9), 19), origin
        counts[place] = counts.get(place, 0) + 1
    rows = [
        {"score": f"{bin_no / 20:.2f}", "labels": count, "origin": origin}
        for (bin_no, origin), count in sorted(counts.items())
    ]
    names = [f"{bin_no / 20:.2f}" for bin_no in range(20)]
    chart: Any = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=alt.X(
                "score:O",
                title=f"score on held-out contexts, in steps of 0.05; shown from {least:g}",
                scale=alt.Scale(domain=names),
                axis=alt.Axis(labelAngle=0, values=names[::2]),
            ),
            y=alt.Y("labels:Q", title="labels"),
            color=alt.Color("origin:N", title=None, legend=alt.Legend(orient="top")),
            opacity=alt.condition(
                f"toNumber(datum.score) >= {least}", alt.value(1), alt.value(0.45)
            ),
            tooltip=["score:O", "labels:Q", "origin:N"],
        )
        .properties(height=height)
    )
    return chart  # type: ignore[no-any-return]


def map_chart(
    points: Sequence[MapPoint], colour: MapColour, chosen: int | None, height: int = 560
) -> alt.Chart:
    """The map: one dot a feature; the dot that is clicked is the selection `chosen`.

    Args:
        points: all of them.
        colour: what colours them.
        chosen: the feature that is shown larger.
        height: in pixels.
    """
    rows = [
        {
            "feature": item.feature,
            "x": item.x,
            "y": item.y,
            "density": max(item.density, 1e-7),
            "label": item.label,
            "origin": item.origin,
            "difference": item.difference,
            "size": 160 if item.feature == chosen else 28,
        }
        for item in points
    ]
    selection = alt.selection_point(name="chosen", fields=["feature"], on="click", toggle=False)
    chart: Any = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_circle(invalid="show")
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
            size=alt.Size("size:Q", scale=None, legend=None),
            color=alt.condition(
                f"isValid(datum.{_VALUES[colour]})", _map_colour(colour), alt.value(_NOTHING)
            ),
            tooltip=[
                alt.Tooltip("feature:Q"),
                alt.Tooltip("label:N"),
                alt.Tooltip("density:Q", format=".2%"),
                *([alt.Tooltip("difference:Q", format="+.3f")] if colour == "difference" else []),
            ],
        )
        .add_params(selection)
        .properties(height=height)
    )
    return chart  # type: ignore[no-any-return]


def _map_colour(colour: MapColour) -> alt.Color:
    if colour == "density":
        scale = alt.Scale(type="log", scheme="blues", domainMin=1e-4, clamp=True)
        return alt.Color("density:Q", scale=scale, title="density", legend=alt.Legend(format=".2%"))
    if colour == "difference":
        scale = alt.Scale(scheme="blueorange", domainMid=0, reverse=True)
        return alt.Color("difference:Q", scale=scale, title="A minus B")
    return alt.Color("origin:N", title="label", sort=list(_ORIGINS))


def _histogram(
    rows: list[dict[str, float]], name: str, scale: alt.Scale, height: int, is_log: bool = False
) -> alt.Chart:
    """Bars from edge to edge of their bins; drawn as rectangles, since both axes are numbers."""
    counts = alt.Scale(type="symlog" if is_log else "linear")
    chart: Any = (
        alt.Chart(alt.InlineData(values=[row | {"zero": 0} for row in rows]))
        .mark_rect(stroke=None)
        .encode(
            x=alt.X("low:Q", title=name, scale=scale, axis=alt.Axis(tickCount=5, format="~g")),
            x2=alt.X2("high:Q"),
            y=alt.Y("tokens:Q", title=None, scale=counts, axis=alt.Axis(tickCount=3, format="~s")),
            y2=alt.Y2("zero:Q"),
            tooltip=[
                alt.Tooltip("low:Q", format=".3~g", title=f"{name} from"),
                alt.Tooltip("high:Q", format=".3~g", title="to"),
                alt.Tooltip("tokens:Q", format=","),
            ],
        )
        .properties(height=height)
    )
    return chart  # type: ignore[no-any-return]
