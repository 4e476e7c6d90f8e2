"""Directions against made-up rows whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from engine.concepts.directions import combine, make_direction, overlap, random_directions
from engine.concepts.pairs import PairsError
from engine.errors import RequestError

RNG = np.random.default_rng(5)


def _rows(n: int, shift: float, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positive and negative rows that differ by `shift` along a direction, which comes too."""
    true = RNG.standard_normal(32)
    true /= np.linalg.norm(true)
    base = RNG.standard_normal((n, 32))
    positive = base + shift * true + noise * RNG.standard_normal((n, 32))
    return positive.astype(np.float32), base.astype(np.float32), true


def test_the_direction_is_the_difference_of_the_means() -> None:
    positive, negative, true = _rows(200, shift=3.0)
    found = make_direction(2, positive, negative)
    expected = positive.astype(np.float64).mean(0) - negative.astype(np.float64).mean(0)
    assert np.allclose(found.values, expected, atol=1e-5)
    assert found.norm == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    assert found.values @ true / found.norm > 0.95
    assert found.is_reliable
    assert found.separation > 0.9
    assert (found.layer, found.n_pairs) == (2, 200)


def test_pairs_that_say_nothing_are_unreliable_and_separate_nothing() -> None:
    positive, negative, _ = _rows(60, shift=0.0)
    found = make_direction(0, positive, negative)
    assert abs(found.reliability) < 0.4
    assert not found.is_reliable
    assert 0.3 < found.separation < 0.7


def test_reliability_is_the_cosine_of_halves() -> None:
    # one pair decides: a half with it and a half without are at right angles
    positive = np.zeros((20, 4), np.float32)
    positive[0, 0] = 100.0
    positive[1:, 1] = 1.0
    negative = np.full((20, 4), 1e-6, np.float32)
    assert make_direction(0, positive, negative).reliability < 0.3


def test_pairs_that_cancel_are_refused() -> None:
    rows = RNG.standard_normal((20, 8)).astype(np.float32)
    flipped = np.concatenate([rows[10:], rows[:10]])
    with pytest.raises(PairsError, match="cancel"):
        make_direction(1, rows, flipped)
    with pytest.raises(PairsError, match="no numbers"):
        make_direction(1, np.full((20, 8), np.nan, np.float32), rows)


def test_a_combination_has_the_length_of_its_budget() -> None:
    one = np.array([2.0, 0.0, 0.0], np.float32)
    other = np.array([0.0, 4.0, 0.0], np.float32)
    mixed = combine([one, other], [1.0, 1.0])
    assert np.linalg.norm(mixed) == pytest.approx(3.0)  # the mean of the lengths
    assert mixed[0] == pytest.approx(mixed[1])
    assert np.linalg.norm(combine([one, one, other], [1, 1, 1], budget=5.0)) == pytest.approx(5.0)
    assert np.allclose(combine([one], [-1.0]), -one)
    assert np.allclose(combine([one, other], [3.0, 0.0]), one)


@pytest.mark.parametrize(
    ("vectors", "weights", "budget", "message"),
    [
        ([np.ones(3)], [1.0, 2.0], None, "one weight"),
        ([], [], None, "one weight"),
        ([np.ones(3)], [0.0], None, "not all zero"),
        ([np.ones(3)], [float("nan")], None, "must be numbers"),
        ([np.ones(3), np.ones(4)], [1.0, 1.0], None, "different widths"),
        ([np.ones(3), -np.ones(3)], [1.0, 1.0], None, "cancel"),
        ([np.zeros(3)], [1.0], None, "zero"),
        ([np.ones(3)], [1.0], -1.0, "budget"),
    ],
)
def test_vectors_that_do_not_go_together_are_refused(
    vectors: list[np.ndarray], weights: list[float], budget: float | None, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        combine([vector.astype(np.float32) for vector in vectors], weights, budget)


def test_overlap_is_the_cosine() -> None:
    vectors = [np.array(row, np.float32) for row in ([1, 0], [2, 2], [-3, 0])]
    assert np.allclose(
        overlap(vectors), [[1, 0.5**0.5, -1], [0.5**0.5, 1, -(0.5**0.5)], [-1, -(0.5**0.5), 1]]
    )


def test_random_directions_have_one_length_and_none_is_another() -> None:
    drawn = random_directions(64, 2.5, 10)
    assert np.allclose(np.linalg.norm(drawn, axis=1), 2.5, atol=1e-5)
    assert np.abs(overlap(list(drawn)) - np.eye(10)).max() < 0.6
    assert np.array_equal(drawn, random_directions(64, 2.5, 10))
