"""Files of earlier versions say the same after they were brought up to date."""

from __future__ import annotations

from pathlib import Path

import duckdb

from store.connection import Store
from store.features import FeatureRepository
from store.merging import merge
from store.migrations import versions
from store.posting_tables import POSTINGS
from store.records import Context, WholeRun
from store.removal import delete_runs
from store.runs import RunRepository
from store.segments import list_segments
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

N_TOKENS = 1100
FEATURES = (7, 8, 500)
"""The first fires on every token: twice as often as peaks are kept from."""

_TABLES = "sources runs tokens activations passages segments".split()
_OLD_TALLIES = """
    INSERT INTO base.tallies
    SELECT segment_no, slot, n_tokens_active, total, max_value, coalesce(least, 0)
    FROM former.base.tallies LEFT JOIN (
        SELECT segment_no, slot, min(code) AS least FROM former.base.peaks GROUP BY ALL
    ) USING (segment_no, slot)
"""


def _whole(index: int) -> WholeRun:
    tokens, activations = make_tokens(N_TOKENS), make_activations(index, N_TOKENS)
    return WholeRun(make_run(index, N_TOKENS), tokens, activations)


def _write_version_4(path: Path, current: Path) -> None:
    """The store as Featurebook wrote it before strongest places were kept."""
    with duckdb.connect(str(path)) as connection:
        for version, file in versions():
            if version <= 4:
                connection.execute(file.read_text(encoding="utf-8"))
                connection.execute(
                    "INSERT INTO base.migrations (version, name) VALUES (?, ?)",
                    [version, file.stem],
                )
        connection.execute(f"ATTACH '{current}' AS former (READ_ONLY)")
        for table in _TABLES:
            columns = ", ".join(
                name
                for (name,) in connection.execute(
                    "SELECT column_name FROM duckdb_columns() WHERE table_name = ?"
                    " AND database_name <> 'former' ORDER BY column_index",
                    [table],
                ).fetchall()
            )
            connection.execute(
                f"INSERT INTO base.{table} ({columns}) SELECT {columns} FROM former.base.{table}"
            )
        rows = POSTINGS.replace("base.", "former.base.")
        connection.execute(f"INSERT INTO base.postings FROM {rows}")
        connection.execute(_OLD_TALLIES)
        connection.execute("CREATE OR REPLACE SEQUENCE base.segment_numbers START WITH 100")


def _peaks(store: Store) -> list[tuple[int, ...]]:
    with store.read() as cursor:
        return cursor.execute("FROM base.peaks ORDER BY ALL").fetchall()


def _contexts(store: Store) -> list[tuple[Context, ...]]:
    features = FeatureRepository(store)
    return [features.list_top_contexts("demo", feature, 20) for feature in FEATURES]


def test_a_store_of_version_4_gets_its_strongest_places_and_goes_on(tmp_path: Path) -> None:
    current, old = tmp_path / "current.duckdb", tmp_path / "old.duckdb"
    store = Store.open(current)
    try:
        assert RunRepository(store).insert_runs(SOURCE, [_whole(1), _whole(2)]) == 2
        peaks, contexts = _peaks(store), _contexts(store)
        assert len(peaks) == 64
    finally:
        store.close()
    _write_version_4(old, current)
    store = Store.open(old)
    try:
        assert _peaks(store) == peaks
        assert _contexts(store) == contexts
        assert RunRepository(store).insert_runs(SOURCE, [_whole(3)]) == 1
        with store.read() as cursor:
            segments = list_segments(cursor)
        assert merge(store, segments)
        assert {context.run_key for context in _contexts(store)[0]} == {
            f"{index:064x}" for index in (1, 2, 3)
        }
        assert delete_runs(store, [f"{3:064x}"]) == 1
        assert _peaks(store) == []
        assert _contexts(store) == contexts
    finally:
        store.close()
