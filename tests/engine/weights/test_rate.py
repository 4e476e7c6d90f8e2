"""What is told of a transfer's speed: seldom enough, of the last seconds, and at last."""

from __future__ import annotations

import pytest

from engine.weights.parts import TransferProgress
from engine.weights.rate import Meter


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _meter(clock: _Clock, told: list[TransferProgress], total: int = 10_000) -> Meter:
    return Meter("downloading", 2, total, told.append, clock)


def test_bytes_are_told_a_few_times_a_second_and_files_at_once(clock: _Clock) -> None:
    told: list[TransferProgress] = []
    meter = _meter(clock, told)
    for _ in range(1000):
        clock.now += 0.001
        meter.add(1)
    assert 4 <= len(told) <= 7
    n_told = len(told)
    meter.add(n_files=1, current="a")
    assert len(told) == n_told + 1
    assert (told[-1].files_done, told[-1].bytes_done, told[-1].current) == (1, 1000, "a")


def test_the_rate_is_that_of_the_last_seconds_and_gives_the_time_left(clock: _Clock) -> None:
    told: list[TransferProgress] = []
    meter = _meter(clock, told)
    meter.set(0, 0)
    clock.now = 5.0
    meter.set(0, 0)
    assert (told[-1].bytes_per_s, told[-1].left_s) == (0.0, None)
    for second in range(1, 5):
        clock.now = 5.0 + second
        meter.set(0, 1000 * second)
    # Waiting for the first byte does not count.
    assert told[-1].bytes_per_s == pytest.approx(1000)
    assert told[-1].left_s == pytest.approx(6.0)
    for second in range(5, 20):
        clock.now = 5.0 + second
        meter.set(0, 4000 + 100 * (second - 4))
    assert told[-1].bytes_per_s == pytest.approx(100)


def test_what_was_here_before_is_no_speed_and_taking_bytes_back_starts_anew(clock: _Clock) -> None:
    told: list[TransferProgress] = []
    meter = _meter(clock, told)
    meter.set(1, 8000)
    clock.now = 2.0
    meter.set(1, 8200)
    assert told[-1].bytes_per_s == pytest.approx(100)
    clock.now = 3.0
    meter.set(1, 8000)
    assert told[-1].bytes_per_s == 0.0


def test_no_more_than_all_is_told(clock: _Clock) -> None:
    told: list[TransferProgress] = []
    meter = _meter(clock, told, total=100)
    meter.set(3, 170)
    meter.report()
    assert (told[-1].files_done, told[-1].bytes_done, told[-1].left_s) == (2, 100, 0.0)
