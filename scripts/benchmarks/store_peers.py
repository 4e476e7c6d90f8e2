"""The same activations and questions in other layouts, without PostgreSQL (see store_postgres.py).

Invariant: each peer holds every activation, answers the same two questions (the places where a
feature fires most; all activations of a run), and is measured in the same process and run.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet
from safetensors.numpy import load_file, save_file

from scripts.benchmarks.activation_data import D_SAE, RUN_ACTIVATIONS, SyntheticCorpus
from scripts.benchmarks.store_scale import N_CONTEXTS, median_ms

_BATCH_RUNS = 200
_FEATURE_FILES = 16


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """One peer. Times are medians in milliseconds, the worst of the features asked for."""

    name: str
    n_activations: int
    bytes_per_activation: float
    top_contexts_ms: float
    run_read_ms: float
    ingest_per_s: float


class Peer(Protocol):
    """A layout that is filled once and then read."""

    name: str

    def fill(self, tables: Iterator[pa.Table]) -> None:
        """Stores the columns run, position, feature, value, in the order of tokens."""

    def time_top_ms(self, feature: int, repeats: int) -> float:
        """Median milliseconds of reading the N_CONTEXTS places where the feature fires most."""

    def time_run_ms(self, run: int, repeats: int) -> float:
        """Median milliseconds of reading all activations of a run."""

    def size_bytes(self) -> int:
        """Bytes on disk, indexes included."""

    def close(self) -> None:
        """Ends what was started."""


def measure_peer(
    peer: Peer, corpus: SyntheticCorpus, n_activations: int, repeats: int
) -> PeerFigures:
    """Fills a peer with runs of the corpus and reads from it."""
    n_runs = max(1, n_activations // RUN_ACTIVATIONS)
    try:
        tables = list(iter_tables(corpus, n_runs))
        started = time.perf_counter()
        peer.fill(iter(tables))
        fill_s = time.perf_counter() - started
        del tables
        top_ms = max(peer.time_top_ms(item, repeats) for item in corpus.features.values())
        run_ms = peer.time_run_ms(n_runs // 2, repeats)
        size_bytes = peer.size_bytes()
    finally:
        peer.close()
    n_stored = n_runs * RUN_ACTIVATIONS
    return PeerFigures(
        peer.name, n_stored, size_bytes / n_stored, top_ms, run_ms, n_stored / fill_s
    )


def iter_tables(corpus: SyntheticCorpus, n_runs: int) -> Iterator[pa.Table]:
    """The corpus as rows in the order of tokens, some millions at a time."""
    first = 0
    for batch in corpus.iter_batches(n_runs * RUN_ACTIVATIONS, min(_BATCH_RUNS, n_runs)):
        run_nos = np.arange(first, first + len(batch), dtype=np.int32)
        activations = [item.activations for item in batch]
        yield pa.table(
            {
                "run": np.repeat(run_nos, [len(item) for item in activations]),
                "position": np.concatenate([a.position for a in activations]).astype(np.int16),
                "feature": np.concatenate([item.feature for item in activations]),
                "value": np.concatenate([item.value for item in activations]),
            }
        )
        first += len(batch)


class _Local(ABC):
    """A peer that is read in this process."""

    def time_top_ms(self, feature: int, repeats: int) -> float:
        """Median milliseconds."""
        return median_ms(partial(self.read_top, feature), repeats)

    def time_run_ms(self, run: int, repeats: int) -> float:
        """Median milliseconds."""
        return median_ms(partial(self.read_run, run), repeats)

    @abstractmethod
    def read_top(self, feature: int) -> int:
        """Reads the places where the feature fires most; returns how many they were."""

    @abstractmethod
    def read_run(self, run: int) -> int:
        """Reads all activations of a run; returns how many there were."""


class TokenOrderRows(_Local):
    """A DuckDB table with a row an activation, in the order of tokens, without an index."""

    name = "rows in token order (DuckDB)"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "rows.duckdb"
        self._connection = duckdb.connect(str(self._path))

    def fill(self, tables: Iterator[pa.Table]) -> None:
        """Appends table by table."""
        for number, table in enumerate(tables):
            rows = self._connection.from_arrow(table)
            if number == 0:
                rows.create("activations")
            else:
                rows.insert_into("activations")

    def read_top(self, feature: int) -> int:
        """Scans the column of features."""
        rows = self._connection.table("activations").filter(f"feature = {feature}")
        return int(rows.order("value DESC").limit(N_CONTEXTS).to_arrow_table().num_rows)

    def read_run(self, run: int) -> int:
        """Skips by the minimum and maximum of row groups."""
        rows = self._connection.table("activations").filter(f"run = {run}")
        return int(rows.to_arrow_table().num_rows)

    def size_bytes(self) -> int:
        """Of the file, after it is closed and with that checkpointed."""
        self._connection.close()
        return self._path.stat().st_size

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


class ParquetScanned(_Local):
    """Parquet files in the order of tokens, zstd, read through pyarrow."""

    name = "Parquet, scanned"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "parquet"
        self._folder.mkdir()

    def fill(self, tables: Iterator[pa.Table]) -> None:
        """Writes a file a table."""
        for number, table in enumerate(tables):
            pyarrow.parquet.write_table(
                table, self._folder / f"{number:05}.parquet", compression="zstd"
            )

    def read_top(self, feature: int) -> int:
        """Scans the column of features."""
        table = self._dataset().to_table(filter=pc.field("feature") == feature)
        order = pc.select_k_unstable(table, min(N_CONTEXTS, len(table)), [("value", "descending")])
        return len(order)

    def read_run(self, run: int) -> int:
        """Skips by the minimum and maximum of row groups."""
        return int(self._dataset().to_table(filter=pc.field("run") == run).num_rows)

    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self._folder.iterdir())

    def close(self) -> None:
        """Nothing is open."""

    def _dataset(self) -> pa.dataset.Dataset:
        return pyarrow.dataset.dataset(self._folder)


class SparseSafetensors(_Local):
    """Files of a range of features each, locations and values in the order of tokens (delphi)."""

    name = "sparse safetensors (as delphi)"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "safetensors"
        self._folder.mkdir()
        self._edges = np.linspace(0, D_SAE, _FEATURE_FILES + 1).astype(np.int64)

    def fill(self, tables: Iterator[pa.Table]) -> None:
        """Gathers everything, as delphi does, and writes a file a range."""
        ranges: list[list[dict[str, npt.NDArray[np.generic]]]] = [[] for _ in range(_FEATURE_FILES)]
        for table in tables:
            columns = {name: table.column(name).to_numpy() for name in table.column_names}
            which = np.searchsorted(self._edges, columns["feature"], side="right") - 1
            for number in range(_FEATURE_FILES):
                inside = which == number
                ranges[number].append({name: column[inside] for name, column in columns.items()})
        for number, parts in enumerate(ranges):
            save_file(_joined(parts), self._folder / f"{number:03}.safetensors")

    def read_top(self, feature: int) -> int:
        """Loads the file of the feature's range and looks through it."""
        number = int(np.searchsorted(self._edges, feature, side="right")) - 1
        columns = load_file(self._folder / f"{number:03}.safetensors")
        value = columns["value"][columns["feature"] == feature]
        return len(np.sort(value)[::-1][:N_CONTEXTS])

    def read_run(self, run: int) -> int:
        """Loads every file and looks through it."""
        return sum(
            int(np.count_nonzero(load_file(file)["run"] == run)) for file in self._folder.iterdir()
        )

    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self._folder.iterdir())

    def close(self) -> None:
        """Nothing is open."""


def _joined(
    parts: Sequence[dict[str, npt.NDArray[np.generic]]],
) -> dict[str, npt.NDArray[np.generic]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
