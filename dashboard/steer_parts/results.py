"""Both answers of the page Steer: while they are computed, and what came of them.

Invariant: nothing is computed on the script thread; stored runs are shown without any model.
"""

from __future__ import annotations

import json
from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.answer_pairs import count_differing, pair_answers
from dashboard.components.achieved_table import achieved_table
from dashboard.components.answer_pair import answer_pair
from dashboard.components.boundary import error_boundary
from dashboard.components.job_progress import job_progress
from dashboard.components.notice import notice
from dashboard.components.run_badge import run_badge
from dashboard.links import ViewState, to_params
from dashboard.run_view import RunView
from dashboard.steer_parts.asking import find_view
from dashboard.steer_parts.page import SteerPage
from engine.api import CrossReading, JobView
from engine.errors import JobNotFoundError, TaskNotFoundError
from store.errors import RunNotFoundError

_POLL_S = 0.4
_NAMES = ("Plain", "Steered")


def show_results(page: SteerPage) -> None:
    """Draws both answers of the link, or says that there are none yet."""
    state = page.state
    job = _find_job(page, state.job)
    plain_job = _find_job(page, session.find_pair(state.job)) if state.job else None
    if any(item is not None and item.is_active for item in (job, plain_job)):
        _follow(page, state.job or "")
        return
    # which runs they are may not have been known when they were asked
    run = state.run or (job.run_key if job and job.state == "done" else None)
    other = state.other or (plain_job.run_key if plain_job and plain_job.state == "done" else None)
    if (run, other) != (state.run, state.other):
        page.go(replace(state, run=run, other=other))
    if run is None and other is None and job is None:
        return
    steered, plain = find_view(page, run), find_view(page, other)
    for column, name, view, done in zip(
        st.columns(2, gap="small"), _NAMES, (plain, steered), (plain_job, job), strict=True
    ):
        with column:
            _show_answer(name, view, done)
    if steered is None:
        return
    if plain is not None and plain.run.run_key != steered.run.run_key:
        _show_pair(page, plain, steered)
    _show_achieved(page, steered)


@st.fragment(run_every=_POLL_S)
def _follow(page: SteerPage, job_id: str) -> None:
    """Draws both jobs until they end; then the whole page shows what came of them."""
    with error_boundary():
        engine = page.services.engine
        jobs = (_find_job(page, session.find_pair(job_id)), _find_job(page, job_id))
        if not any(job is not None and job.is_active for job in jobs):
            st.rerun()
        for column, name, job in zip(st.columns(2, gap="small"), _NAMES, jobs, strict=True):
            with column:
                st.markdown(f"**{name}**")
                if job is None or not job.is_active:
                    st.code(_said(page, job), language=None, wrap_lines=True)
                elif job_progress(job, key=f"cancel-{name}"):
                    for item in jobs:
                        if item is not None and item.is_active:
                            engine.cancel(item.job_id)
                    st.rerun()


def _show_answer(name: str, view: RunView | None, job: JobView | None) -> None:
    st.markdown(f"**{name}**")
    if view is None:
        _show_missing(name, job)
        return
    run_badge(view.run, job is not None and job.state == "done" and not job.memoized)
    st.code(view.run.response or " ", language=None, wrap_lines=True)
    st.page_link(
        "views/ask.py",
        label=f"Features of the {name.lower()} answer, token by token",
        icon=":material/arrow_forward:",
        query_params=to_params(ViewState(run=view.run.run_key)),
    )


def _show_missing(name: str, job: JobView | None) -> None:
    if job is not None and job.failure is not None:
        notice("error", job.failure.message, job.failure.hint, title="The run failed")
    elif job is not None and job.state == "cancelled":
        notice("info", "It was cancelled; nothing of it is stored.", title="Cancelled")
    else:
        st.text(f"The {name.lower()} answer is not in the link. Press Run both to have it beside.")


def _show_pair(page: SteerPage, plain: RunView, steered: RunView) -> None:
    keys = plain.run.run_key, steered.run.run_key
    try:
        found = page.services.engine.features.compare_runs(*keys, limit=0)
    except RunNotFoundError:
        return
    across = page.services.engine.steering.across.find(*keys)
    cells = pair_answers(plain, steered, found.blocks, across)
    n_differing, n_cells = count_differing(cells)
    if n_differing:
        st.text(f"{n_differing} of {n_cells} tokens differ{page.toy}.")
    else:
        st.text(f"Steering changed no token of the answer{page.toy}.")
    answer_pair(cells, across is not None, key="answer_pair")
    if across is None:
        _measure_across(page, keys)


def _measure_across(page: SteerPage, keys: tuple[str, str]) -> CrossReading | None:
    """Reads both answers under the other's steering: by itself where the model is loaded."""
    engine = page.services.engine
    name = "across-" + "-".join(keys)
    task_id = session.find_pair(name)
    try:
        task = engine.tasks.task(task_id) if task_id else None
    except TaskNotFoundError:
        task = None
    is_loaded = engine.status().source == page.source.name and engine.status().state != "error"
    if task is None:
        help_text = "Reads both answers once more, each with the interventions of the other."
        if not is_loaded and not st.button(
            "Measure each token under the other's steering", key="across", help=help_text
        ):
            st.caption("How likely each token is under the other's steering needs the model.")
            return None
        task = engine.steering.across.start(*keys, session.user_name())
        session.remember_pair(name, task.task_id)
    if page.follow(task):
        session.remember_pair(name, "")
        st.rerun()
    return None


def _show_achieved(page: SteerPage, steered: RunView) -> None:
    rows = page.services.run_interventions.list_interventions(steered.run.run_key)
    if not rows:
        return
    st.markdown("**What each intervention asked for, and achieved**")
    names = [
        f"feature {row.feature}" if row.feature is not None else f"vector {row.vector_id}"
        for row in rows
    ]
    achieved_table(rows, names, page.source.is_toy)
    n = len(json.loads(steered.run.steering))
    if n > 1:
        st.caption("Several at one place are summed, so that one may achieve more than it asked.")


def _find_job(page: SteerPage, job_id: str | None) -> JobView | None:
    if not job_id:
        return None
    try:
        return page.services.engine.job(job_id)
    except JobNotFoundError:
        return None


def _said(page: SteerPage, job: JobView | None) -> str:
    """The answer of a job that has ended, while the other one goes on."""
    view = find_view(page, job.run_key) if job is not None and job.state == "done" else None
    return view.run.response if view is not None else " "
