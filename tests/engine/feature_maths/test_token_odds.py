"""Odds of tokens, of their sequences and of circumstances."""

from __future__ import annotations

import numpy as np
import pytest

from engine.feature_maths.token_odds import (
    dirichlet_log_odds,
    metadata_odds,
    rank_ngrams,
    rank_tokens,
)


def test_log_odds_are_monroe_s() -> None:
    active, everything = np.array([8.0, 1.0, 1.0]), np.array([10.0, 40.0, 150.0])
    log_odds, z = dirichlet_log_odds(active, everything, prior=100)
    alpha = 100 * everything / everything.sum()
    rest = everything - active
    for index in range(3):
        a, b = active[index] + alpha[index], rest[index] + alpha[index]
        expected = np.log(a / (active.sum() + 100 - a)) - np.log(b / (rest.sum() + 100 - b))
        assert log_odds[index] == pytest.approx(expected)
        assert z[index] == pytest.approx(expected / np.sqrt(1 / a + 1 / b))


def test_a_token_seen_once_does_not_lead_the_list() -> None:
    ranked = rank_tokens((" often", " once", " never"), [60, 1, 0], [80, 1, 900])
    assert [item.text for item in ranked] == [" often", " once"]
    assert ranked[0].rate == 0.75
    assert ranked[0].rate_low < 0.75 < ranked[0].rate_high


def test_sequences_tell_where_a_token_fires_and_where_not() -> None:
    places = ((" does", " Anna", " Berg"),) * 5 + (("", " of", " Berg"),)
    silent = ((" about", " Karim", " Berg"),) * 6 + (("", "", " Anna"),)
    ranked = rank_ngrams(places, silent)
    assert ranked[0].texts[-2:] == (" Anna", " Berg")
    assert ranked[0].n_active == ranked[0].n_all == 5
    assert all("" not in item.texts for item in ranked)
    assert rank_ngrams((), ()) == ()


def test_circumstances_have_odds_with_an_interval() -> None:
    odds = metadata_odds("role", "user", 30, 100, 40, 1000)
    a, b, c, d = 30.5, 70.5, 10.5, 890.5
    assert odds.odds_ratio == pytest.approx(a * d / (b * c))
    half = 1.96 * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    assert np.log(odds.high / odds.low) == pytest.approx(2 * half, rel=1e-3)
