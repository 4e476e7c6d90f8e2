"""Runs: whole or absent, equal to what was written, counted when they are returned."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from store.activations import ActivationRepository
from store.connection import Store
from store.errors import (
    InvalidSpecError,
    RunNotFoundError,
    SourceNotFoundError,
    StoreError,
    StoreLockedError,
)
from store.features import FeatureRepository
from store.keys import source_id
from store.records import Activations, Failure, Token
from store.runs import RunRepository
from store.specs import Message
from tests.store.samples import D_SAE, SOURCE, make_activations, make_run, make_tokens, renamed


def _insert(runs: RunRepository, index: int = 0) -> str:
    run = make_run(index)
    assert runs.insert_run(SOURCE, run, make_tokens(), make_activations(index))
    return run.run_key


def _count(store: Store, table: str) -> int:
    with store.read() as cursor:
        return int(cursor.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def test_a_run_comes_back_as_it_was_written(store: Store, runs: RunRepository) -> None:
    run, tokens, activations = make_run(3), make_tokens(), make_activations(3)
    runs.insert_run(SOURCE, run, tokens, activations)
    stored = runs.get_run(run.run_key)
    assert stored.run == run
    assert stored.tokens == tokens
    read = ActivationRepository(store).get_run_activations(run.run_key)
    for name in ("position", "feature", "value"):
        before, after = getattr(activations, name), getattr(read, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


def test_a_run_survives_closing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "store.duckdb"
    store = Store.open(path)
    key = _insert(RunRepository(store))
    store.close()
    again = Store.open(path)
    assert RunRepository(again).get_run(key).run == make_run()
    again.close()


def test_a_run_without_activations_is_stored(store: Store, runs: RunRepository) -> None:
    nothing = Activations(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
    tokens = tuple(replace(token, n_active=0) for token in make_tokens())
    runs.insert_run(SOURCE, make_run(), tokens, nothing)
    assert len(ActivationRepository(store).get_run_activations(make_run().run_key)) == 0


def test_hostile_text_comes_back_as_it_was(runs: RunRepository) -> None:
    text = "<script>alert(1)</script> \x00\x01\x7f \u202e ‮ 'DROP TABLE runs;-- 日本 🙂\r\n"
    run = replace(make_run(), prompt=text, response=text, messages=(Message("user", text),))
    tokens = tuple(replace(token, text=text) for token in make_tokens())
    runs.insert_run(SOURCE, run, tokens, make_activations())
    stored = runs.get_run(run.run_key)
    assert (stored.run.prompt, stored.run.messages[0].content) == (text, text)
    assert {token.text for token in stored.tokens} == {text}


def test_a_second_run_of_the_same_key_changes_nothing(store: Store, runs: RunRepository) -> None:
    key = _insert(runs)
    other = replace(make_run(), response="another")
    assert not runs.insert_run(SOURCE, other, make_tokens(), make_activations(9))
    assert runs.get_run(key).run.response == "answer 0"
    assert _count(store, "runs") == 1
    assert _count(store, "activations") == len(make_activations())


def test_absent_runs_are_told_apart(store: Store, runs: RunRepository) -> None:
    key = _insert(runs)
    assert runs.has_run(key)
    for absent in ("f" * 64, "", "'; DROP TABLE runs; --", "x" * 100_000, "\ud800"):
        assert not runs.has_run(absent)
        assert runs.find_run(absent) is None
        with pytest.raises(RunNotFoundError):
            runs.get_run(absent)
    with pytest.raises(RunNotFoundError):
        ActivationRepository(store).get_run_activations("f" * 64)
    with pytest.raises(RunNotFoundError):
        runs.insert_hit("f" * 64, "ada")


def _change(activations: Activations, **changes: object) -> Activations:
    return replace(activations, **changes)  # type: ignore[arg-type]


GOOD = make_activations()
BROKEN = {
    "position beyond the run": _change(GOOD, position=GOOD.position + 1),
    "feature beyond d_sae": _change(GOOD, feature=np.full_like(GOOD.feature, D_SAE)),
    "negative feature": _change(GOOD, feature=GOOD.feature - 8),
    "zero": _change(GOOD, value=np.zeros_like(GOOD.value)),
    "NaN": _change(GOOD, value=np.full_like(GOOD.value, np.nan)),
    "lengths differ": _change(GOOD, value=GOOD.value[:-1]),
    "not in order": _change(GOOD, position=GOOD.position[::-1].copy()),
    "twice": _change(GOOD, feature=np.full_like(GOOD.feature, 5)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_run_whose_parts_do_not_fit_leaves_nothing(
    store: Store, runs: RunRepository, name: str
) -> None:
    with pytest.raises(InvalidSpecError):
        runs.insert_run(SOURCE, make_run(), make_tokens(), BROKEN[name])
    assert [_count(store, view) for view in ("runs", "tokens", "activations", "sources")] == [0] * 4


@pytest.mark.parametrize(
    "tokens",
    [
        (),
        make_tokens()[1:],
        make_tokens()[::-1],
        tuple(replace(token, n_active=1) for token in make_tokens()),
        tuple(replace(token, text="\udfff") for token in make_tokens()),
    ],
)
def test_tokens_that_are_not_whole_leave_nothing(
    store: Store, runs: RunRepository, tokens: tuple[Token, ...]
) -> None:
    with pytest.raises(InvalidSpecError):
        runs.insert_run(SOURCE, make_run(), tokens, make_activations())
    assert _count(store, "runs") == _count(store, "tokens") == 0


def test_every_return_of_a_run_is_counted_with_what_it_saved(runs: RunRepository) -> None:
    first, second = _insert(runs, 1), _insert(runs, 2)
    for asker in ("ada", "bob", "ada"):
        runs.insert_hit(first, asker)
    assert runs.get_run(first).run.hits == 3
    assert runs.get_run(second).run.hits == 0
    summary = runs.summarise()
    assert (summary.n_runs, summary.hits, summary.saved_s) == (2, 3, 3 * 1.25)
    assert summary.n_tokens == 2 * len(make_tokens())
    assert summary.n_activations == 2 * len(GOOD)
    assert summary.size_bytes > 0


def test_an_empty_store_saved_nothing(runs: RunRepository) -> None:
    summary = runs.summarise()
    assert (summary.n_runs, summary.n_tokens, summary.hits, summary.saved_s) == (0, 0, 0, 0)
    assert runs.list_recent_runs() == ()


def test_recent_runs_come_newest_first(runs: RunRepository) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    for index in (2, 0, 1):
        run = replace(make_run(index), created_at=start + timedelta(hours=index))
        runs.insert_run(SOURCE, run, make_tokens(), make_activations())
    assert [run.prompt for run in runs.list_recent_runs(2)] == ["question 2", "question 1"]


def test_a_steered_run_leads_to_the_same_run_without_steering(runs: RunRepository) -> None:
    steering = '[{"kind":"ablate","feature":3}]'
    plain = make_run(0)
    steered = replace(make_run(1), prompt=plain.prompt, messages=plain.messages, steering=steering)
    other = replace(steered, run_key=f"{2:064x}", temperature=1.0)
    for run in (plain, steered, other):
        runs.insert_run(SOURCE, run, make_tokens(), make_activations())
    found = runs.list_steered_runs("demo")
    assert [run.run_key for run in found] == [other.run_key, steered.run_key]
    assert [run.run_key for run in runs.list_steered_runs(source_id(SOURCE), 1)] == [other.run_key]
    assert runs.list_steered_runs("elsewhere") == ()
    assert runs.find_plain_run_key(steered.run_key) == plain.run_key
    assert runs.find_plain_run_key(other.run_key) is None
    assert runs.find_plain_run_key("\ud800") is None


def test_failures_are_kept_and_over_long_ones_cut(store: Store, runs: RunRepository) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    long = "x" * 10_000_000
    runs.insert_failure(Failure("k", "demo", long, "DeviceError", "gone", "hint", "ada", now))
    with store.read() as cursor:
        rows = cursor.execute("SELECT error_type, message, length(prompt) FROM failures").fetchall()
    assert rows[0][:2] == ("DeviceError", "gone")
    assert rows[0][2] < 100_000


def test_twenty_readers_and_a_writer_see_only_whole_runs(store: Store, runs: RunRepository) -> None:
    activations = ActivationRepository(store)
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                for run in runs.list_recent_runs(3):
                    n_tokens = len(runs.get_run(run.run_key).tokens)
                    n_activations = len(activations.get_run_activations(run.run_key))
                    if (n_tokens, n_activations) != (6, 18):
                        wrong.append((n_tokens, n_activations))
            except StoreError as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(20)]
    for reader in readers:
        reader.start()
    for index in range(15):
        _insert(runs, index)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_a_process_opens_a_store_once(store: Store) -> None:
    with pytest.raises(StoreLockedError, match="this process"):
        Store.open(store.path)


def test_a_closed_store_says_so(store: Store, runs: RunRepository) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        runs.list_recent_runs()


def test_the_data_version_counts_writes(store: Store, runs: RunRepository) -> None:
    before = store.data_version
    _insert(runs)
    after_write = store.data_version
    runs.list_recent_runs()
    assert before < after_write == store.data_version


def test_statistics_of_a_feature_cover_everything_stored(store: Store, runs: RunRepository) -> None:
    for index in range(3):
        _insert(runs, index)
    stats = FeatureRepository(store).get_feature_stats("demo", 7)
    values = np.concatenate(
        [a.value[a.feature == 7] for a in (make_activations(index) for index in range(3))]
    )
    assert (stats.n_tokens_active, stats.density) == (18, 1.0)
    assert stats.max_value == pytest.approx(float(values.max()))
    assert stats.mean_value == pytest.approx(float(values.mean()))
    by_id = FeatureRepository(store).get_feature_stats(source_id(SOURCE), 7)
    assert by_id == stats


def test_a_feature_that_never_fired_has_zeros(store: Store, runs: RunRepository) -> None:
    _insert(runs)
    stats = FeatureRepository(store).get_feature_stats("demo", 3)
    assert (stats.n_tokens_active, stats.density, stats.max_value) == (0, 0.0, 0.0)
    assert FeatureRepository(store).list_top_contexts("demo", 3, 5) == ()


@pytest.mark.parametrize("feature", [-1, D_SAE, 10**12])
def test_a_feature_beyond_the_source_is_refused(
    store: Store, runs: RunRepository, feature: int
) -> None:
    _insert(runs)
    with pytest.raises(InvalidSpecError, match="has no feature"):
        FeatureRepository(store).get_feature_stats("demo", feature)


def test_a_source_without_runs_is_not_found(store: Store) -> None:
    with pytest.raises(SourceNotFoundError):
        FeatureRepository(store).list_top_contexts("demo", 3, 5)


def test_contexts_come_strongest_first_and_equal_ones_once(
    store: Store, runs: RunRepository
) -> None:
    for index in range(4):
        _insert(runs, index)
    features = FeatureRepository(store)
    [context] = features.list_top_contexts("demo", 7, 10)[:1]
    strongest = make_activations(3)
    is_seven = strongest.feature == 7
    best = int(strongest.position[is_seven][strongest.value[is_seven].argmax()])
    assert (context.run_key, context.position) == (make_run(3).run_key, best)
    assert context.text == f" w{best}"
    assert context.before == "".join(f" w{index}" for index in range(best))
    found = features.list_top_contexts("demo", 7, 10)
    assert [item.value for item in found] == sorted((i.value for i in found), reverse=True)
    assert len({(item.before, item.text, item.after) for item in found}) == len(found)


def test_a_name_means_the_newest_source_of_that_name(store: Store, runs: RunRepository) -> None:
    _insert(runs)
    newer = replace(SOURCE, sae_revision="c" * 40)
    run = replace(make_run(1, source=newer), created_at=datetime(2031, 1, 1, tzinfo=UTC))
    runs.insert_run(newer, run, make_tokens(), make_activations(1))
    features = FeatureRepository(store)
    assert features.get_feature_stats("demo", 7).source_id == source_id(newer)
    assert features.get_feature_stats(source_id(SOURCE), 7).source_id == source_id(SOURCE)


def test_the_same_source_under_two_names_is_two_rows(store: Store, runs: RunRepository) -> None:
    _insert(runs)
    other = renamed("other")
    runs.insert_run(other, make_run(1, source=other), make_tokens(), make_activations(1))
    assert _count(store, "sources") == 2
