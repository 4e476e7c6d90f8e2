"""SQL: one read-only query over everything stored; the query is in the link."""

from __future__ import annotations

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.copy_link import copy_link
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.example_queries import load_example_queries
from dashboard.links import MAX_SQL_CHARS, ViewState, to_params, to_path
from dashboard.services import Services, get_services
from store.formats import to_bytes
from store.sandbox import run_query
from store.schema import list_views

MAX_ROWS = 10_000
TIMEOUT_S = 10.0
MAX_LINK_CHARS = 6_000
FIRST_VIEW = "runs"


def show_result(services: Services, sql: str) -> None:
    """Runs the query and draws its rows."""
    result = run_query(services.store, sql, max_rows=MAX_ROWS, timeout_s=TIMEOUT_S)
    cut = ", cut here" if result.truncated else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(f"{result.n_rows:,} rows{cut}", color="orange" if result.truncated else "green")
        st.caption(f"{result.elapsed_ms:,.0f} ms")
        st.download_button(
            "CSV",
            to_bytes(result, "csv"),
            file_name="featurebook.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    if result.truncated:
        notice(
            "warning", f"Only the first {result.n_rows:,} rows are shown.", "Aggregate, or filter."
        )
    st.dataframe(result.table, hide_index=True)


def show_views(services: Services) -> None:
    """The public views, one at a time, and what its columns mean."""
    views = {view.name: view for view in list_views(services.store)}
    names = list(views)
    chosen = st.selectbox(
        "View",
        names,
        index=names.index(FIRST_VIEW) if FIRST_VIEW in names else 0,
        label_visibility="collapsed",
    )
    view = views[chosen]
    st.caption(view.comment)
    st.dataframe(
        {
            "column": [column.name for column in view.columns],
            "type": [column.type for column in view.columns],
            "meaning": [column.comment for column in view.columns],
        },
        hide_index=True,
        row_height=26,
    )


services = get_services()
link = session.read_link()
place = page_header("What does the store say?", None, services.engine.status(), link.problems)
sql = link.state.q or ""
main, side = st.columns([5, 3], gap="medium")
with main:
    with st.form("query", border=False):
        typed = st.text_area(
            "Query",
            value=sql,
            height=150,
            max_chars=MAX_SQL_CHARS,
            key=f"query-{hash(sql)}",
            placeholder="SELECT prompt, response FROM runs ORDER BY created_at DESC",
            label_visibility="collapsed",
        )
        is_sent = st.form_submit_button("Run", type="primary", icon=":material/play_arrow:")
    if is_sent:
        sql = (typed or "").strip()
        session.show(ViewState(q=sql or None))
with place:
    path = to_path("sql", ViewState(q=sql or None))
    if len(path) <= MAX_LINK_CHARS:
        copy_link(path, key="copy_link")
    else:
        st.caption("This query is too long for a link.")
with side:
    st.caption("Questions to start from")
    for example in load_example_queries():
        st.page_link(
            "views/sql.py",
            label=example.title,
            icon=":material/play_arrow:",
            query_params=to_params(ViewState(q=example.sql)),
        )
    st.caption("The views, and what their columns mean")
    show_views(services)
with main, error_boundary():
    if sql:
        show_result(services, sql)
    else:
        st.text("Type one query over the views on this page, or take a question from the list.")
