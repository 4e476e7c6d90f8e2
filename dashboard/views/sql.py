"""SQL: one read-only query over everything stored; query and chart are in the link."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.chart_form import chart_form
from dashboard.components.copy_link import copy_link
from dashboard.components.elsewhere import elsewhere
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.query_shelf import example_list, history_list, saved_list
from dashboard.components.result_table import result_downloads, result_figures, result_table
from dashboard.components.snapshot_panel import snapshot_panel
from dashboard.components.sql_editor import Asked, asked, sql_editor
from dashboard.example_queries import load_example_queries
from dashboard.links import ParsedLink, Show, ViewState
from dashboard.query_jobs import TIMEOUT_S, QueryJobView
from dashboard.result_chart import choose
from dashboard.secrets_file import secret_names
from dashboard.services import Services, get_services
from dashboard.shared_link import tell_changes
from store.errors import QueryNotFoundError, StateNotFoundError, StoreError
from store.queries import MAX_TITLE_CHARS
from store.records import PastQuery, SavedQuery
from store.sandbox import QueryResult

EDITOR = "editor"
POLL_S = 0.3
QUICK_S = 0.25
N_PAST = 50
EXPLAIN = "EXPLAIN "


def read_link(services: Services) -> ParsedLink:
    """The link as understood, with what its short id stands for."""
    link = session.read_link()
    try:
        return services.get_link(link)
    except StateNotFoundError as error:
        return ParsedLink(ViewState(), (*link.problems, error.message))


def go(services: Services, state: ViewState) -> ViewState:
    """Makes the address that of a state; a long one goes under a short id."""
    session.show(services.short_state("sql", state))
    return state


def find_saved(services: Services, state: ViewState) -> SavedQuery | None:
    """The saved query that the link names."""
    if state.query is None:
        return None
    try:
        return services.queries.get_query(state.query)
    except QueryNotFoundError as error:
        notice("warning", error.message, error.hint)
        return None


def answer(
    services: Services, state: ViewState, event: Asked, saved: SavedQuery | None
) -> ViewState:
    """Does what the editor asked for; returns what the page shows then."""
    sql = event.sql.strip()
    q = None if saved is not None and sql == saved.sql else (sql or None)
    now = replace(state, q=q, at=None, state=None)
    if event.action == "update" and saved is not None:
        services.queries.update_query(saved.query_id, saved.title, sql, session.user_name())
        return go(services, replace(now, q=None))
    if event.action == "save":
        save_dialog(services, sql)
        return state
    session.forget_query()
    show = "plan" if event.action == "explain" else (None if state.show == "plan" else state.show)
    return go(services, replace(now, show=show))


@st.dialog("Save this query for everyone")
def save_dialog(services: Services, sql: str) -> None:
    """Asks for a title; the saved query has a link of its own."""
    with error_boundary():
        title = st.text_input("What does it answer?", max_chars=MAX_TITLE_CHARS, key="save_title")
        st.code(sql, language="sql", wrap_lines=True)
        if st.button("Save", type="primary", icon=":material/bookmark_add:", key="save"):
            saved = services.queries.insert_query(title, sql, session.user_name())
            session.show(ViewState(query=saved.query_id))
            st.rerun()


def get_job(services: Services, sql: str, is_plan: bool) -> QueryJobView | None:
    """The job of the page's statement: this session's, or a new one."""
    statement = sql
    if is_plan and not sql.lstrip().lower().startswith("explain"):
        statement = EXPLAIN + sql
    job = services.query_jobs.find(session.find_query(statement))
    if job is not None:
        return job
    person = session.known_person()

    def note(past: PastQuery) -> None:
        if person is not None and not is_plan:
            with contextlib.suppress(StoreError):  # a history is not worth an error
                services.queries.insert_past_query(person, past)

    if person is None and not is_plan:
        session.remember_past_query(PastQuery(sql, None, None, False, None, datetime.now(UTC)))
    job_id = services.query_jobs.submit(statement, session.client(), on_end=note)
    session.remember_query(statement, job_id)
    services.query_jobs.wait(job_id, QUICK_S)
    return services.query_jobs.find(job_id)


@st.fragment(run_every=POLL_S)
def follow(services: Services, job_id: str) -> None:
    """Draws the running query until it ends; then the whole page shows what came of it."""
    with error_boundary():
        job = services.query_jobs.find(job_id)
        if job is None or not job.is_active:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("Running", color="blue", icon=":material/hourglass_top:")
            st.caption(f"{job.elapsed_s:.1f} s of at most {TIMEOUT_S:.0f} s", width="content")
            if st.button("Cancel", icon=":material/cancel:", key="cancel"):
                services.query_jobs.cancel(job_id)
                st.rerun()
        st.progress(min(1.0, job.elapsed_s / TIMEOUT_S))


def show_shelf(services: Services, state: ViewState) -> None:
    """Examples, saved queries, history, snapshots of the store."""
    now = datetime.now(UTC)
    person = session.known_person()
    # Another query is another shelf: one that is open closes when something is taken from it.
    shown = hash((state.q, state.query))
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        with st.popover(
            "Examples", icon=":material/lightbulb:", type="tertiary", key=f"examples-{shown}"
        ):
            example_list(load_example_queries(), "example")
        saved = services.queries.list_queries()
        with st.popover(
            f"Saved · {len(saved)}", icon=":material/bookmark:", type="tertiary", key="saved"
        ):
            saved_list(saved, now)
        with st.popover(
            "History", icon=":material/history:", type="tertiary", key=f"history-{shown}"
        ):
            if person is None:
                st.caption("Of this browser session: many people share this server's token.")
                past = session.past_queries()
            else:
                st.caption("Yours alone, here and in other browsers.")
                past = services.queries.list_past_queries(person, N_PAST)
            history_list(past, now)
            if past and st.button("Forget all", icon=":material/delete:", key="forget"):
                session.forget_past_queries()
                if person is not None:
                    services.queries.delete_past_queries(person)
                st.rerun()
        latest = services.snapshots.find_latest()
        with st.popover("Snapshot", icon=":material/archive:", type="tertiary", key="snapshot"):
            if latest is not None and latest.is_active:
                follow_snapshot(services)
            else:
                show_snapshot(services)


def show_snapshot(services: Services) -> None:
    """The latest snapshot, and what was pressed there."""
    with error_boundary():
        job = services.snapshots.find_latest()
        pressed = snapshot_panel(job, can_fetch="auth" not in secret_names())
        if pressed == "cancel" and job is not None:
            services.snapshots.cancel(job.job_id)
        elif pressed == "duckdb" or pressed == "parquet":
            services.snapshots.start(pressed, session.user_name())
        if pressed is not None:
            st.rerun()


@st.fragment(run_every=POLL_S)
def follow_snapshot(services: Services) -> None:
    """Draws a snapshot that is being written until it ends."""
    job = services.snapshots.find_latest()
    if job is None or not job.is_active:
        st.rerun()
    show_snapshot(services)


def show_saved(services: Services, saved: SavedQuery, is_edited: bool) -> None:
    """Whose query this is; its author can delete it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("edited copy of" if is_edited else "saved query", icon=":material/bookmark:")
        st.text(saved.title, width="content")
        changed = f", changed {saved.updated_at:%Y-%m-%d %H:%M}" if saved.updated_at else ""
        st.text(
            f"by {saved.created_by}, {saved.created_at:%Y-%m-%d %H:%M}{changed} UTC",
            width="content",
        )
        if saved.created_by == session.user_name():
            with st.popover("Delete", icon=":material/delete:", type="tertiary", key="delete"):
                st.text("Its link will stop working for everyone.")
                if st.button("Delete it", type="primary", key="delete_query"):
                    services.queries.delete_query(saved.query_id, session.user_name())
                    session.show(ViewState(q=saved.sql))
                    st.rerun()


def show_result(services: Services, state: ViewState, job: QueryJobView) -> None:
    """What came of the query."""
    if job.error is not None:
        kind = getattr(job.error, "kind", "")
        if kind == "cancelled":
            notice("info", "The query was cancelled.", "Run it again, or change it.", "Cancelled")
        else:
            notice("error", job.error.message, job.error.hint, title="The query failed")
        return
    result = job.result
    if result is None:
        return
    plan = plan_text(result)
    if plan is not None:
        st.caption(f"The plan, not run · {result.elapsed_ms:,.0f} ms")
        st.code(plan, language=None)
        return
    choice = choose(result.columns, state.mark, state.x, state.y, state.by)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="result_bar"):
        shown = st.segmented_control(
            "Show",
            ["Table", "Chart"],
            default="Chart" if state.show == "chart" else "Table",
            label_visibility="collapsed",
            key=f"show-{job.job_id}-{state.show}",
        )
        result_figures(result, job.asked_at)
        result_downloads(result)
        with st.popover("Elsewhere", icon=":material/code:", type="tertiary", key="elsewhere"):
            address = urlsplit(st.context.url or "")
            elsewhere(f"{address.scheme}://{address.netloc}", urlencode({"q": job.sql}))
    wanted: Show | None = "chart" if shown == "Chart" else None
    if wanted != state.show:
        go(services, replace(state, show=wanted, at=None))
        st.rerun()
    if wanted is None:
        result_table(result, services.find_only_source(), key=f"table-{job.job_id}")
    elif choice is None:
        st.text("A chart needs a column of numbers, and this result has none.")
    else:
        chosen = chart_form(result, choice, key=job.job_id)
        if chosen != choice:
            go(
                services,
                replace(state, mark=chosen.mark, x=chosen.x, y=chosen.y, by=chosen.by, at=None),
            )
            st.rerun()


def plan_text(result: QueryResult) -> str | None:
    """The plans of an EXPLAIN as text; None for the rows of any other query."""
    if [column.name for column in result.columns] != ["explain_key", "explain_value"]:
        return None
    return "\n".join(str(text) for _, text in result.rows)


services = get_services()
link = read_link(services)
place = page_header("What does the store say?", None, services.engine.status(), link.problems)
state = link.state
saved = find_saved(services, state)
event = asked(EDITOR)
if event is not None:
    with error_boundary():
        state = answer(services, state, event, saved)
        saved = find_saved(services, state)
sql = state.q or (saved.sql if saved else "")
show_shelf(services, state)
job = None
problem = None
if sql:
    try:
        job = get_job(services, sql, state.show == "plan")
    except StoreError as error:
        problem = error
is_updatable = saved is not None and sql != saved.sql and saved.created_by == session.user_name()
with place:
    copied = replace(state, at=job.asked_at) if job is not None else ViewState(q=sql or None)
    copy_link(services.short_path("sql", copied), key="copy_link")
sql_editor(
    sql,
    services.get_views(),
    key=EDITOR,
    on_ask=lambda: None,
    is_updatable=is_updatable,
)
if saved is not None:
    show_saved(services, saved, is_edited=sql != saved.sql)
with error_boundary():
    tell_changes(services, state)
    if problem is not None:
        notice("error", problem.message, problem.hint)
    elif job is None:
        st.text("Type one query over the views beside the editor, or take a question:")
        example_list(load_example_queries(), "question")
    elif job.is_active:
        follow(services, job.job_id)
    else:
        show_result(services, state, job)
