"""Work in the background: one thread, nothing forgotten, ended with the store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from store.errors import StoreError
from store.upkeep import Upkeep, beside


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


def test_what_is_done_beside_a_block_has_ended_with_it() -> None:
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        assert begun.wait(10)
        done.set()

    with beside(work):
        begun.set()
    assert done.is_set()


def test_what_fails_beside_a_block_is_told_at_its_end() -> None:
    def fail() -> None:
        raise StoreError("The disk is full.")

    is_through = False
    with pytest.raises(StoreError, match="full"), beside(fail):
        is_through = True
    assert is_through


def test_a_process_that_ends_does_it_before_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr("store.upkeep.ThreadPoolExecutor.submit", refuse)
    done: list[str] = []
    with beside(lambda: done.append("work")):
        done.append("block")
    assert done == ["work", "block"]
