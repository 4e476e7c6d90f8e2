"""Steered answers, each with a link that shows it beside the plain one.

Invariant: what users and models wrote is shown by st.text only; link labels are our own words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import streamlit as st

from dashboard.components.run_list import ago, one_line
from dashboard.links import ViewState, to_params
from dashboard.steer_draft import DraftRow, SteerDraft, describe, draft_of, to_steer
from store.records import Run
from store.specs import parse_interventions


def steered_list(
    runs: tuple[Run, ...],
    titles: Mapping[str, str],
    names: Mapping[str, str],
    now: datetime,
    is_toy: bool,
) -> None:
    """Draws one line a run: its link, its question, its answer, what steered it.

    Args:
        titles: of interventions that have one, by their content.
        names: what vectors are called, by their ids.
    """
    st.subheader("Steered lately (toy)" if is_toy else "Steered lately", anchor=False)
    for run in runs:
        link, prompt, response, steering = st.columns(
            [1.1, 3, 3, 3.4], gap="small", vertical_alignment="center"
        )
        link.page_link(
            "views/steer.py",
            label=ago(run.created_at, now),
            icon=":material/tune:",
            query_params=to_params(ViewState(source=run.source_name, run=run.run_key)),
        )
        prompt.text(one_line(run.prompt, 60))
        response.text(one_line(run.response, 60) or "nothing")
        rows = draft_of(parse_interventions(json.loads(run.steering))).rows
        title = titles.get(rows_content(rows))
        steering.text(one_line(title or _words(rows, names), 60))


def rows_content(rows: Sequence[DraftRow]) -> str:
    """What interventions ask for, whatever they were resolved to."""
    plain = tuple(replace(row, raw_strength=None) for row in rows)
    return to_steer(SteerDraft(plain)) or ""


def _words(rows: Sequence[DraftRow], names: Mapping[str, str]) -> str:
    first = rows[0]
    vector = first.vector_id
    name = names.get(vector, f"vector {vector}") if vector else f"feature {first.feature}"
    more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{describe(first, name).partition(',')[0]}{more}"
