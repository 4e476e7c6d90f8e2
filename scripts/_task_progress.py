"""A task of the engine followed to its end, with progress where a person is looking."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from engine.api import Engine, TaskView

_POLL_S = 0.2


def follow(engine: Engine, view: TaskView) -> TaskView:
    """Waits for the task; progress goes to standard error, and only to a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        shown = bar.add_task(view.title, total=None)
        while view.is_active:
            view = engine.tasks.wait(view.task_id, timeout_s=_POLL_S)
            described = f"{view.title}: {view.note}" if view.note else view.title
            bar.update(
                shown, completed=view.n_done, total=view.n_total or None, description=described
            )
    return view
