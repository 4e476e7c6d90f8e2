"""The chart of a result with the choice of its columns.

Invariant: the choice is given and a changed one returned; the page puts it into its link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import streamlit as st

from dashboard.links import Mark
from dashboard.result_chart import MAX_DRAWN, ChartChoice, result_chart
from store.sandbox import QueryResult

_NO_COLOUR = "none"


def chart_form(result: QueryResult, choice: ChartChoice, key: str) -> ChartChoice:
    """Draws the controls and the chart; returns what is chosen now.

    Args:
        key: of the controls; another for another result.
    """
    names = [column.name for column in result.columns]
    marks = list(get_args(Mark))
    with st.container(horizontal=True, gap="small"):
        mark = _pick("Mark", marks, choice.mark, f"mark-{key}")
        x = _pick("X", names, choice.x, f"x-{key}")
        y = _pick("Y", names, choice.y, f"y-{key}")
        by = _pick("Colour", [_NO_COLOUR, *names], choice.by or _NO_COLOUR, f"by-{key}")
    chosen = ChartChoice(
        mark=next(item for item in get_args(Mark) if item == mark),
        x=x,
        y=y,
        by=None if by == _NO_COLOUR else by,
    )
    st.altair_chart(result_chart(result, chosen), key=f"chart-{key}")
    if result.n_rows > MAX_DRAWN:
        st.caption(f"The first {MAX_DRAWN:,} rows are drawn.")
    return chosen


def _pick(label: str, options: Sequence[str], value: str, key: str) -> str:
    return st.selectbox(
        label, options, index=list(options).index(value), key=key, width=170, format_func=_plain
    )


def _plain(name: str) -> str:
    """A name as it is: options are plain text, but an empty one would look like none."""
    return name or "(no name)"
