"""What a measurement gives: named sides with their medians, ratios between them, and aims.

Invariant: a figure is always measured beside what it is compared with, in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name, and the median and spread of its repetitions."""

    name: str
    median: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sides measured in one run.

    Attributes:
        ratio: of the sides' medians, as `ratio_of` says, or None where only an aim is set.
        aim: what is to be reached, in words.
        is_reached: whether it was.
    """

    title: str
    sides: tuple[Side, ...]
    ratio: float | None
    ratio_of: str
    aim: str
    is_reached: bool


def to_side(name: str, samples: Sequence[float], unit: str) -> Side:
    """Median, smallest and largest of the samples."""
    return Side(name, statistics.median(samples), min(samples), max(samples), unit)


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def alternate(
    actions: Sequence[Callable[[], object]], repeats: int
) -> tuple[tuple[float, ...], ...]:
    """Seconds of each action, taken in turns so that drift of the machine hits all alike."""
    for action in actions:
        action()
    rounds = [[seconds(action) for action in actions] for _ in range(repeats)]
    return tuple(zip(*rounds, strict=True))
