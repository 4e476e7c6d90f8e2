"""Runs that begin alike: one copy of what they share, and every view as if each had its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from store.activations import ActivationRepository
from store.connection import Store
from store.errors import InvalidSpecError, RunNotFoundError
from store.features import FeatureRepository
from store.records import Activations, SharedBeginning
from store.removal import delete_runs
from store.runs import RunRepository
from store.snapshots import write_snapshot
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens, renamed

CHAT = make_activations(7, 24)


def between(first: int, end: int) -> Activations:
    """The activations of some tokens of the chat."""
    chosen = (CHAT.position >= first) & (CHAT.position < end)
    return Activations(CHAT.position[chosen], CHAT.feature[chosen], CHAT.value[chosen])


def insert_chat(runs: RunRepository, n_turns: int = 4) -> list[str]:
    """Turns of 6, 12, 18 ... tokens, each begun by the turn before but for its last token."""
    keys: list[str] = []
    for index in range(n_turns):
        n_tokens = 6 * (index + 1)
        first = 6 * index - 1 if index else 0
        shared = SharedBeginning(keys[-1], first) if index else None
        run, tokens = make_run(index, n_tokens=n_tokens), make_tokens(n_tokens)
        assert runs.insert_run(SOURCE, run, tokens, between(first, n_tokens), shared)
        keys.append(run.run_key)
    return keys


def test_each_turn_reads_as_if_it_had_been_stored_whole(store: Store, runs: RunRepository) -> None:
    keys = insert_chat(runs)
    for index, key in enumerate(keys):
        got = ActivationRepository(store).get_run_activations(key)
        expected = between(0, 6 * (index + 1))
        for name in ("position", "feature", "value"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_the_view_shows_every_activation_of_every_run(store: Store, runs: RunRepository) -> None:
    keys = insert_chat(runs)
    with store.read() as cursor:
        rows = cursor.execute(
            "SELECT run_key, count(*), count(DISTINCT (position, feature)) FROM activations "
            "GROUP BY run_key ORDER BY run_key"
        ).fetchall()
    assert rows == [(key, 18 * (index + 1), 18 * (index + 1)) for index, key in enumerate(keys)]


def test_what_is_shared_is_stored_and_counted_once(store: Store, runs: RunRepository) -> None:
    insert_chat(runs)
    # 6 tokens, then of each turn its 6 new ones and the last of the turn before
    n_own = 6 + 3 * 7
    assert runs.summarise().n_activations == 3 * n_own
    stats = FeatureRepository(store).get_feature_stats(SOURCE.name, 7)
    assert stats.n_tokens_active == n_own
    assert stats.density == 1.0
    with store.read() as cursor:
        [(density,)] = cursor.execute("SELECT density FROM features WHERE feature = 7").fetchall()
    assert density == 1.0


def test_a_run_that_others_begin_with_stays_as_long_as_they_do(
    store: Store, runs: RunRepository
) -> None:
    keys = insert_chat(runs)
    assert delete_runs(store, keys[:2]) == 0
    assert delete_runs(store, keys[3:]) == 1
    assert delete_runs(store, keys[1:3]) == 2
    assert delete_runs(store, keys[:1]) == 1
    summary = runs.summarise()
    assert (summary.n_runs, summary.n_activations) == (0, 0)


def test_all_turns_can_be_deleted_at_once(store: Store, runs: RunRepository) -> None:
    assert delete_runs(store, insert_chat(runs)) == 4
    assert runs.summarise().n_activations == 0
    with store.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM base.beginnings").fetchall() == [(0,)]


def test_a_beginning_of_a_run_that_is_not_stored_is_refused_whole(runs: RunRepository) -> None:
    tokens, activations = make_tokens(12), between(5, 12)
    with pytest.raises(RunNotFoundError):
        runs.insert_run(
            SOURCE, make_run(1, n_tokens=12), tokens, activations, SharedBeginning("f" * 64, 5)
        )
    assert runs.summarise().n_runs == 0


def test_a_beginning_with_other_tokens_or_of_another_source_is_refused(
    runs: RunRepository,
) -> None:
    [key] = insert_chat(runs, 1)
    tokens, activations = make_tokens(12), between(5, 12)
    run, shared = make_run(1, n_tokens=12), SharedBeginning(key, 5)
    other = tuple(replace(token, token_id=token.token_id + 1) for token in tokens)
    with pytest.raises(InvalidSpecError, match="does not begin with these tokens"):
        runs.insert_run(SOURCE, run, other, activations, shared)
    longer = SharedBeginning(key, 7)
    with pytest.raises(InvalidSpecError, match="does not begin with these tokens"):
        runs.insert_run(SOURCE, run, tokens, between(7, 12), longer)
    source = replace(renamed("other"), d_sae=SOURCE.d_sae + 1)
    run_of_other = make_run(1, n_tokens=12, source=source)
    with pytest.raises(InvalidSpecError, match="does not begin with these tokens"):
        runs.insert_run(source, run_of_other, tokens, activations, shared)
    assert runs.summarise().n_runs == 1


@pytest.mark.parametrize("n_shared", [0, 12, 6])
def test_a_beginning_that_does_not_fit_the_run_is_refused(
    runs: RunRepository, n_shared: int
) -> None:
    [key] = insert_chat(runs, 1)
    tokens, activations = make_tokens(12), between(5, 12)
    with pytest.raises(InvalidSpecError, match=r"shared beginning"):
        runs.insert_run(
            SOURCE, make_run(1, n_tokens=12), tokens, activations, SharedBeginning(key, n_shared)
        )


def test_a_snapshot_keeps_beginnings_and_goes_on_being_written(
    store: Store, runs: RunRepository, tmp_path: Path
) -> None:
    keys = insert_chat(runs)
    copy = Store.open(write_snapshot(store, tmp_path / "copy.duckdb", "duckdb").path)
    try:
        for key in keys:
            mine = ActivationRepository(copy).get_run_activations(key)
            assert len(mine) == len(ActivationRepository(store).get_run_activations(key))
        RunRepository(copy).insert_run(SOURCE, make_run(99), make_tokens(), between(0, 6))
        with copy.read() as cursor:
            numbers = cursor.execute("SELECT segment_no FROM base.segments").fetchall()
        assert len(numbers) == len(set(numbers))
    finally:
        copy.close()
