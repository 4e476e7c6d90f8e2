"""Activations in segments: whatever was inserted, merged or deleted, reads tell the same."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.activations import ActivationRepository
from store.codes import code_shift, to_codes, to_values
from store.connection import Store
from store.features import FeatureRepository
from store.merging import MAX_SMALL, choose, merge, merge_all
from store.ordering import expand, stable_order, transpose
from store.records import Activations, FloatColumn, WholeRun
from store.removal import delete_runs
from store.runs import RunRepository
from store.segments import Segment, list_segments
from store.specs import ModelSpec, SourceSpec
from tests.store.samples import D_SAE, SOURCE, make_run, make_tokens

SMALL = replace(SOURCE, name="small", d_sae=12)
ROUNDED = replace(SMALL, name="rounded", model=ModelSpec("org/model", "a" * 40, "bfloat16"))
N_TOKENS = 70
"""More than one passage."""

Row = tuple[str, int, int, float]


def _activations(seed: int, n_fired: int = 40) -> Activations:
    random = np.random.default_rng(seed)
    place = np.sort(random.choice(N_TOKENS * SMALL.d_sae, n_fired, replace=False))
    value = random.choice(np.array([0.1, 0.5, 1 / 3, 2.0, 1e-30], np.float32), n_fired)
    return Activations(
        (place // SMALL.d_sae).astype(np.int32), (place % SMALL.d_sae).astype(np.int32), value
    )


def _whole(index: int, source: SourceSpec, n_fired: int = 40) -> WholeRun:
    tokens = tuple(
        replace(token, text=f" {index}.{token.position}", n_active=12)
        for token in make_tokens(N_TOKENS)
    )
    return WholeRun(
        make_run(index, N_TOKENS, source), tokens, _activations(index, min(n_fired, 200))
    )


def _stored(value: FloatColumn, source: SourceSpec) -> FloatColumn:
    shift = code_shift(source.model.dtype)
    return to_values(to_codes(value, shift), shift)


def _rows(item: WholeRun, source: SourceSpec) -> list[Row]:
    fired = item.activations
    columns = (fired.position.tolist(), fired.feature.tolist(), _stored(fired.value, source))
    return [(item.run.run_key, *row) for row in zip(*columns, strict=True)]


class Naive:
    """What a store is to say, from lists that are read through."""

    def __init__(self) -> None:
        self.runs: dict[str, tuple[WholeRun, SourceSpec]] = {}

    def check(self, store: Store) -> None:
        features, activations = FeatureRepository(store), ActivationRepository(store)
        with store.read() as cursor:
            seen = cursor.execute(
                "SELECT run_key, position, feature, value FROM activations"
            ).fetchall()
            [(postings, tallies, counted)] = cursor.execute(
                """
                SELECT (SELECT count(*) FROM base.postings),
                       (SELECT coalesce(sum(n_tokens_active), 0) FROM base.tallies),
                       (SELECT coalesce(sum(n_activations), 0) FROM base.segments)
                """
            ).fetchall()
        rows = [row for item, source in self.runs.values() for row in _rows(item, source)]
        assert sorted(seen) == sorted(rows)
        assert postings == tallies == counted == len(rows)
        for item, source in self.runs.values():
            found = activations.get_run_activations(item.run.run_key)
            np.testing.assert_array_equal(found.position, item.activations.position)
            np.testing.assert_array_equal(found.feature, item.activations.feature)
            np.testing.assert_array_equal(found.value, _stored(item.activations.value, source))
        for name in {source.name for _, source in self.runs.values()}:
            for feature in range(SMALL.d_sae):
                self._check_feature(features, name, feature)

    def _check_feature(self, features: FeatureRepository, name: str, feature: int) -> None:
        mine = [pair for pair in self.runs.values() if pair[1].name == name]
        rows = [row for item, source in mine for row in _rows(item, source) if row[2] == feature]
        values = np.array([row[3] for row in rows], np.float64)
        stats = features.get_feature_stats(name, feature)
        assert stats.n_tokens_active == len(rows)
        assert stats.density == pytest.approx(len(rows) / (N_TOKENS * len(mine)))
        assert stats.max_value == (values.max() if rows else 0)
        assert stats.mean_value == pytest.approx(values.mean() if rows else 0, rel=1e-6)
        best: dict[str, float] = defaultdict(float)
        for row in rows:
            best[row[0]] = max(best[row[0]], row[3])
        top = features.list_top_contexts(name, feature, 3)
        assert [item.value for item in top] == sorted(best.values(), reverse=True)[:3]
        assert all(item.value == best[item.run_key] for item in top)
        assert all((item.run_key, item.position, feature, item.value) in rows for item in top)
        for item in top:
            index = int(item.run_key, 16)
            assert item.text == f" {index}.{item.position}"
            near = range(max(item.position - 10, 0), item.position)
            assert item.before == "".join(f" {index}.{place}" for place in near)
            near = range(item.position + 1, min(item.position + 7, N_TOKENS))
            assert item.after == "".join(f" {index}.{place}" for place in near)
        bins = features.get_feature_histogram(name, feature)
        counts = [np.sum((values >= bar.low) & (values < bar.high)) for bar in bins]
        assert [bar.n_tokens_active for bar in bins] == counts
        assert sum(counts) == len(rows)
        bands = features.list_contexts_by_quantile(name, feature, 3, 2)
        assert sum(band.n_tokens_active for band in bands) == len(rows)
        edges = [edge for band in bands for edge in (band.high, band.low)]
        assert edges == sorted(edges, reverse=True)
        assert all(b.low <= c.value <= b.high for b in bands for c in b.contexts)


def _is_over(left: Iterator[int]) -> bool:
    return next(left, None) is None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merges of a few activations, in parts of a few, none in the background."""
    monkeypatch.setattr("store.merging._CLASS_SIZES", (100, 300, 900))
    monkeypatch.setattr("store.merging._PART_ROWS", 50)
    monkeypatch.setattr("store.merging.FAN_IN", 2)
    monkeypatch.setattr("store.merging.MAX_SMALL", 2)
    # top codes bound what is read for the six places that three contexts are made of at first
    monkeypatch.setattr("store.segments.N_TOP", 6)
    monkeypatch.setattr("store.segments._TOP_FROM", 6)
    monkeypatch.setattr("store.features.N_TOP", 6)
    monkeypatch.setattr("store.runs.request_merging", lambda _store: None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.sampled_from((SMALL, ROUNDED)), st.integers(1, 4)),
        st.tuples(st.just("merge"), st.just(SMALL), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.just(SMALL), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_any_order_of_inserts_merges_and_removals_gives_what_reading_through_gives(
    tmp_path_factory: pytest.TempPathFactory,
    empty_store: Path,
    impatient: None,
    steps: list[tuple[str, SourceSpec, int]],
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("segments") / "store.duckdb"
    path.write_bytes(empty_store.read_bytes())
    opened, naive = Store.open(path), Naive()
    runs = RunRepository(opened)
    random = np.random.default_rng(seed)
    try:
        for number, (kind, source, count) in enumerate(steps):
            if kind == "insert":
                n_fired = int(random.integers(0, 120))
                new = [_whole(number * 10 + index, source, n_fired) for index in range(count)]
                assert runs.insert_runs(source, new) == count
                naive.runs |= {item.run.run_key: (item, source) for item in new}
            elif kind == "merge":
                merge_all(opened, partial(_is_over, iter(range(count))))
            else:
                gone = list(naive.runs)[:count]
                assert delete_runs(opened, [*gone, "nothing"]) == len(gone)
                naive.runs = {key: kept for key, kept in naive.runs.items() if key not in gone}
        naive.check(opened)
        merge_all(opened)
        naive.check(opened)
    finally:
        opened.close()


def test_reads_during_merges_see_everything_each_time(
    store: Store, runs: RunRepository, impatient: None
) -> None:
    naive = Naive()
    for index in range(12):
        item = _whole(index, SMALL, 100)
        runs.insert_runs(SMALL, [item])
        naive.runs[item.run.run_key] = (item, SMALL)
    features, stop, seen = FeatureRepository(store), threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            stats = features.get_feature_stats("small", 3)
            top = features.list_top_contexts("small", 3, 5)
            bars = features.get_feature_histogram("small", 3)
            seen.add((stats.n_tokens_active, top, sum(bar.n_tokens_active for bar in bars)))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with store.read() as cursor:
        before = list_segments(cursor)
    assert merge(store, before)
    stop.set()
    for reader in readers:
        reader.join()
    assert len(seen) == 1
    with store.read() as cursor:
        assert len(list_segments(cursor)) == 1 < len(before)
    naive.check(store)


def test_many_small_runs_are_merged_in_the_background(store: Store, runs: RunRepository) -> None:
    for index in range(MAX_SMALL + 2):
        item = _whole(index, SMALL, 5)
        runs.insert_runs(SMALL, [item])
    store.upkeep.wait()
    with store.read() as cursor:
        assert len(list_segments(cursor)) <= MAX_SMALL


def test_a_batch_with_a_run_that_is_stored_or_comes_twice_writes_each_once(
    store: Store, runs: RunRepository
) -> None:
    first, second, third = (_whole(index, SMALL) for index in range(3))
    assert runs.insert_runs(SMALL, [first]) == 1
    assert runs.insert_runs(SMALL, [second, first, third, second]) == 2
    assert runs.summarise().n_runs == 3
    assert runs.insert_runs(SMALL, []) == 0


def test_removed_runs_leave_no_trace_and_their_keys_can_come_again(
    store: Store, runs: RunRepository
) -> None:
    items = [_whole(index, SMALL) for index in range(3)]
    runs.insert_runs(SMALL, items)
    runs.insert_hit(items[0].run.run_key, "ada")
    assert delete_runs(store, [item.run.run_key for item in items]) == 3
    with store.read() as cursor:
        for table in ("runs", "tokens", "passages", "hits", "activations", "postings", "tallies"):
            assert cursor.execute(f"SELECT count(*) FROM base.{table}").fetchall() == [(0,)]
    assert runs.insert_runs(SMALL, items) == 3


def test_what_to_merge_is_of_one_source_and_class() -> None:
    sizes = [2**20 - 1, 2**20, 2**22, 2**26, 2**20 - 1]
    mixed = [Segment(number, number % 2, size) for number, size in enumerate(sizes * 8)]
    chosen = choose(mixed)
    assert len({segment.source_no for segment in chosen}) == 1
    assert all(segment.n_activations < 2**20 for segment in chosen)
    eight = [Segment(number, 1, 6_400_000) for number in range(8)]
    assert choose(eight) == tuple(eight)
    assert choose(eight[:7]) == ()
    assert choose([Segment(number, 1, 51_000_000) for number in range(8)]) == ()


def test_segments_stay_few_however_much_is_stored() -> None:
    segments: list[Segment] = []
    for number in range(1000):
        segments.append(Segment(number, 1, 6_400_000))
        while chosen := choose(segments):
            total = sum(segment.n_activations for segment in chosen)
            kept = [segment for segment in segments if segment not in chosen]
            segments = [*kept, Segment(10_000 + number, 1, total)]
    assert sum(segment.n_activations for segment in segments) == 6_400_000_000
    assert len(segments) <= 6_400 // 51 + 16


@given(st.lists(st.integers(0, 9), max_size=60))
def test_sorting_by_small_integers_is_sorting_and_stable(keys: list[int]) -> None:
    column = np.array(keys, np.int32)
    np.testing.assert_array_equal(stable_order(column, 10), np.argsort(column, kind="stable"))
    starts = np.arange(len(keys) + 1, dtype=np.int32)
    cells = transpose(starts, column, column * 7, 10)
    np.testing.assert_array_equal(expand(cells.starts), np.sort(column))
    np.testing.assert_array_equal(cells.payload, np.sort(column) * 7)


def test_a_top_code_is_one_that_enough_postings_of_the_segment_reach(
    store: Store, runs: RunRepository, impatient: None
) -> None:
    runs.insert_runs(SMALL, [_whole(index, SMALL, 200) for index in range(4)])
    with store.read() as cursor:
        rows = cursor.execute(
            """
            SELECT n_tokens_active, top_code, count(*) FILTER (code >= top_code),
                   count(*) FILTER (code > top_code)
            FROM base.tallies JOIN base.postings USING (segment_no, slot)
            GROUP BY segment_no, slot, n_tokens_active, top_code
            """
        ).fetchall()
    assert any(top_code for _, top_code, _, _ in rows)
    for _, top_code, n_reaching, n_above in rows:
        assert top_code == 0 or n_reaching >= 6 > n_above


@given(st.lists(st.floats(2.0**-149, 2.0**127, width=32), min_size=1))
def test_codes_order_as_values_do_and_keep_what_they_promise(values: list[float]) -> None:
    value = np.array(values, np.float32)
    np.testing.assert_array_equal(to_values(to_codes(value, 0), 0), value)
    rounded = to_values(to_codes(value, 16), 16)
    assert np.all((rounded > 0) & np.isfinite(rounded))
    np.testing.assert_array_equal(to_values(to_codes(rounded, 16), 16), rounded)
    normal = value > 2.0**-120
    assert np.all(np.abs(rounded[normal] / value[normal] - 1) <= 2.0**-8)
    order = np.argsort(value, kind="stable")
    assert np.all(np.diff(to_codes(value, 16)[order].astype(np.int64)) >= 0)


def test_a_feature_beyond_a_run_of_features_is_counted_apart(
    store: Store, runs: RunRepository
) -> None:
    tokens = tuple(replace(token, n_active=2) for token in make_tokens(1))
    both = Activations(
        np.zeros(2, np.int32), np.array([0, D_SAE - 1], np.int32), np.ones(2, np.float32)
    )
    runs.insert_run(SOURCE, make_run(1, 1), tokens, both)
    features = FeatureRepository(store)
    assert features.get_feature_stats("demo", 0).n_tokens_active == 1
    assert features.get_feature_stats("demo", D_SAE - 1).n_tokens_active == 1
    assert features.get_feature_stats("demo", 1).n_tokens_active == 0
