"""What the parts of the page Steer share: services, link, source, and how they go elsewhere.

Invariant: the link is changed here alone, and a link that is too long goes under a short id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard import session
from dashboard.components.task_progress import follow_task, task_end
from dashboard.links import ViewState, to_params
from dashboard.services import Services
from dashboard.steer_charts import profile_charts
from engine.api import LayerRow, SourceInfo, TaskView
from engine.errors import TaskNotFoundError
from store.steering_records import Vector

PAGE = "steer"


@dataclass(frozen=True, slots=True)
class SteerPage:
    """One drawing of the page.

    Attributes:
        state: as the link says it.
        source: whose model is steered.
    """

    services: Services
    state: ViewState
    source: SourceInfo
    sources: tuple[SourceInfo, ...]

    @property
    def toy(self) -> str:
        """What stands beside every number of a toy."""
        return " (toy)" if self.source.is_toy else ""

    def go(self, state: ViewState) -> None:
        """Makes the address that of a state, and draws the page anew."""
        self.show(state)
        st.rerun()

    def show(self, state: ViewState) -> None:
        """Makes the address that of a state."""
        session.show(self.services.short_state(PAGE, state))

    def params(self, state: ViewState) -> dict[str, str]:
        """Parameters of a link to a state of this page."""
        return to_params(self.services.short_state(PAGE, state))

    def task(self, kinds: Sequence[str]) -> TaskView | None:
        """The link's task, if this server still has it and it is of one of these kinds."""
        if self.state.task is None:
            return None
        try:
            task = self.services.engine.tasks.task(self.state.task)
        except TaskNotFoundError:
            return None
        return task if task.kind in kinds else None

    def follow(self, task: TaskView) -> bool:
        """Draws a task under way, or how it ended; True if it is wanted again."""
        tasks = self.services.engine.tasks

        def find() -> TaskView | None:
            try:
                return tasks.task(task.task_id)
            except TaskNotFoundError:
                return None

        if task.is_active:
            follow_task(find, lambda: tasks.cancel(task.task_id), key=task.kind)
            return False
        return task_end(task, key=task.kind)


def show_profile(rows: tuple[LayerRow, ...]) -> None:
    """What the pairs of a concept say of each layer, as three charts."""
    charts = profile_charts(rows)
    for cell, chart in zip(st.columns(len(charts), gap="small"), charts, strict=True):
        cell.altair_chart(chart, width="stretch")


def vector_name(vector: Vector) -> str:
    """What a vector is called where it is chosen: its concept and its layer, once."""
    layer = f"layer {vector.layer}"
    name = vector.concept or vector.name.replace(f", {layer}", "")

    return f"{name} · {layer} · vector {vector.vector_id[:4]}"
