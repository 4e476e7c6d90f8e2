"""How a download or a verification is shown while it runs, on standard error.

Invariant: where a person looks there is one line that moves; elsewhere a line now and then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn

from engine.weights.parts import TransferProgress
from engine.weights.rate import OnProgress

_LINE_EVERY_S = 30.0


@contextmanager
def show_progress() -> Iterator[OnProgress]:
    """Gives what is told of a transfer's progress."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("asking the hub", total=None, text="")

        def show(progress: TransferProgress) -> None:
            bar.update(
                task,
                description=progress.step,
                completed=progress.bytes_done,
                total=progress.bytes_total or None,
                text=describe(progress),
            )

        yield show


def describe(progress: TransferProgress) -> str:
    """Bytes, rate, time left and files, as one reads them."""
    parts = [f"{decimal(progress.bytes_done)} of {decimal(progress.bytes_total)}"]
    if progress.bytes_per_s > 0:
        parts.append(f"{decimal(int(progress.bytes_per_s))}/s")
    if progress.left_s:
        parts.append(f"{_time(progress.left_s)} left")
    parts.append(f"{progress.files_done} of {progress.files_total} files")
    return ", ".join(parts)


class _Lines:
    """Progress for a file or a log: a line every half minute, none for what is quick."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_at = time.monotonic()

    def __call__(self, progress: TransferProgress) -> None:
        now = time.monotonic()
        if now - self._told_at < _LINE_EVERY_S:
            return
        self._told_at = now
        self._console.print(f"{progress.step}: {describe(progress)}", soft_wrap=True, markup=False)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
