"""Charts: plain values -> altair chart. Pure.

Invariant: nothing here fetches or draws; colours are the theme's accent, as in the token strip.
"""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt

_HEIGHT_PX = 120
_MAX_BARS = 2_000
"""More positions than this are binned, so that a long run stays quick."""


def position_chart(
    values: Mapping[int, float], n_tokens: int, first_generated: int | None, name: str
) -> alt.LayerChart:
    """A value along the positions of a run; the largest of each bin where there are many.

    Args:
        values: by position; a missing one is drawn as nothing.
        n_tokens: length of the run.
        first_generated: position where the model's answer begins, if it has one.
        name: of the value, as a person reads it.
    """
    width = max(1, -(-n_tokens // _MAX_BARS))
    largest: dict[int, float] = {}
    for position, value in values.items():
        start = position - position % width
        largest[start] = max(value, largest.get(start, value))
    rows = [{"position": start, "value": value} for start, value in sorted(largest.items())]
    scale = alt.Scale(domain=[0, max(1, n_tokens)], nice=False)
    bars = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(binSpacing=0)
        .encode(
            x=alt.X("position:Q", scale=scale, title="position"),
            x2=alt.X2("end:Q"),
            y=alt.Y("value:Q", title=None),
            tooltip=[alt.Tooltip("position:Q"), alt.Tooltip("value:Q", format=".3~g", title=name)],
        )
        .transform_calculate(end=f"datum.position + {width}")
    )
    starts = [] if first_generated is None else [{"position": first_generated}]
    rule = (
        alt.Chart(alt.InlineData(values=starts))
        .mark_rule(strokeDash=[3, 3])
        .encode(x=alt.X("position:Q", scale=scale))
    )
    return alt.LayerChart(layer=[bars, rule]).properties(height=_HEIGHT_PX)
