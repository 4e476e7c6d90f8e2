"""Long work in the background: one thread a task, progress that can be read, cancel that is heeded.

Invariant: a task that was started always ends, in `done`, `failed` or `cancelled`; equal work that
is under way is joined, not begun twice. A task keeps what it has finished in the store as it goes,
so that the same work asked again resumes where it stopped. Nothing here knows what a task does.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from engine.errors import EngineError, GenerationCancelled, TaskNotFoundError
from engine.jobs import JobFailure, to_failure, to_unexpected_failure
from store.errors import StoreError

TaskState = Literal["running", "done", "failed", "cancelled"]
TaskResult = Mapping[str, str | int | float | bool | None]
"""What a task says at its end: a few plain values, such as the id of what it made."""

_TASKS_KEPT = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task at one moment; plain data, safe to keep and to show.

    Attributes:
        kind: what sort of work, such as `sweep`; title: what it is about, for people.
        n_done, n_total: units finished, and in all; n_total is 0 while that is not known.
        note: what it is doing now, a few words.
        left_s: seconds that are left at the pace so far; None while that cannot be told.
        result: set in the state `done`.
        failure: set in the state `failed`.
    """

    task_id: str
    kind: str
    title: str
    state: TaskState
    n_done: int
    n_total: int
    note: str
    asked_by: str
    started_at: datetime
    elapsed_s: float
    left_s: float | None
    result: TaskResult
    failure: JobFailure | None

    @property
    def is_active(self) -> bool:
        """Whether the task may still change."""
        return self.state == "running"


class TaskProgress:
    """Where a task tells how far it is, and learns that it is to stop. Made by `Tasks` alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._n_done, self._n_total, self._note = 0, 0, ""
        self._first: tuple[float, int] | None = None

    def tell(self, n_done: int, n_total: int, note: str = "") -> None:
        """Notes progress, and ends the task here if it was cancelled.

        Units that were stored before, told in the first call, do not count for the pace.

        Raises:
            GenerationCancelled: if the task was cancelled; let it pass.
        """
        with self._lock:
            if self._first is None:
                self._first = time.monotonic(), n_done
            self._n_done, self._n_total, self._note = n_done, n_total, note
        self.check()

    def check(self) -> None:
        """Ends the task here if it was cancelled.

        Raises:
            GenerationCancelled: if so; let it pass.
        """
        if self.is_cancelled():
            raise GenerationCancelled

    def is_cancelled(self) -> bool:
        """Whether the task should stop as soon as it can."""
        return self._stopping.is_set()

    def cancel(self) -> None:
        """Asks the task to stop."""
        self._stopping.set()

    def read(self) -> tuple[int, int, str, float | None]:
        """n_done, n_total, note and left_s at this moment."""
        with self._lock:
            left_s = None
            if self._first is not None and self._n_total:
                began, at_first = self._first
                n_new = self._n_done - at_first
                if n_new > 0:
                    pace_s = (time.monotonic() - began) / n_new
                    left_s = max(self._n_total - self._n_done, 0) * pace_s
            return self._n_done, self._n_total, self._note, left_s


@dataclass(slots=True, eq=False)
class _Task:
    kind: str
    key: str
    title: str
    asked_by: str
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    progress: TaskProgress = field(default_factory=TaskProgress)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    state: TaskState = "running"
    result: TaskResult = field(default_factory=dict)
    failure: JobFailure | None = None
    finished: threading.Event = field(default_factory=threading.Event)


class Tasks:
    """The tasks of one engine. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._lock = threading.Lock()
        self._closing = False

    def start(
        self,
        kind: str,
        key: str,
        title: str,
        asked_by: str,
        do: Callable[[TaskProgress], TaskResult],
    ) -> TaskView:
        """Begins a task, or joins the one of this kind and key that is under way.

        Args:
            kind: what sort of work.
            key: what tells equal work; two tasks of one kind and key never run at once.
            title: what it is about, for people.
            asked_by: who asks.
            do: does the work on a thread of its own; it calls `tell` often.

        Raises:
            EngineError: if the server is stopping.
        """
        with self._lock:
            if self._closing:
                raise EngineError("The server is stopping.", "Ask again once it is back.")
            for task in self._tasks.values():
                is_equal = (task.kind, task.key) == (kind, key)
                if is_equal and task.state == "running" and not task.progress.is_cancelled():
                    return self._view(task)
            task = _Task(kind, key, title, asked_by)
            self._tasks[task.task_id] = task
            self._forget_old()
        name = f"task-{kind}"
        threading.Thread(target=self._run, args=(task, do), name=name, daemon=True).start()
        return self._view(task)

    def task(self, task_id: str) -> TaskView:
        """The task now.

        Raises:
            TaskNotFoundError: if this server has no such task.
        """
        return self._view(self._task(task_id))

    def tasks(self, kind: str | None = None) -> tuple[TaskView, ...]:
        """Tasks of this server, newest first."""
        with self._lock:
            found = [task for task in self._tasks.values() if kind in (None, task.kind)]
        return tuple(self._view(task) for task in reversed(found))

    def cancel(self, task_id: str) -> TaskView:
        """Asks a task to stop; what it has finished stays.

        Raises:
            TaskNotFoundError: if this server has no such task.
        """
        task = self._task(task_id)
        task.progress.cancel()
        return self._view(task)

    def wait(self, task_id: str, timeout_s: float | None = None) -> TaskView:
        """Blocks until the task has ended, or timeout_s have passed; never on a page.

        Raises:
            TaskNotFoundError: if this server has no such task.
        """
        task = self._task(task_id)
        task.finished.wait(timeout_s)
        return self._view(task)

    def close(self, timeout_s: float = 30.0) -> None:
        """Asks all tasks to stop, and waits for them. Idempotent."""
        with self._lock:
            self._closing = True
            running = [task for task in self._tasks.values() if task.state == "running"]
        for task in running:
            task.progress.cancel()
        deadline = time.monotonic() + timeout_s
        for task in running:
            task.finished.wait(max(deadline - time.monotonic(), 0.0))

    def _run(self, task: _Task, do: Callable[[TaskProgress], TaskResult]) -> None:
        state: TaskState = "failed"
        try:
            task.result = dict(do(task.progress))
            state = "done"
        except GenerationCancelled:
            state = "cancelled"
        except (EngineError, StoreError) as error:
            task.failure = to_failure(error)
        except Exception as error:  # noqa: BLE001 - no fault of a task may be lost
            _log.exception("A task of kind %s failed.", task.kind)
            task.failure = to_unexpected_failure(error)
        finally:
            task.ended = time.monotonic()
            task.state = state
            task.finished.set()

    def _task(self, task_id: str) -> _Task:
        with self._lock:
            if task_id not in self._tasks:
                raise TaskNotFoundError(task_id)
            return self._tasks[task_id]

    def _forget_old(self) -> None:
        ended = [item for item in self._tasks.values() if item.state != "running"]
        for task in ended[: max(len(self._tasks) - _TASKS_KEPT, 0)]:
            del self._tasks[task.task_id]

    def _view(self, task: _Task) -> TaskView:
        n_done, n_total, note, left_s = task.progress.read()
        state = task.state
        return TaskView(
            task_id=task.task_id,
            kind=task.kind,
            title=task.title,
            state=state,
            n_done=n_done,
            n_total=n_total,
            note=note,
            asked_by=task.asked_by,
            started_at=task.started_at,
            elapsed_s=(task.ended or time.monotonic()) - task.began,
            left_s=left_s if state == "running" else None,
            result=task.result,
            failure=task.failure,
        )
