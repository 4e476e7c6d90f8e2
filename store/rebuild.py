"""A file of an older layout, written anew beside it and put in its place; the old one is kept.

Invariant: at every moment the path names a whole store, the old one or the new one; the old file
stays beside it, as it was, under a name that says for which version it was given up.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from store.ingest import Numbers, insert_activations, insert_passages, next_passage_no
from store.migrations import REBUILT_FROM, migrate
from store.records import Activations
from store.sources import list_sources

_BATCH_ACTIVATIONS = 2**22
"""Activations that are held in memory at once, unless one run has more."""

_SAME_TABLES = (
    "runs hits failures tokens labels vectors tool_calls outcomes detectors saved_queries".split()
)
_COPY_SOURCES = """
    INSERT INTO base.sources
    SELECT *, CASE WHEN dtype = 'bfloat16' THEN 16 ELSE 0 END,
           sum(d_sae) OVER (ORDER BY source_no) - d_sae
    FROM former.base.sources
"""
_RUNS = """
    SELECT run_no, n_tokens, coalesce(n_activations, 0), run_key FROM former.base.runs
    LEFT JOIN (
        SELECT run_no, count(*) AS n_activations FROM former.base.activations GROUP BY run_no
    ) USING (run_no)
    WHERE source_no = ? ORDER BY run_no
"""
_RunRow = tuple[int, int, int, str]


def rebuild(path: Path, block_bytes: int) -> Path:
    """Writes a store of version 1 anew; returns where the old file is kept.

    Args:
        path: of a store that nobody has open, without a write-ahead log.
        block_bytes: of the new file.

    Raises:
        duckdb.Error: if it cannot be read or written; the path names the old file then.
        OSError: likewise.
    """
    draft = path.with_name(f".rebuilding-{os.getpid()}.{path.name}")
    _remove(draft)
    try:
        with contextlib.closing(
            duckdb.connect(str(draft), config={"default_block_size": block_bytes})
        ) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            migrate(connection, draft)
            # attached, it is locked against others until the new file stands in its place
            connection.execute(f"ATTACH {_quoted(path)} AS former (READ_ONLY)")
            _copy(connection)
            connection.execute("CHECKPOINT")
            with open(draft, "rb") as file:
                os.fsync(file.fileno())
            kept = _keep(path)
            os.replace(draft, path)
    finally:
        _remove(draft)
    return kept


def _copy(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(_COPY_SOURCES)
    for table in _SAME_TABLES:
        connection.execute(f"INSERT INTO base.{table} BY NAME SELECT * FROM former.base.{table}")
    for source in list_sources(connection):
        runs = connection.execute(_RUNS, [source.source_no]).fetchall()
        for batch in _batches(runs):
            run_nos = [row[0] for row in batch]
            numbers = Numbers(run_nos, next_passage_no(connection), [row[1] for row in batch])
            run_keys = [row[3] for row in batch]
            texts = _texts(connection, run_nos)
            insert_passages(connection, numbers.first_passage_no, run_nos, run_keys, texts)
            if any(row[2] for row in batch):
                activations = _activations(connection, run_nos)
                insert_activations(connection, source, numbers, activations)


def _batches(runs: list[_RunRow]) -> Iterator[list[_RunRow]]:
    batch: list[_RunRow] = []
    for row in runs:
        if batch and sum(item[2] for item in batch) + row[2] > _BATCH_ACTIVATIONS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _texts(connection: duckdb.DuckDBPyConnection, run_nos: list[int]) -> list[list[str]]:
    """The texts of the tokens of each run, in order."""
    rows = connection.execute(
        """
        SELECT run_no, list(text ORDER BY position) FROM former.base.tokens
        WHERE run_no IN (SELECT unnest(?::INTEGER[])) GROUP BY run_no ORDER BY run_no
        """,
        [run_nos],
    ).fetchall()
    return [texts for _, texts in rows]


def _activations(connection: duckdb.DuckDBPyConnection, run_nos: list[int]) -> list[Activations]:
    """The activations of each run, ordered by position and feature."""
    table: pa.Table = connection.sql(
        """
        SELECT run_no, position, feature, value FROM former.base.activations
        WHERE run_no IN (SELECT unnest(?::INTEGER[])) ORDER BY run_no, position, feature
        """,
        params=[run_nos],
    ).to_arrow_table()
    run_no, position, feature, value = (column.to_numpy() for column in table.columns)
    edges = np.searchsorted(run_no, [*run_nos, run_nos[-1] + 1])
    return [
        Activations(position[start:stop], feature[start:stop], value[start:stop])
        for start, stop in itertools.pairwise(edges.tolist())
    ]


def _keep(path: Path) -> Path:
    """A second name of the file, or a copy where the file system knows no second names."""
    kept = path.with_name(f"{path.name}.before-{REBUILT_FROM}")
    number = 1
    while kept.exists() and not kept.samefile(path):
        number += 1
        kept = path.with_name(f"{path.name}.before-{REBUILT_FROM}.{number}")
    if not kept.exists():
        try:
            os.link(path, kept)
        except OSError:
            shutil.copy2(path, kept)
    return kept


def _remove(draft: Path) -> None:
    for file in (draft, draft.with_name(draft.name + ".wal")):
        file.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
