"""The shelf above the editor: example queries, those that people saved, and one's own history.

Invariant: lists are given; a line is a link within the session. Titles and statements of people are
shown by st.text and st.code, and link labels are our own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from dashboard.components.run_list import ago, one_line
from dashboard.example_queries import ExampleQuery
from dashboard.links import ViewState, to_params
from store.records import PastQuery, SavedQuery

_MAX_SQL_CHARS = 140


def example_list(examples: Sequence[ExampleQuery]) -> None:
    """Questions, each a link that asks it."""
    for example in examples:
        st.page_link(
            "views/sql.py",
            label=example.title,
            icon=":material/play_arrow:",
            query_params=to_params(ViewState(q=example.sql)),
        )


def saved_list(queries: Sequence[SavedQuery], now: datetime) -> None:
    """What people saved for everyone."""
    if not queries:
        st.text("Nobody has saved a query yet. Run one, and press Save as….")
    for query in queries:
        link, title = st.columns([1, 5], vertical_alignment="center", gap="small")
        link.page_link(
            "views/sql.py",
            label="Open",
            icon=":material/bookmark:",
            query_params=to_params(ViewState(query=query.query_id)),
        )
        edited = f", edited {ago(query.updated_at, now)}" if query.updated_at else ""
        title.text(f"{query.title}\n{query.created_by}, {ago(query.created_at, now)}{edited}")


def history_list(past: Sequence[PastQuery], now: datetime) -> None:
    """What this person ran, the last first."""
    if not past:
        st.text("Nothing run yet.")
    for query in past:
        link, sql = st.columns([1.6, 5], vertical_alignment="center", gap="small")
        link.page_link(
            "views/sql.py",
            label=ago(query.ran_at, now),
            icon=":material/error:" if query.failure else ":material/history:",
            query_params=to_params(ViewState(q=query.sql)),
        )
        sql.text("\n".join([one_line(query.sql, _MAX_SQL_CHARS), *_said(query)]))


def _said(query: PastQuery) -> list[str]:
    """What came of it, as far as it is known."""
    if query.failure is not None:
        return [query.failure]
    if query.n_rows is None:
        return []
    return [f"{query.n_rows:,} rows, {query.elapsed_ms or 0:,.0f} ms"]
