"""Places for queries: how many run at once, for whom, and that pages go on meanwhile."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import connection
from store.connection import Store
from store.errors import QueryError
from store.features import FeatureRepository
from store.query_places import QueryPlaces
from store.runs import RunRepository
from store.sandbox import MAX_AT_ONCE, run_query
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

HEAVY = (
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b",
    "SELECT max(hash(i)) FROM range(100000000000) t(i)",
    "SELECT count(DISTINCT hash(i)) FROM range(10000000000) t(i)",
    "SELECT i FROM range(10000000000) t(i) ORDER BY hash(i)",
)
COLLECTING = (
    "SELECT len(list(hash(i))) FROM range(2000000000) t(i)",
    "SELECT length(string_agg(i::VARCHAR, ',')) FROM range(2000000000) t(i)",
    "SELECT json_array_length(json_group_array(i)) FROM range(1000000000) t(i)",
)
N_RUNS = 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Some runs, to be read while queries run."""
    opened = Store.open(tmp_path_factory.mktemp("places") / "store.duckdb")
    runs = RunRepository(opened)
    for index in range(N_RUNS):
        runs.insert_run(
            SOURCE, make_run(index, 40), make_tokens(40, 12), make_activations(index, 40, 12)
        )
    yield opened
    opened.close()


def test_one_client_takes_half_of_the_places_at_most() -> None:
    places, stop = QueryPlaces(4), threading.Event()
    with places.take("ann", 0, stop) as first, places.take("ann", 0, stop) as second:
        assert (first, second) == (True, True)
        with places.take("ann", 0.01, stop) as third, places.take("bob", 0, stop) as other:
            assert (third, other) == (False, True)
    with places.take("ann", 0, stop) as again:
        assert again


def test_nobody_in_particular_takes_all_places_but_no_more() -> None:
    places, stop = QueryPlaces(2), threading.Event()
    with places.take(None, 0, stop) as first, places.take(None, 0, stop) as second:
        assert (first, second) == (True, True)
        with places.take(None, 0.01, stop) as third:
            assert not third


def test_waiting_ends_when_it_is_stopped() -> None:
    places, stop = QueryPlaces(1), threading.Event()
    with places.take("ann", 0, threading.Event()):
        threading.Timer(0.1, stop.set).start()
        started = time.perf_counter()
        with places.take("bob", 30, stop) as is_taken:
            assert not is_taken
    assert time.perf_counter() - started < 10


def test_a_query_that_is_stopped_ends_soon(store: Store) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.perf_counter()
    with pytest.raises(QueryError) as caught:
        run_query(store, HEAVY[0], timeout_s=60, stop=stop)
    assert caught.value.kind == "cancelled"
    assert time.perf_counter() - started < 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_query_runs_at_lower_priority_than_the_rest(store: Store) -> None:
    import os

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert QueryPlaces(1).run(priority, threading.Event()) > priority()


def test_pages_read_on_while_every_place_has_a_heavy_query(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    idle_s = read_pages(store, 1.0)
    failures: list[QueryError] = []

    def burn(sql: str, client: str) -> None:
        with pytest.raises(QueryError) as caught:
            run_query(store, sql, timeout_s=4.0, client=client)
        failures.append(caught.value)

    threads = [
        threading.Thread(target=burn, args=(sql, f"client {index // 2}"))
        for index, sql in enumerate(HEAVY)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    busy_s = read_pages(store, 3.0)
    for thread in threads:
        thread.join()
    assert len(failures) == MAX_AT_ONCE == len(HEAVY)
    assert {failure.kind for failure in failures} <= {"timeout", "memory"}
    with capsys.disabled():
        sys.stdout.write(
            f"\npage reads: {statistics.median(idle_s) * 1e3:.1f} ms idle,"
            f" {statistics.median(busy_s) * 1e3:.1f} ms (slowest {max(busy_s) * 1e3:.0f})"
            f" beside {len(HEAVY)} heavy queries,"
            f" {statistics.median(busy_s) / statistics.median(idle_s):.1f} times\n"
        )


def test_queries_that_collect_without_end_leave_memory_to_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MEMORY_BOUNDS_MIB", (512, 512))
    opened = Store.open(tmp_path / "store.duckdb")
    runs = RunRepository(opened)
    for index in range(N_RUNS):
        runs.insert_run(
            SOURCE, make_run(index, 40), make_tokens(40, 12), make_activations(index, 40, 12)
        )
    kinds: list[str] = []

    def collect(sql: str) -> None:
        with pytest.raises(QueryError) as caught:
            run_query(opened, sql, timeout_s=10)
        kinds.append(caught.value.kind)

    threads = [threading.Thread(target=collect, args=(sql,)) for sql in COLLECTING]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read_pages(opened, 0.2)
    for thread in threads:
        thread.join()
    opened.close()
    assert len(kinds) == len(COLLECTING)
    assert "memory" in kinds


def read_pages(store: Store, for_s: float) -> list[float]:
    """Reads what pages read, for some time; seconds of each. Every answer must be right."""
    runs, features = RunRepository(store), FeatureRepository(store)
    durations = []
    end = time.perf_counter() + for_s
    while time.perf_counter() < end:
        started = time.perf_counter()
        assert len(runs.get_run(f"{3:064x}").tokens) == 40
        assert len(runs.list_recent_runs(12)) == 12
        assert features.get_feature_stats("demo", 7).n_tokens_active == N_RUNS * 40
        assert len(features.list_top_contexts("demo", 7, 20)) > 0
        durations.append(time.perf_counter() - started)
    return durations
