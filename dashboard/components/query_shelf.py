"""The shelf above the editor: example queries, those that people saved, and one's own history.

Invariant: lists are given; a line is a button that makes the address that of its query (a link to
the page that one is on would leave the address as it was). Titles and statements of people are
shown by st.text, and labels are our own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from dashboard import session
from dashboard.components.run_list import ago, one_line
from dashboard.example_queries import ExampleQuery
from dashboard.links import ViewState
from store.records import PastQuery, SavedQuery

_MAX_SQL_CHARS = 140


def example_list(examples: Sequence[ExampleQuery], key: str) -> None:
    """Questions, each a button that asks it."""
    with st.container(key=f"dense-{key}"):
        for index, example in enumerate(examples):
            state = ViewState(q=example.sql)
            _open_button(example.title, ":material/play_arrow:", state, f"{key}-{index}")


def saved_list(queries: Sequence[SavedQuery], now: datetime) -> None:
    """What people saved for everyone."""
    if not queries:
        st.text("Nobody has saved a query yet. Run one, and press Save as….")
    for query in queries:
        link, title = st.columns([1, 5], vertical_alignment="center", gap="small")
        with link:
            state = ViewState(query=query.query_id)
            _open_button("Open", ":material/bookmark:", state, f"saved-{query.query_id}")
        edited = f", edited {ago(query.updated_at, now)}" if query.updated_at else ""
        title.text(f"{query.title}\n{query.created_by}, {ago(query.created_at, now)}{edited}")


def history_list(past: Sequence[PastQuery], now: datetime) -> None:
    """What this person ran, the last first."""
    if not past:
        st.text("Nothing run yet.")
    for index, query in enumerate(past):
        link, sql = st.columns([1.6, 5], vertical_alignment="center", gap="small")
        with link:
            icon = ":material/error:" if query.failure else ":material/history:"
            _open_button(ago(query.ran_at, now), icon, ViewState(q=query.sql), f"past-{index}")
        sql.text("\n".join([one_line(query.sql, _MAX_SQL_CHARS), *_said(query)]))


def _said(query: PastQuery) -> list[str]:
    """What came of it, as far as it is known."""
    if query.failure is not None:
        return [query.failure]
    if query.n_rows is None:
        return []
    return [f"{query.n_rows:,} rows, {query.elapsed_ms or 0:,.0f} ms"]


def _open_button(label: str, icon: str, state: ViewState, key: str) -> None:
    st.button(label, icon=icon, type="tertiary", key=key, on_click=session.show, args=(state,))
