"""Long work in the background: it ends, tells, joins equal work, and stops when asked."""

from __future__ import annotations

import threading

import pytest

from engine.errors import EngineError, RequestError, TaskNotFoundError
from engine.tasks import TaskProgress, TaskResult, Tasks


def test_a_task_tells_its_progress_and_its_result() -> None:
    tasks, told, go_on = Tasks(), threading.Event(), threading.Event()

    def work(progress: TaskProgress) -> TaskResult:
        progress.tell(3, 10, "begins where it stopped")
        progress.tell(5, 10, "half")
        told.set()
        assert go_on.wait(10)
        return {"made": "x"}

    started = tasks.start("sweep", "one", "A sweep", "ann", work)
    assert told.wait(10)
    view = tasks.task(started.task_id)
    assert (view.state, view.n_done, view.n_total, view.note) == ("running", 5, 10, "half")
    assert view.left_s is not None
    go_on.set()
    ended = tasks.wait(started.task_id, 10)
    assert (ended.state, ended.result, ended.failure) == ("done", {"made": "x"}, None)
    assert tasks.tasks("sweep") == (tasks.task(started.task_id),)
    assert tasks.tasks("other") == ()


def test_equal_work_under_way_is_joined_and_other_work_is_not() -> None:
    tasks, go_on = Tasks(), threading.Event()

    def work(_progress: TaskProgress) -> TaskResult:
        assert go_on.wait(10)
        return {}

    first = tasks.start("fill", "a", "A", "ann", work)
    assert tasks.start("fill", "a", "A", "bob", work).task_id == first.task_id
    assert tasks.start("fill", "b", "B", "bob", work).task_id != first.task_id
    go_on.set()
    tasks.wait(first.task_id, 10)
    assert tasks.start("fill", "a", "A", "ann", work).task_id != first.task_id
    tasks.close()


def test_a_cancelled_task_stops_at_its_next_word() -> None:
    tasks, begun = Tasks(), threading.Event()

    def work(progress: TaskProgress) -> TaskResult:
        begun.set()
        while True:
            progress.tell(0, 0)

    task = tasks.start("fill", "a", "A", "ann", work)
    assert begun.wait(10)
    tasks.cancel(task.task_id)
    assert tasks.wait(task.task_id, 10).state == "cancelled"


def test_a_fault_is_kept_as_the_failure_of_the_task() -> None:
    tasks = Tasks()

    def refuse(_progress: TaskProgress) -> TaskResult:
        raise RequestError("The set is empty.", "Import one.")

    def break_down(_progress: TaskProgress) -> TaskResult:
        raise ZeroDivisionError("by zero")

    refused = tasks.wait(tasks.start("fill", "a", "A", "ann", refuse).task_id, 10)
    assert refused.state == "failed"
    assert refused.failure is not None
    assert (refused.failure.message, refused.failure.hint) == ("The set is empty.", "Import one.")
    broken = tasks.wait(tasks.start("fill", "b", "B", "ann", break_down).task_id, 10)
    assert broken.failure is not None
    assert "ZeroDivisionError" in broken.failure.message


def test_closing_stops_what_runs_and_takes_no_more() -> None:
    tasks = Tasks()

    def work(progress: TaskProgress) -> TaskResult:
        while True:
            progress.check()

    task = tasks.start("fill", "a", "A", "ann", work)
    tasks.close()
    assert tasks.task(task.task_id).state == "cancelled"
    with pytest.raises(EngineError, match="stopping"):
        tasks.start("fill", "a", "A", "ann", work)
    with pytest.raises(TaskNotFoundError):
        tasks.task("nobody")
