"""Agreement: Cohen's kappa over answers that both have judged, and none below a hundred."""

from __future__ import annotations

import pytest

from engine.agreement import MIN_ITEMS, measure_agreement

BOTH = [("made_up", "wrong")] * 45 + [("honest", "honest")] * 40 + [("honest", "made_up")] * 15


def test_kappa_is_cohens_with_false_as_one_kind() -> None:
    found = measure_agreement("judge", "person", BOTH)
    assert (found.n, found.n_equal) == (100, 85)
    by_chance = 0.45 * 0.6 + 0.55 * 0.4
    assert found.kappa == pytest.approx((0.85 - by_chance) / (1 - by_chance))
    assert found.pairs["true", "false"] == 15


def test_there_is_none_below_a_hundred_answers() -> None:
    found = measure_agreement("judge", "person", BOTH[: MIN_ITEMS - 1])
    assert (found.kappa, found.is_enough, found.n) == (None, False, 99)


def test_what_could_not_be_judged_is_left_out() -> None:
    found = measure_agreement("judge", "person", [*BOTH, *[("unknown", "honest")] * 50])
    assert found.n == 100


def test_answers_of_one_kind_have_no_kappa() -> None:
    assert measure_agreement("a", "b", [("honest", "honest")] * 200).kappa is None


def test_opposite_judgements_have_a_kappa_below_zero() -> None:
    pairs = [("honest", "wrong")] * 50 + [("wrong", "honest")] * 50
    assert measure_agreement("a", "b", pairs).kappa == pytest.approx(-1.0)
