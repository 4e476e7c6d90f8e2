"""What is under way for a page about features: its task, its job, the way to another state.

Invariant: a link's task is only followed where it is of the kind that the page is about.
"""

from __future__ import annotations

from functools import partial
from typing import NoReturn

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.job_progress import job_progress
from dashboard.components.task_progress import follow_task
from dashboard.links import ViewState
from dashboard.services import Services
from engine.api import TaskView

POLL_S = 0.5


def go(state: ViewState) -> NoReturn:
    """Makes the address that of a state, and draws the page anew."""
    session.show(state)
    st.rerun()


def find_task(services: Services, state: ViewState, kind: str) -> TaskView | None:
    """The link's task if it is of this kind, else one of this kind that is under way."""
    named = services.find_task(state.task)
    if named is not None and named.kind == kind:
        return named
    return next((item for item in services.engine.tasks.tasks(kind) if item.is_active), None)


def follow(services: Services, task: TaskView, key: str) -> None:
    """Draws a task that is under way until it ends; it can be cancelled."""
    follow_task(
        partial(services.find_task, task.task_id),
        partial(services.engine.tasks.cancel, task.task_id),
        key,
    )


@st.fragment(run_every=POLL_S)
def follow_text(services: Services, job_id: str) -> None:
    """Draws the reading of a text until it ends."""
    with error_boundary():
        job = services.find_job(job_id)
        if job is None or not job.is_active:
            st.rerun()
        elif job_progress(job, key="cancel_text"):
            services.engine.cancel(job_id)
            st.rerun()
