"""The first look: an offer to prepare a toy source, or how far that is.

Invariant: draws what it is given; the task is begun and cancelled by the page.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.components.task_progress import follow_task, task_end
from engine.api import TaskView


def preparation_panel(
    find: Callable[[], TaskView | None],
    is_empty: bool,
    on_start: Callable[[], object],
    on_cancel: Callable[[TaskView], object],
) -> None:
    """Draws the preparation that is under way, what ended it, or the offer to begin.

    Args:
        find: the newest preparation; None where there was none.
        is_empty: whether nothing is stored yet, so that it is worth offering.
    """
    task = find()
    if task is not None and task.is_active:
        follow_task(find, lambda: on_cancel(task), key="preparation")
        return
    wants_again = task is not None and task_end(task, key="preparation")
    offered = is_empty and task is None
    if offered:
        st.text(
            "Nothing is stored yet. The demo can be asked some hundred questions, its features "
            "labelled, and detectors trained: a few minutes, in the background."
        )
    if wants_again or (offered and st.button("Prepare the demo", icon=":material/auto_awesome:")):
        on_start()
        st.rerun()
