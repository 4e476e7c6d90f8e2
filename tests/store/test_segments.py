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
from store.merging import MAX_SMALL, merge, merge_all
from store.posting_tables import POSTINGS
from store.records import Activations, FloatColumn, WholeRun
from store.removal import delete_runs
from store.runs import RunRepository
from store.segments import list_segments
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
                SELECT (SELECT count(*) FROM base.postings)
                           + (SELECT count(*) FROM base.fresh_postings),
                       (SELECT coalesce(sum(n_tokens_active), 0) FROM base.tallies),
                       (SELECT coalesce(sum(n_activations), 0) FROM base.segments)
                """
            ).fetchall()
        rows = [row for item, source in self.runs.values() for row in _rows(item, source)]
        assert sorted(seen) == sorted(rows)
        assert postings == tallies == counted == len(rows)
        self._check_bins(store)
        for item, source in self.runs.values():
            found = activations.get_run_activations(item.run.run_key)
            np.testing.assert_array_equal(found.position, item.activations.position)
            np.testing.assert_array_equal(found.feature, item.activations.feature)
            np.testing.assert_array_equal(found.value, _stored(item.activations.value, source))
        for name in {source.name for _, source in self.runs.values()}:
            for feature in range(SMALL.d_sae):
                self._check_feature(features, name, feature)

    def _check_bins(self, store: Store) -> None:
        """Bins are those of the postings, of every slot that has enough in a segment."""
        with store.read() as cursor:
            kept, due = (
                cursor.execute(sql).fetchall()
                for sql in (
                    "SELECT segment_no, slot, bin, n_tokens_active FROM base.bins ORDER BY ALL",
                    f"""
                    SELECT p.segment_no, slot, (code >> (21 - code_shift))::SMALLINT AS bin,
                           count(*)
                    FROM {POSTINGS} AS p
                    JOIN base.segments AS s ON s.segment_no = p.segment_no
                    JOIN base.sources USING (source_no)
                    WHERE (p.segment_no, slot) IN (
                        SELECT (segment_no, slot) FROM base.tallies WHERE n_tokens_active >= 6)
                    GROUP BY ALL ORDER BY ALL
                    """,
                )
            )
        assert kept == due

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
    # peaks that three contexts are made of at first, and more than they hold for the next look
    monkeypatch.setattr("store.segments.N_PEAKS", 6)
    monkeypatch.setattr("store.segments._PEAKS_FROM", 8)
    monkeypatch.setattr("store.features.N_PEAKS", 6)
    monkeypatch.setattr("store.features._MAX_KNOWN", 9)
    # and bins are kept of slots that have as few
    monkeypatch.setattr("store.bins.BINNED_FROM", 6)
    monkeypatch.setattr("store.removal.BINNED_FROM", 6)
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
        tables = "runs tokens passages hits activations postings fresh_postings tallies peaks"
        for table in tables.split():
            assert cursor.execute(f"SELECT count(*) FROM base.{table}").fetchall() == [(0,)]
    assert runs.insert_runs(SMALL, items) == 3


def test_peaks_are_the_strongest_postings_of_a_slot_that_has_many_in_the_segment(
    store: Store, runs: RunRepository, impatient: None
) -> None:
    def check() -> int:
        with store.read() as cursor:
            postings = cursor.execute(
                f"SELECT segment_no, slot, code, token_no FROM {POSTINGS}"
            ).fetchall()
            peaks = cursor.execute(
                "SELECT segment_no, slot, code, token_no FROM base.peaks"
            ).fetchall()
        places: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for segment_no, slot, code, token_no in postings:
            places[segment_no, slot].append((-code, token_no))
        expected = [
            (*key, -negated, token_no)
            for key, found in places.items()
            if len(found) >= 8
            for negated, token_no in sorted(found)[:6]
        ]
        assert sorted(peaks) == sorted(expected)
        return len(peaks)

    for first in (0, 4, 8):
        runs.insert_runs(SMALL, [_whole(first + index, SMALL, 60) for index in range(3)])
    assert check()
    with store.read() as cursor:
        segments = list_segments(cursor)
    assert merge(store, segments)
    assert check()


def test_what_merging_wrote_lies_apart_from_what_is_not_merged_yet(
    store: Store, runs: RunRepository, impatient: None
) -> None:
    def count() -> list[int]:
        with store.read() as cursor:
            rows = cursor.execute(
                """
                SELECT (SELECT count(*) FROM base.postings),
                       (SELECT count(*) FROM base.fresh_postings)
                """
            ).fetchall()
        return [number for row in rows for number in row]

    runs.insert_runs(SMALL, [_whole(0, SMALL, 60)])
    runs.insert_runs(SMALL, [_whole(1, SMALL, 60)])
    assert count() == [0, 120]
    with store.read() as cursor:
        segments = list_segments(cursor)
    assert merge(store, segments)
    assert count() == [120, 0]
    runs.insert_runs(SMALL, [_whole(2, SMALL, 60)])
    assert count() == [120, 60]


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


def test_a_histogram_is_right_where_a_segment_of_an_earlier_version_has_no_bins(
    store: Store, impatient: None
) -> None:
    for index in range(4):
        RunRepository(store).insert_runs(SMALL, [_whole(index, SMALL, 200)])
    features = FeatureRepository(store)
    before = [features.get_feature_histogram("small", feature) for feature in range(SMALL.d_sae)]
    with store.write() as cursor:
        [(first,)] = cursor.execute("SELECT min(segment_no) FROM base.bins").fetchall()
        cursor.execute("DELETE FROM base.bins WHERE segment_no = ?", [first])
    after = [features.get_feature_histogram("small", feature) for feature in range(SMALL.d_sae)]
    assert after == before
    assert max(bar.n_tokens_active for bars in before for bar in bars) > 6
    with store.write() as cursor:
        cursor.execute("DELETE FROM base.bins")
    with store.read() as cursor:
        segments = list_segments(cursor)
    assert merge(store, segments)
    with store.read() as cursor:
        assert cursor.execute("SELECT count(*) > 0 FROM base.bins").fetchall() == [(True,)]
    after = [features.get_feature_histogram("small", feature) for feature in range(SMALL.d_sae)]
    assert after == before
