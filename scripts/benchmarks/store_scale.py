"""The store at scale: what an activation takes on disk, and how long reads and writes take.

Invariant: data goes in through the public write path, and every figure is of the whole of it:
merging is waited for before the clock of the ingest stops, and the size is that of the file.
"""

from __future__ import annotations

import resource
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.benchmarks.activation_data import (
    RUN_ACTIVATIONS,
    SOURCE,
    SOURCE_ID,
    SyntheticCorpus,
    with_index,
)
from store.activations import ActivationRepository
from store.connection import Store
from store.features import FeatureRepository
from store.records import WholeRun
from store.retention import get_used_bytes
from store.runs import RunRepository

N_CONTEXTS = 20
_BATCH_RUNS = 200
_POOL_BATCHES = 2
"""Batches drawn at random; after them they come again with their values shifted against tokens."""
_CALLS_A_ROUND = 5
_BUSY_CALLS_A_ROUND = 20
"""More of them, so that they meet writes, merges and what is between."""
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What was measured, medians in milliseconds.

    Attributes:
        n_activations: how many were stored.
        bytes_per_activation: of the file; used_bytes_per_activation: of its blocks that hold
            something, without those that merging has left free for the next writes.
        top_contexts_ms: by kind of feature (frequent, middling, rare).
        read_during_ingest_ratio: time of a read while others write and segments are merged, to its
            time when idle; the worse of top contexts and a run.
        peak_memory_bytes: of the process, the corpus that waits to be written included.
    """

    n_activations: int
    bytes_per_activation: float
    used_bytes_per_activation: float
    top_contexts_ms: dict[str, float]
    run_read_ms: float
    ingest_per_s: float
    read_during_ingest_ratio: float
    peak_memory_bytes: int


def measure_store(
    path: Path, corpus: SyntheticCorpus, n_activations: int, repeats: int
) -> StoreFigures:
    """Fills a new store at path and reads from it, some calls a round."""
    batch_runs = max(1, min(_BATCH_RUNS, n_activations // RUN_ACTIVATIONS))
    pool = list(corpus.iter_batches(_POOL_BATCHES * batch_runs * RUN_ACTIVATIONS, batch_runs))
    store = Store.open(path)
    try:
        started = time.perf_counter()
        wanted = max(1, n_activations // RUN_ACTIVATIONS)
        n_runs = fill_runs(RunRepository(store), pool, 0, wanted)
        store.upkeep.wait()
        ingest_s = time.perf_counter() - started
    finally:
        store.close()
    n_stored = n_runs * RUN_ACTIVATIONS
    # closed and opened: DuckDB gives back what merging has left when a file is closed
    size_bytes = path.stat().st_size
    store = Store.open(path)
    try:
        runs = RunRepository(store)
        used_bytes = get_used_bytes(store)
        idle, n_calls = _Reads(store, corpus, n_runs), repeats * _CALLS_A_ROUND
        contexts_ms = {
            kind: median_ms(partial(idle.read_contexts, feature), n_calls)
            for kind, feature in corpus.features.items()
        }
        run_ms = median_ms(idle.read_run, n_calls)
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        n_calls = repeats * _BUSY_CALLS_A_ROUND
        busy = _read_while_filling(store, runs, pool, n_runs, idle, n_calls)
    finally:
        store.close()
    return StoreFigures(
        n_activations=n_stored,
        bytes_per_activation=size_bytes / n_stored,
        used_bytes_per_activation=used_bytes / n_stored,
        top_contexts_ms=contexts_ms,
        run_read_ms=run_ms,
        ingest_per_s=n_stored / ingest_s,
        read_during_ingest_ratio=max(busy[0] / contexts_ms["frequent"], busy[1] / run_ms),
        peak_memory_bytes=peak_bytes,
    )


class _Reads:
    """What a page reads."""

    def __init__(self, store: Store, corpus: SyntheticCorpus, n_runs: int) -> None:
        self._features, self._activations = FeatureRepository(store), ActivationRepository(store)
        self._corpus, self._n_runs, self._turn = corpus, n_runs, 0

    def read_contexts(self, feature: int) -> None:
        self._features.list_top_contexts(SOURCE_ID, feature, N_CONTEXTS)

    def read_frequent(self) -> None:
        self.read_contexts(self._corpus.features["frequent"])

    def read_run(self) -> None:
        """One run after the other, from all over the store."""
        self._turn += 1
        index = self._turn * 7919 % self._n_runs
        found = self._activations.get_run_activations(f"{index:064x}")
        if len(found) != RUN_ACTIVATIONS:
            raise AssertionError(f"run {index} is not whole")


def _read_while_filling(
    store: Store,
    runs: RunRepository,
    pool: Sequence[Sequence[WholeRun]],
    n_runs: int,
    reads: _Reads,
    n_calls: int,
) -> tuple[float, float]:
    """Medians of top contexts and of a run while another thread writes, merging included."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def fill() -> None:
        first = n_runs
        try:
            while not stop.is_set():
                first += fill_runs(runs, pool, first, 1)
        except BaseException as error:  # told to the thread that measures
            failures.append(error)
            raise

    writer = threading.Thread(target=fill, name="bench-writer")
    writer.start()
    try:
        times = (
            median_ms(reads.read_frequent, n_calls, _PAUSE_S),
            median_ms(reads.read_run, n_calls, _PAUSE_S),
        )
    finally:
        stop.set()
        writer.join()
    store.upkeep.wait()
    if failures:
        raise failures[0]
    return times


def fill_runs(
    runs: RunRepository, pool: Sequence[Sequence[WholeRun]], first: int, at_least: int
) -> int:
    """Writes batches with so many runs or a few more; returns how many."""
    n_runs = 0
    while n_runs < at_least:
        batch = pool[(first + n_runs) // len(pool[0]) % len(pool)]
        numbered = [with_index(item, first + n_runs + offset) for offset, item in enumerate(batch)]
        runs.insert_runs(SOURCE, numbered)
        n_runs += len(batch)
    return n_runs


def median_ms(action: Callable[[], object], repeats: int, pause_s: float = 0.0) -> float:
    """Median milliseconds of an action, after one that warms up."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
        time.sleep(pause_s)
    return statistics.median(times) * 1000
