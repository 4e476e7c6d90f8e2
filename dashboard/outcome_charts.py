"""Charts of outcomes: what answers mean with tools off and on. Values -> altair chart. Pure.

Invariant: nothing here fetches or draws; the colours are those of outcomes, each with its word.
"""

from __future__ import annotations

import altair as alt

from dashboard.outcome_words import MEANING_COLOURS, MEANING_WORDS, TOOLS_WORDS
from engine.api import ToolsEffect

_BAND_PX = 34
CHART_PX = 210
"""Two bands with legend and axis."""


def tools_chart(effect: ToolsEffect, toy: str) -> alt.Chart:
    """Shares of what answers mean, a bar for each way of asking.

    Args:
        effect: counts and shares.
        toy: said beside the axis of a toy's figures, else empty.
    """
    order = {meaning: place for place, meaning in enumerate(MEANING_WORDS)}
    rows = [
        {
            "tools": TOOLS_WORDS[cell.tools],
            "meaning": MEANING_WORDS[cell.meaning],
            "place": order[cell.meaning],
            "share": cell.share.value,
            "n": cell.n,
            "low": cell.share.low,
            "high": cell.share.high,
        }
        for cell in effect.cells
        if cell.n
    ]
    words = [MEANING_WORDS[name] for name in MEANING_COLOURS]
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            y=alt.Y(
                "tools:N",
                title=None,
                sort=list(TOOLS_WORDS.values()),
                axis=alt.Axis(labelOverlap=False),
            ),
            x=alt.X(
                "share:Q",
                title=f"share of answers{toy}",
                axis=alt.Axis(format=".0%"),
                scale=alt.Scale(domain=[0, 1]),
                stack="zero",
            ),
            order=alt.Order("place:Q"),
            color=alt.Color(
                "meaning:N",
                title=None,
                sort=words,
                scale=alt.Scale(domain=words, range=list(MEANING_COLOURS.values())),
                legend=alt.Legend(orient="top", direction="horizontal"),
            ),
            tooltip=[
                alt.Tooltip("tools:N", title="asked with"),
                alt.Tooltip("meaning:N", title="answer"),
                alt.Tooltip("n:Q", title="answers", format=","),
                alt.Tooltip("share:Q", format=".1%"),
                alt.Tooltip("low:Q", format=".1%"),
                alt.Tooltip("high:Q", format=".1%"),
            ],
        )
        .properties(height=alt.Step(_BAND_PX))
    )
    return chart
