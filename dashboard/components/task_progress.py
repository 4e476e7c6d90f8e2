"""Long work while it runs and after: what is done and left, cancel, or what failed.

Invariant: draws one TaskView at a time; it polls only through what it is given, and only while the
task is active. Titles and notes of tasks may quote people, so they go through st.text.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.components.boundary import error_boundary
from dashboard.components.notice import notice
from dashboard.components.run_badge import duration
from engine.api import TaskView

POLL_S = 0.5


def task_progress(task: TaskView, key: str, on_cancel: Callable[[], object]) -> None:
    """Draws a task that is under way; its button calls `on_cancel` and draws the page again."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("Working", color="blue", icon=":material/hourglass_top:")
        st.text(task.title, width="content")
        st.caption(f"asked by {task.asked_by}, {duration(task.elapsed_s)} ago", width="content")
        if st.button("Cancel", icon=":material/cancel:", key=f"cancel-{key}"):
            on_cancel()
            st.rerun()
    share = min(1.0, task.n_done / task.n_total) if task.n_total else 0.0
    st.progress(share, text=_words(task))


@st.fragment(run_every=POLL_S)
def follow_task(
    find: Callable[[], TaskView | None], on_cancel: Callable[[], object], key: str
) -> None:
    """Draws a task anew until it ends; then the whole page is drawn with what came of it.

    Args:
        find: the task now; None once nothing is known of it. Call this only for an active task.
    """
    with error_boundary():
        task = find()
        if task is None or not task.is_active:
            st.rerun()
        else:
            task_progress(task, key, on_cancel)


def task_end(task: TaskView, key: str) -> bool:
    """Draws a task that was cancelled or has failed; True if it is wanted again.

    A task that is done draws nothing: the page shows what came of it.
    """
    if task.state not in ("cancelled", "failed"):
        return False
    if task.state == "cancelled":
        done = f" {task.n_done:,} of {task.n_total:,} were done." if task.n_total else ""
        notice(
            "info",
            f"{task.title}: cancelled.{done}",
            "What was finished is kept; started again, it goes on from there.",
            title="Cancelled",
        )
    else:
        failure = task.failure
        notice(
            "error",
            f"{task.title}: {failure.message}" if failure else f"{task.title} failed.",
            failure.hint if failure else "Start it again.",
            title="Failed",
        )
    return st.button("Start again", icon=":material/replay:", key=f"again-{key}")


def _words(task: TaskView) -> str:
    """Our own figures, then the task's note; Markdown's signs in the note are taken as text."""
    parts = []
    if task.n_total:
        parts.append(f"{task.n_done:,} of {task.n_total:,}")
    if task.left_s is not None:
        parts.append(f"about {duration(task.left_s)} left")
    if task.note:
        parts.append(_plain(task.note))
    return " · ".join(parts) or "Starting"


def _plain(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|~$:" else sign for sign in text)
