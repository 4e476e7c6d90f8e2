"""That a run is steered, by what, and the way back to where it can be changed.

Invariant: a run in, widgets out; nothing is drawn for a run without steering.
"""

from __future__ import annotations

import json

import streamlit as st

from dashboard.links import ViewState, to_params
from dashboard.steer_draft import describe, draft_of
from store.records import Run
from store.specs import parse_interventions

_MOST_OPEN = 3


def steered_note(run: Run) -> None:
    """Draws it."""
    rows = draft_of(parse_interventions(json.loads(run.steering))).rows
    if not rows:
        return
    with st.container(border=True, gap="xsmall", key="steered_note"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("steered", color="orange", icon=":material/tune:")
            st.page_link(
                "views/steer.py",
                label="Beside the plain answer, and to change it",
                icon=":material/arrow_forward:",
                query_params=to_params(ViewState(run=run.run_key)),
            )
        many = len(rows) > _MOST_OPEN
        with st.expander(f"{len(rows)} interventions") if many else st.container(gap="xsmall"):
            for row in rows:
                name = f"vector {row.vector_id}" if row.vector_id else f"feature {row.feature}"
                st.text(describe(row, name))
