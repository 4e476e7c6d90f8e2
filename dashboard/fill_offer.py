"""What a page offers where a source has left nothing in the store yet: to ask it questions.

Invariant: nothing is asked before the button is pressed; what is under way goes on whatever page is
open, and every page finds it again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from dashboard import session
from dashboard.components.notice import notice
from dashboard.components.task_progress import follow_task, task_end
from dashboard.services import Services
from engine.api import FillRequest, SourceInfo

_SET = "demo"


def fill_offer(services: Services, source: SourceInfo, message: str) -> None:
    """Draws what is missing, and the way to fill it.

    Args:
        message: one sentence: what there is nothing of.
    """
    state = session.view()
    task = services.find_task(state.task)
    if task is None:
        under_way = services.engine.tasks.tasks("fill")
        task = next((item for item in under_way if item.is_active), None)
    if task is not None and task.is_active:
        follow_task(
            partial(services.find_task, task.task_id),
            partial(services.engine.tasks.cancel, task.task_id),
            "fill",
        )
        return
    notice("info", message, title="Nothing stored yet")
    is_again = task is not None and task.kind == "fill" and task_end(task, "fill")
    is_askable = source.is_toy and source.is_ready
    label = "Ask the demo's questions (a few minutes)"
    if is_askable and (is_again or st.button(label, type="primary", key="fill")):
        request = FillRequest(_SET, source.name, asked_by=session.user_name())
        begun = services.engine.confabulation.start_fill(request)
        session.show(replace(state, task=begun.task_id))
        st.rerun()
    st.page_link("views/ask.py", label="Ask a question", icon=":material/chat:")
