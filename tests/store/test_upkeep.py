"""Work in the background: one thread, nothing forgotten, ended with the store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from store.errors import StoreError
from store.upkeep import Upkeep


def test_what_is_asked_for_while_it_works_is_done_after_it() -> None:
    upkeep, begun, go_on = Upkeep(), threading.Event(), threading.Event()
    done: list[str] = []

    def work(_is_stopped: Callable[[], bool]) -> None:
        begun.set()
        assert go_on.wait(10)
        done.append(threading.current_thread().name)

    upkeep.request(work)
    assert begun.wait(10)
    for _ in range(5):
        upkeep.request(work)
    go_on.set()
    upkeep.wait(10)
    assert done == ["store-upkeep"] * 2
    upkeep.request(work)
    upkeep.wait(10)
    assert len(done) == 3
    upkeep.close()


def test_work_that_fails_is_told_and_the_next_is_done(caplog: pytest.LogCaptureFixture) -> None:
    upkeep, done = Upkeep(), threading.Event()

    def fail(_is_stopped: Callable[[], bool]) -> None:
        raise StoreError("The disk is full.")

    upkeep.request(fail)
    upkeep.wait(10)
    assert "The disk is full." in caplog.text
    upkeep.request(lambda _is_stopped: done.set())
    upkeep.wait(10)
    assert done.is_set()
    upkeep.close()


def test_closing_stops_what_is_under_way_and_begins_nothing() -> None:
    upkeep, begun, again = Upkeep(), threading.Event(), threading.Event()

    def work(is_stopped: Callable[[], bool]) -> None:
        begun.set()
        while not is_stopped():
            pass

    upkeep.request(work)
    assert begun.wait(10)
    upkeep.close()
    upkeep.close()
    upkeep.request(lambda _is_stopped: again.set())
    upkeep.wait(10)
    assert not again.is_set()
