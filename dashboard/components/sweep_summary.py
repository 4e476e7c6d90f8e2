"""What a sweep came to: the best with its intervals, every arm and control beside it.

Invariant: numbers come as texts with their intervals; the component decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.sweep_view import Measure, SummaryRow, shown

_ROLES = {"best": "best", "arm": "arm", "control": "control"}


def best_figures(best: SummaryRow, measures: Sequence[Measure], is_toy: bool) -> None:
    """The chosen arm's three numbers, on the half that chose nothing."""
    toy = " (toy)" if is_toy else ""
    st.markdown("**Best, chosen on one half, measured on the other**")
    st.text(
        f"{best.name}: strength {best.strength}"
        + ("" if best.layer is None else f", after layer {best.layer}")
        + (f", {best.note}" if best.note else "")
        + f"; n = {best.n}"
    )
    for cell, measure, figure in zip(
        st.columns(len(measures)), measures, best.figures, strict=False
    ):
        value, _, interval = figure.partition(" ")
        cell.metric(f"{measure.title}{toy}", value, help=measure.help)
        low, _, high = interval.strip("[]").partition(", ")
        unit = "" if measure.is_share else f", {measure.unit}"
        cell.caption(f"95% interval {low} to {high}{unit}")


def summary_table(rows: Sequence[SummaryRow], measures: Sequence[Measure], is_toy: bool) -> None:
    """Every arm's own choice and every control, on the half that is reported."""
    toy = " (toy)" if is_toy else ""
    columns: dict[str, list[Any]] = {
        "": [_ROLES[row.role] for row in rows],
        "what": [f"{row.name}, {row.note}" if row.note else row.name for row in rows],
        "strength": [row.strength for row in rows],
        "layer": ["" if row.layer is None else str(row.layer) for row in rows],
        "n": [row.n for row in rows],
    }
    for place, measure in enumerate(measures):
        columns[f"{measure.title}{toy}"] = [
            row.figures[place] if place < len(row.figures) else "–" for row in rows
        ]
    st.dataframe(columns, hide_index=True, row_height=28, height="content")


def cell_figures(
    results: Mapping[str, Any], measures: Sequence[tuple[Measure, Any]], is_toy: bool
) -> None:
    """All numbers of one cell."""
    toy = " (toy)" if is_toy else ""
    names = [f"{measure.title}{toy}" for measure, _ in measures]
    values = [shown(value, measure.is_share) for measure, value in measures]
    for name, value in results.items():
        if isinstance(value, Mapping) and "value" in value:
            names.append(name.replace("_", " ") + toy)
            values.append(shown(value, is_share=False))
        elif isinstance(value, bool):
            names.append(name.replace("_", " "))
            values.append("yes" if value else "no")
        elif isinstance(value, int | float):
            names.append(name.replace("_", " ") + toy)
            values.append(f"{value:.4g}")
    st.dataframe({"measured": names, "value": values}, hide_index=True, row_height=28)
