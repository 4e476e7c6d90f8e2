"""A consistent copy of everything stored, as a DuckDB file or as Parquet, while writes go on.

Invariant: a snapshot shows one state of the store, that of the moment when it was begun; it appears
under its name whole or not at all, and memory does not grow with its size. The database file has
this version's schema, so that another Featurebook opens it; Parquet has one file a public view.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from store.connection import Store, connect_file
from store.errors import SnapshotCancelledError, SnapshotError
from store.schema import ViewInfo, list_views

SnapshotFormat = Literal["duckdb", "parquet"]

_BATCH_ROWS = 122_880
"""Rows that are in memory at a time: one row group of DuckDB."""
_SEQUENCES = """
    SELECT sequence_name, coalesce(last_value, 0) + 1 FROM duckdb_sequences()
    WHERE schema_name = 'base'
"""
_NOT_COPIED = ("migrations", "views_made", "query_history")
"""Bookkeeping of the schema, which a new file has of its own, and what is private to a person."""


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a snapshot is; `part` is the table or view that is being copied."""

    part: str
    rows_done: int
    rows_total: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that was written."""

    path: Path
    format: SnapshotFormat
    n_rows: int
    size_bytes: int


def write_snapshot(
    store: Store,
    destination: Path,
    format: SnapshotFormat,
    on_progress: Callable[[SnapshotProgress], None] = lambda _progress: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Snapshot:
    """Writes a snapshot.

    Args:
        store: is read in one transaction; reads and writes of others go on meanwhile.
        destination: a file that does not exist yet: a DuckDB file, or a ZIP archive of one Parquet
            file a view with a README.
        format: which of the two.
        on_progress: called after every batch of rows.
        is_cancelled: asked before every batch.

    Raises:
        SnapshotError: if the destination exists or cannot be written, or the disk is too full.
        SnapshotCancelledError: if is_cancelled said so; nothing is left.
        StoreError: if the store cannot be read.
    """
    _check_destination(store, destination)
    draft = destination.with_name(f".{destination.name}.part")
    meter = _Meter(on_progress, is_cancelled)
    try:
        _discard(draft)
        if format == "duckdb":
            _write_database(store, draft, destination, meter)
        else:
            _write_archive(store, draft, destination, meter)
        draft.rename(destination)
    except OSError as error:
        raise _cannot_write(destination, error) from error
    finally:
        _discard(draft)
    return Snapshot(destination, format, meter.rows_done, destination.stat().st_size)


class _Meter:
    """Counts rows over all parts, tells how far it is, and stops where that is wished."""

    def __init__(
        self, on_progress: Callable[[SnapshotProgress], None], is_cancelled: Callable[[], bool]
    ) -> None:
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self.rows_total = 0
        self.rows_done = 0

    def watch(self, part: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, each counted once it was taken on."""
        for batch in batches:
            if self._is_cancelled():
                raise SnapshotCancelledError
            yield batch
            self.rows_done += batch.num_rows
            self._on_progress(SnapshotProgress(part, self.rows_done, self.rows_total))


def _write_database(store: Store, draft: Path, destination: Path, meter: _Meter) -> None:
    with store.read() as cursor, contextlib.closing(connect_file(draft)) as copy:
        tables = _tables(cursor)
        meter.rows_total = sum(_count(cursor, f"base.{table}") for table in tables)
        for table in tables:
            rows = cursor.sql(f'SELECT * FROM base."{table}"').to_arrow_reader(_BATCH_ROWS)
            for batch in meter.watch(table, iter(rows)):
                with _faults_of(destination):
                    copy.register("incoming", pa.Table.from_batches([batch]))
                    copy.execute(f'INSERT INTO base."{table}" SELECT * FROM incoming')
                    copy.unregister("incoming")
        numbers = cursor.execute(_SEQUENCES).fetchall()
        with _faults_of(destination):
            for name, start in numbers:
                copy.execute(f'CREATE OR REPLACE SEQUENCE base."{name}" START WITH {start}')
            copy.execute("CHECKPOINT")


def _write_archive(store: Store, draft: Path, destination: Path, meter: _Meter) -> None:
    views = list_views(store)
    with (
        store.read() as cursor,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive,
    ):
        meter.rows_total = sum(_count(cursor, f'"{view.name}"') for view in views)
        for view in views:
            rows = cursor.sql(f'SELECT * FROM "{view.name}"').to_arrow_reader(_BATCH_ROWS)
            with (
                archive.open(f"{view.name}.parquet", "w", force_zip64=True) as file,
                pq.ParquetWriter(file, rows.schema, compression="zstd") as writer,
            ):
                for batch in meter.watch(view.name, iter(rows)):
                    with _faults_of(destination):
                        writer.write_batch(batch)
        archive.writestr("README.md", _describe(views))


@contextlib.contextmanager
def _faults_of(destination: Path) -> Iterator[None]:
    """What goes wrong inside is the destination's fault, and must not pass for the store's."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        raise _cannot_write(destination, error) from error


def _tables(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    rows = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'base' ORDER BY table_name"
    ).fetchall()
    return [str(name) for (name,) in rows if name not in _NOT_COPIED]


def _count(cursor: duckdb.DuckDBPyConnection, name: str) -> int:
    [(n_rows,)] = cursor.execute(f"SELECT count(*) FROM {name}").fetchall()
    return int(n_rows)


def _describe(views: tuple[ViewInfo, ...]) -> str:
    """What is in the archive, for whoever finds it years later."""
    lines = ["# A snapshot of a Featurebook store", "", "One Parquet file a view; times are UTC."]
    for view in views:
        lines += ["", f"## {view.name}.parquet", "", view.comment, ""]
        lines += [f"- `{item.name}` ({item.type}): {item.comment}" for item in view.columns]
    return "\n".join(lines) + "\n"


def _check_destination(store: Store, destination: Path) -> None:
    try:
        if destination.exists():
            raise SnapshotError(
                f"{destination} exists already.", "Name a file that does not exist yet."
            )
        destination.parent.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(destination.parent).free
    except OSError as error:
        raise _cannot_write(destination, error) from error
    if free_bytes < store.size_bytes:
        raise SnapshotError(
            f"A snapshot may take {store.size_bytes / 1e9:.1f} GB, but the disk of {destination} "
            f"has {free_bytes / 1e9:.1f} GB left.",
            "Free some space, or name a file on another disk.",
        )


def _cannot_write(destination: Path, error: Exception) -> SnapshotError:
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return SnapshotError(
        f"The snapshot {destination} could not be written ({reason}).",
        "Check space and permissions there, or name another file; the store is as it was.",
    )


def _discard(draft: Path) -> None:
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)
        draft.with_name(draft.name + ".wal").unlink(missing_ok=True)
